"""Dropsweep: the whole local stack (storage, function host, two trainers), into which one job file is dropped."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.peers.races import NUM_WORKERS, Race
from bench.peers.sweeps import Sweeps, described
from bench.peers.taking_part import Run, take_part
from local.stack import Stack


@contextmanager
def prepared(race: Race, folder: Path) -> Iterator[Run]:
    """Starts the stack and runs small sweeps until it is warm."""
    settings = described(race, NUM_WORKERS)
    with Stack(folder / "data", num_trainers=NUM_WORKERS, is_fresh=True, settings=settings) as stack:
        sweeps = Sweeps(stack, folder / "sweeps")
        sweeps.warm_up(NUM_WORKERS)
        yield lambda: sweeps.run(race)


if __name__ == "__main__":
    take_part(prepared)
