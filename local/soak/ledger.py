"""The ledger: what the trials' own processes wrote down, outside of the system."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class Work(NamedTuple):
    """One trial, named as its process knows it.

    Attributes:
        job: the job's path. trial: its number.
    """

    job: str
    trial: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """What stood in the file at one moment.

    Attributes:
        begun, ended: how often each trial's process began, and came to its end.
        by_pid: the trial that a process id stood for when it was last seen.
    """

    begun: Counter[Work] = field(default_factory=Counter)
    ended: Counter[Work] = field(default_factory=Counter)
    by_pid: dict[int, Work] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> "Ledger":
        """Reads all whole lines of a file; one that is not there yet is empty."""
        ledger = cls()
        text = file.read_text() if file.exists() else ""
        for line in text.split("\n")[:-1]:  # what follows the last line's end was being written
            match line.split():
                case [what, job, trial, _, pid] if trial.isdigit() and pid.isdigit():
                    work = Work(job, int(trial))
                    (ledger.ended if what == "end" else ledger.begun)[work] += 1
                    ledger.by_pid[int(pid)] = work
        return ledger

    @property
    def num_repeated(self) -> int:
        """Runs that came to their end although an earlier run of the same trial had."""
        return self.ended.total() - len(self.ended)
