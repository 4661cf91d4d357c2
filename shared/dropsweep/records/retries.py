"""Which trials of a job people want to be tried again, and how many of them were."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from dropsweep.records.trial import TrialSummary


@dataclass(frozen=True, slots=True)
class Retries:
    """Which failed trials a person wants to be tried again.

    Each request is a round, numbered from 1. A failed trial is tried again when it is due for a later round than the
    one that its record names, so that a request is met once, however often it is looked at.

    Attributes:
        round: number of the latest request; 0 without one.
        all: the latest round that was asked for all failed trials.
        trials: the latest round that was asked for single trials.
    """

    round: int = 0
    all: int = 0
    trials: Mapping[int, int] = field(default_factory=dict)

    def due(self, trial: int) -> int:
        """The latest round that was asked for a trial."""
        return max(self.all, self.trials.get(trial, 0))

    def asked(self, trial: int | None) -> "Retries":
        """Returns the requests with one more, for a trial or (None) for all that failed."""
        number = self.round + 1
        if trial is None:
            return Retries(number, number)
        return Retries(number, self.all, {**self.trials, trial: number})


@dataclass(frozen=True, slots=True)
class Retried:
    """Trials that were tried again because an attempt failed.

    A trial that a person wants to be tried again is no longer counted, unless it ran out of memory, or may have: that
    one keeps its node for itself, and is counted on.

    Attributes:
        num_trials: all of them, whether they wait for their next attempt, run, or have ended.
        num_alone: those that ran out of memory, or may have, and so have had their node for themselves since.
    """

    num_trials: int = 0
    num_alone: int = 0

    @classmethod
    def of(cls, trials: Iterable[TrialSummary]) -> "Retried":
        """Counts them among some trials."""
        retried = [trial.runs_alone for trial in trials if trial.runs_alone or trial.num_retries]
        return cls(len(retried), sum(retried))

    @classmethod
    def from_json(cls, document: Mapping[str, Any] | None) -> "Retried":
        """Reads what `to_json` gave; records of earlier versions have none."""
        return cls() if document is None else cls(int(document["num_trials"]), int(document["num_alone"]))

    def plus(self, other: "Retried") -> "Retried":
        """Returns both counts together."""
        return Retried(self.num_trials + other.num_trials, self.num_alone + other.num_alone)

    def to_json(self) -> dict[str, int]:
        """Returns it as it stands in records."""
        return asdict(self)
