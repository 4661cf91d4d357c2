"""Cores that are shared: trainings beside each other with all threads each, and with the threads of a slot."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from bench.results import Measured, Row
from bench.system import folder
from dropsweep_trainer.sharing.cores import THREAD_VARIABLES, find_cores, pinned
from dropsweep_trainer.sharing.slots import Slot, find_slots

_ROUNDS: Final = 5
_ROUNDS_QUICK: Final = 2
_TRAINING: Final = """
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

digits = load_digits()
images = torch.tensor(digits.data, dtype=torch.float32) / 16
labels = torch.tensor(digits.target)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
loss = cross_entropy(model(images), labels)
print("ready", flush=True)
input()
for step in range(5 * 57):
    batch = slice(step % 57 * 32, step % 57 * 32 + 32)
    loss = cross_entropy(model(images[batch]), labels[batch])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
"""A small network on scikit-learn's digits for 5 epochs. It waits for a line once it is ready."""


def measure(*, is_quick: bool) -> Measured:
    """Trains as many networks at once as there are cores, twice in turn: undivided, and as the slots of one worker.

    Undivided each computes with as many threads as there are cores, which is what PyTorch does by itself; divided it
    has the variables and the cores of a slot. No storage and no worker takes part. Each time counts from the moment at
    which all of them are ready, so that no import is in it.

    Raises:
        subprocess.CalledProcessError: a training failed.
    """
    num = find_cores().num
    divided = find_slots(num)
    undivided = [Slot() for _ in divided]
    script = folder("sharing") / "train.py"
    script.write_text(_TRAINING, encoding="utf-8")
    seconds: dict[str, list[float]] = {"undivided": [], "divided": []}
    for number in range(_ROUNDS_QUICK if is_quick else _ROUNDS):
        order = [("undivided", undivided), ("divided", divided)]
        for name, slots in order if number % 2 else order[::-1]:
            seconds[name].append(_together(script, slots))
    before_s, after_s = (statistics.median(seconds[name]) for name in ("undivided", "divided"))
    return Measured(
        (
            Row(f"{num} trainings at once, all threads each", before_s, "s"),
            Row(f"{num} trainings at once, threads and cores of slots", after_s, "s"),
            Row("sharing: time with all threads over time with those of slots", before_s / after_s, "x"),
        )
    )


def _together(script: Path, slots: Sequence[Slot]) -> float:
    """Returns the seconds until the last of as many trainings as slots has ended, from when all are ready."""
    processes = [_start(script, slot) for slot in slots]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        began = time.monotonic()
        with ThreadPoolExecutor(len(processes)) as pool:
            list(pool.map(lambda process: process.communicate("\n"), processes))
        took_s = time.monotonic() - began
    finally:
        for process in processes:
            process.kill()
            process.wait()
    for process in processes:
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, process.args)
    return took_s


def _start(script: Path, slot: Slot) -> "subprocess.Popen[str]":
    plain = {name: value for name, value in os.environ.items() if name not in THREAD_VARIABLES}
    environment: Mapping[str, str] = slot.variables(plain, {}, is_alone=False)
    with pinned(slot.cores):
        return subprocess.Popen(
            [sys.executable, str(script)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
