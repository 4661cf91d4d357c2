"""The first floor: a bare loop in each of two processes that have loaded everything before the clock starts."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.peers.crew import Share, crew
from bench.peers.races import SEED, Race
from bench.peers.taking_part import Run, take_part
from bench.peers.training import State, draw, keep, train


@contextmanager
def prepared(race: Race, folder: Path) -> Iterator[Run]:
    """Starts the two processes, each of which runs one trial of one epoch."""
    with crew(race, _prepare, folder) as run:
        yield run


def _prepare(race: Race, worker: int, num_trials: int, folder: Path) -> Share:
    dice = random.Random(SEED + worker)
    _trial(race, draw(dice), folder / f"{worker}-warm-up", num_epochs=1)
    return lambda: [_trial(race, draw(dice), folder / f"{worker}-{trial}") for trial in range(num_trials)]


def _trial(race: Race, lr: float, folder: Path, *, num_epochs: int | None = None) -> float:
    def report(epoch: int, _score: float, state: State | None) -> None:
        if state is not None:
            keep(folder, epoch, state)

    return train(race, lr, report, num_epochs=num_epochs)


if __name__ == "__main__":
    take_part(prepared)
