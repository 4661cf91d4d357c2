"""How a party's process and the race talk: one line of JSON each way, on standard input and output.

    python -m bench.peers.parties.NAME RACE FOLDER [OPTION]

The process prepares itself, says `ready`, waits for a line, runs the trials, tells how they went, waits for another
line and tears itself down. Whatever else it or its tool prints goes to its standard error.
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bench.peers.races import Race

READY: Final = "ready"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a party made of a race.

    Attributes:
        num_completed: trials with a final result.
        best: the highest of their results.
    """

    num_completed: int
    best: float

    @classmethod
    def of(cls, results: Sequence[float]) -> "Outcome":
        """Sums up the results of the completed trials."""
        return cls(len(results), max(results, default=float("nan")))


Run = Callable[[], Outcome]
"""Runs all trials of a race to their end."""
Prepare = Callable[[Race, Path], AbstractContextManager[Run]]
"""Starts a party's system for a race, in an empty folder of its own, and stops it at the block's end."""


def take_part(prepare: Prepare) -> None:
    """Is what a party's process does. The race and the folder are its first two arguments."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)  # tools print as they like

        def say(value: Any) -> None:
            print(json.dumps(value), file=answers, flush=True)

        with prepare(Race.from_json(sys.argv[1]), Path(sys.argv[2])) as run:
            say(READY)
            sys.stdin.readline()
            say(asdict(run()))
            sys.stdin.readline()
