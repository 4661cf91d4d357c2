"""The first floor: a bare loop in each of two processes that have loaded everything before the clock starts."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.peers.crew import crew
from bench.peers.races import Race
from bench.peers.taking_part import Run, take_part
from bench.peers.training import State, draw, keep, train


@contextmanager
def prepared(race: Race, folder: Path) -> Iterator[Run]:
    """Starts the two processes."""
    with crew(race, _work, folder) as run:
        yield run


def _work(race: Race, worker: int, num_trials: int, folder: Path) -> list[float]:
    dice = random.Random(worker)
    return [_trial(race, draw(dice), folder / f"{worker}-{trial}") for trial in range(num_trials)]


def _trial(race: Race, lr: float, folder: Path) -> float:
    def report(epoch: int, _score: float, state: State | None) -> None:
        if state is not None:
            keep(folder, epoch, state)

    return train(race, lr, report)


if __name__ == "__main__":
    take_part(prepared)
