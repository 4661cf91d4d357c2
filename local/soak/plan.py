"""What the soak runs, and how each trial of it must end, whatever dies meanwhile."""

import random
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from dropsweep.states import TrialReason

WORKSPACE: Final = "soak"
METRIC: Final = "total"
SCRIPT: Final = Path(__file__).parent / "trial"
"""The folder of the script that is every trial's code."""

_WINDOW: Final = 12
"""Most trials of a job that are dispatched at once: few, so that the job hangs if a hint is lost for good."""
_TRY_AGAIN: Final = 75
_SIGKILLED: Final = 137
_MAX_RETRIES: Final = 10
"""More than the killer can hit one trial's process, so that how the trial ends is certain."""
_REFUSED_EACH: Final = 5
_RETRIED_EACH: Final = 7


class Ending(StrEnum):
    """What a trial's script does after its last step; the names are the script's own."""

    OK = "ok"
    REFUSED = "exit-1"
    RETRIED = "first-75"


@dataclass(frozen=True, slots=True)
class TrialPlan:
    """One trial.

    Attributes:
        index: its number, and what its metric is made of.
        num_steps: of `step_ms` milliseconds each; with more than one there is a checkpoint after each.
        ending: what follows the last step.
    """

    index: int
    num_steps: int
    step_ms: int
    ending: Ending = Ending.OK

    @property
    def text(self) -> str:
        """The trial's one parameter, which the script takes apart."""
        return f"{self.index}/{self.num_steps}/{self.step_ms}/{self.ending}"

    @property
    def metric(self) -> float:
        """What it reports last: the sum of index * step over all steps, each counted once however often it resumed."""
        return float(self.index * self.num_steps * (self.num_steps + 1) // 2)

    @property
    def reason(self) -> TrialReason:
        """How it ends when nobody kills its process, or the job asks for retries."""
        return TrialReason.EXIT_CODE if self.ending is Ending.REFUSED else TrialReason.SUCCEEDED


@dataclass(frozen=True, slots=True)
class JobPlan:
    """One job.

    Attributes:
        name: of the job and its file.
        trials: in the order of their numbers.
        is_retried: the job asks for retries of what `Ending.RETRIED` exits with, and of what SIGKILL ended.
    """

    name: str
    trials: tuple[TrialPlan, ...]
    is_retried: bool = False

    def document(self, ledger: Path) -> dict[str, Any]:
        """Returns the job file; `ledger` is the file that the trials write to."""
        document: dict[str, Any] = {
            "type": "sweep",
            "trial": {
                "code": str(SCRIPT),
                "command": "sh work.sh ${{search_space.plan}} ${{inputs.ledger}}",
            },
            "inputs": {"ledger": str(ledger)},
            "search_space": {"plan": {"type": "choice", "values": [trial.text for trial in self.trials]}},
            "sampling_algorithm": "grid",
            "objective": {"goal": "maximize", "primary_metric": METRIC},
            "limits": {"max_concurrent_trials": _WINDOW},
        }
        if self.is_retried:
            document["retry_settings"] = {"max_retries": _MAX_RETRIES, "exit_codes": [_TRY_AGAIN, _SIGKILLED]}
        return document


def plans(num_trials: int, seed: int) -> tuple[JobPlan, ...]:
    """Returns three jobs with about a third of the trials each; the same seed gives the same jobs.

    Their trials are plain and short; long with checkpoints; and such that some fail and some succeed only once they
    are tried again.
    """
    dice = random.Random(f"{seed} plans")
    third = num_trials // 3
    plain = [TrialPlan(index, 1, dice.randint(100, 700)) for index in range(num_trials - 2 * third)]
    stepped = [TrialPlan(index, dice.randint(3, 6), dice.randint(150, 250)) for index in range(third)]
    rough = [TrialPlan(index, 1, dice.randint(100, 700), _ending(index)) for index in range(third)]
    return (
        JobPlan("plain", tuple(plain)),
        JobPlan("stepped", tuple(stepped)),
        JobPlan("rough", tuple(rough), is_retried=True),
    )


def _ending(index: int) -> Ending:
    if index % _REFUSED_EACH == _REFUSED_EACH - 1:
        return Ending.REFUSED
    return Ending.RETRIED if index % _RETRIED_EACH == _RETRIED_EACH - 1 else Ending.OK
