"""The second floor: a fresh Python process for each trial, two at a time, and nothing else."""

import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from bench.peers import trial
from bench.peers.races import NUM_WORKERS, SEED, Race
from bench.peers.taking_part import Outcome, Run, take_part
from bench.peers.training import draw


@contextmanager
def prepared(race: Race, folder: Path) -> Iterator[Run]:
    """There is nothing to prepare."""
    dice = random.Random(SEED)
    rates = [draw(dice) for _ in range(race.num_trials)]

    def one(number: int) -> float:
        command = [sys.executable, trial.__file__, "--race", race.name, "--lr", str(rates[number])]
        command += ["--st_checkpoint_dir", str(folder / str(number))]
        said = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
        return float(said.split()[-1])

    def run() -> Outcome:
        with ThreadPoolExecutor(NUM_WORKERS) as pool:
            return Outcome.of(list(pool.map(one, range(race.num_trials))))

    yield run


if __name__ == "__main__":
    take_part(prepared)
