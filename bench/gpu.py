"""Trainings on a GPU that one trainer's slots share: the races' MLP and CNN, with 1, 4 and 16 trials at a time."""

import subprocess
import sys
import time
from typing import Final

from bench.peers.races import RACES
from bench.peers.sweeps import Sweeps, described
from bench.results import Measured, Row
from bench.system import DATA, folder
from local.stack import Stack

_NUM_SLOTS: Final = (1, 4, 16)
_NUM_SLOTS_QUICK: Final = (1, 4)
_RACES: Final = ("mlp", "cnn")
_ASK: Final = "import torch; print(torch.cuda.get_device_name(0) if torch.cuda.is_available() else '')"


def measure(*, is_quick: bool) -> Measured:
    """Runs the two sweeps with 1, 4 and 16 slots (quick: 1 and 4) on this machine's first GPU.

    A trainer's slots share its GPU as its cluster says: each has its part of the memory. A sweep's time is from the
    drop to the job's final record; the stack is up by then and its trials begin warm. CUDA itself starts
    in each trial. Where PyTorch finds no GPU nothing is measured, and a note says so.

    Raises:
        DropsweepError: a trial failed. subprocess.CalledProcessError: PyTorch cannot be asked.
    """
    device = subprocess.run([sys.executable, "-c", _ASK], capture_output=True, text=True, check=True).stdout.strip()
    if not device:
        return Measured((), notes=("gpu: PyTorch finds no CUDA device here, so nothing was measured.",))
    rows = []
    for num_slots in _NUM_SLOTS_QUICK if is_quick else _NUM_SLOTS:
        settings = described(RACES["mlp"], 1, num_slots)
        with Stack(DATA, num_trainers=1, num_slots=num_slots, is_fresh=True, settings=settings) as stack:
            sweeps = Sweeps(stack, folder(f"gpu-{num_slots}"), device="cuda")
            sweeps.warm_up(1, num_slots)
            for race in (RACES[name] for name in _RACES):
                began = time.monotonic()
                sweeps.run(race)
                rate = race.num_trials / (time.monotonic() - began)
                rows.append(Row(f"{race.name} trials a second on {device}, slots: {num_slots}", rate, "1/s"))
    return Measured(tuple(rows))
