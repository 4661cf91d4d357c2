"""The races: what is trained, how often, and how many times each party does it."""

import json
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Final, Self

NUM_WORKERS: Final = 2
"""Trials at a time, for every party: one for each core of the smallest machine that this is meant for."""
LOWEST_LR: Final = 1e-4
HIGHEST_LR: Final = 1e-1
"""Every party searches at random, log-uniformly, between these two."""
SEED: Final = 0
"""Of every party's random search, in each repetition; a worker that draws by itself adds its number."""
METRIC: Final = "score"


class Task(StrEnum):
    """What one trial does: a function of `training`."""

    NO_OP = "no-op"
    MLP = "mlp"
    CNN = "cnn"


@dataclass(frozen=True, slots=True)
class Race:
    """Trials that every party runs, two at a time.

    Attributes:
        name: as on the command line.
        title: for people.
        task: what one trial does.
        num_trials: how many.
        num_epochs: of each training; 0 where nothing is trained.
        with_checkpoints: a checkpoint is kept after each epoch, by the party's own mechanism.
        num_repetitions: how many times each party runs it.
        parties: the names of those who take part; empty: all.
        rivals: the names of those that the bars compare: in each repetition they run it one right after the other, in
            this order and the reverse one by turns, for a machine's speed drifts.
        num_duels: how many times these run it.
        beside: the name of the race before whose repetitions are also those of this one, so that rivals of both are
            rivals of each other; empty: none.
        slow: the names of those that run fewer trials of it, and those once: they start a process for each that imports
            for seconds. What is compared is trials a second, so a share of the trials tells it.
        num_slow_trials: how many these run.
    """

    name: str
    title: str
    task: Task
    num_trials: int
    num_epochs: int = 0
    with_checkpoints: bool = False
    num_repetitions: int = 3
    parties: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()
    num_duels: int = 7
    beside: str = ""
    slow: tuple[str, ...] = ()
    num_slow_trials: int = 0

    def of(self, party: str) -> Self:
        """Returns the race as a party runs it, with that party's number of trials and repetitions."""
        if party in self.slow:
            return replace(self, num_trials=self.num_slow_trials, num_repetitions=1)
        return replace(self, num_repetitions=self.num_duels) if party in self.rivals else self

    def to_json(self) -> str:
        """Returns the race as text, which `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reads what `to_json` wrote."""
        fields = json.loads(text)
        names = {name: tuple(fields[name]) for name in ("parties", "rivals", "slow")}
        return cls(**{**fields, **names, "task": Task(fields["task"])})


_IMPORTING_EACH_TIME: Final = ("ray", "syne-tune", "processes")
"""Those that start a process for each trial, which imports PyTorch."""

RACES: Final = {
    race.name: race
    for race in (
        Race(
            "no-op",
            "200 trials that do nothing",
            Task.NO_OP,
            200,
            rivals=("dropsweep", "ray-reuse"),
            slow=("ray",),
            num_slow_trials=40,
        ),
        Race(
            "mlp",
            "64 trials of a digits MLP, 5 epochs",
            Task.MLP,
            64,
            num_epochs=5,
            rivals=("loop", "dropsweep", "ray-reuse"),
            slow=_IMPORTING_EACH_TIME,
            num_slow_trials=16,
        ),
        Race(
            "cnn",
            "16 trials of a digits CNN, 12 epochs, a checkpoint after each",
            Task.CNN,
            16,
            num_epochs=12,
            with_checkpoints=True,
            rivals=("loop", "dropsweep"),
            slow=_IMPORTING_EACH_TIME,
            num_slow_trials=16,
        ),
        Race(
            "cnn-without",
            "the same CNN without checkpoints",
            Task.CNN,
            16,
            num_epochs=12,
            parties=("dropsweep", "loop"),
            rivals=("dropsweep", "loop"),
            beside="cnn",
        ),
        Race(
            "no-op-1000",
            "1,000 trials that do nothing",
            Task.NO_OP,
            1000,
            num_repetitions=1,
            slow=("ray", "syne-tune"),
            num_slow_trials=100,
        ),
    )
}
