"""A large checkpoint on its way up and down: how fast beside the bare storage SDK, and what it costs."""

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.checkpoint_trips import MIB, NUM_SMALL, Trip
from bench.results import Measured, Row
from bench.system import folder
from dropsweep.settings import StorageSettings
from dropsweep.storage import Store
from local.azurite import Azurite
from local.paths import ROOT

_SIZE_MIB: Final = 1024
_SIZE_QUICK_MIB: Final = 256
_NUM_ROUNDS: Final = 3
_NUM_FILES: Final = 10
_QUIET_S: Final = 4.0
_BAR_MEMORY_MIB: Final = 200.0
_BESIDE: Final = {
    "the SDK alone sends it": ("raw up", "made/large/state"),
    "a checkpoint goes up": ("up", "made"),
    "a checkpoint goes up at 16 MiB/s": ("slowly up", "made"),
}
"""What a training is slowed down by: each has a trip and the files that it takes."""


@dataclass(frozen=True, slots=True)
class _Way:
    """The rounds of one way: ours, and the SDK's just before or after it."""

    name: str
    ours: list[Trip]
    raw: list[Trip]

    def rows(self, size_mib: int) -> Iterator[Row]:
        """Medians; the ratio is that of the trips of one round, of which one follows the other."""
        ours_s, raw_s = (statistics.median(trip.duration_s for trip in trips) for trips in (self.ours, self.raw))
        ratios = [ours.duration_s / raw.duration_s for ours, raw in zip(self.ours, self.raw, strict=True)]
        cpu_s, raw_cpu_s = (statistics.median(trip.cpu_s for trip in trips) for trips in (self.ours, self.raw))
        yield Row(f"checkpoint of {size_mib} MiB: {self.name}, with its hash", size_mib / ours_s, "MiB/s")
        yield Row(f"file of {size_mib} MiB: {self.name} by the SDK alone", size_mib / raw_s, "MiB/s")
        yield Row(f"checkpoint: time of the {self.name} over the SDK's", statistics.median(ratios), "x")
        yield Row(f"checkpoint: CPU time of the {self.name}, with its hash", cpu_s, "s")
        yield Row(f"file: CPU time of the {self.name} by the SDK alone", raw_cpu_s, "s")
        most_mib = max(trip.grown_mib for trip in self.ours)
        yield Row(f"checkpoint: memory that the {self.name} takes", most_mib, "MiB", _BAR_MEMORY_MIB)


def measure(*, is_quick: bool) -> Measured:
    """Sends a checkpoint of one file of 1 GiB (quick: 256 MiB) of random bytes to the emulator and brings it back.

    Each trip is a process of its own, which tells its time and its peak of memory. A checkpoint's trips are the
    trainer's own code: they include the hash of the file, up and down, and the manifest. The SDK's are its plain
    `upload_blob` and `download_blob` with as many threads. They take turns, and all end on the same disk as the
    emulator's data. Then a checkpoint of ten files goes up of which one has changed, and small ones of 100 KB one after
    the other; and a training on one core runs beside an upload, each time compared with a quiet span just before: the
    emulator, which in a cloud is another machine, takes its part of the cores too.

    Raises:
        DropsweepError: the emulator does not start. subprocess.CalledProcessError: a trip failed.
    """
    size_mib = _SIZE_QUICK_MIB if is_quick else _SIZE_MIB
    root = folder("checkpoint")
    try:
        made = root / "made" / "large"
        made.mkdir(parents=True)
        _write(made / "state", size_mib)
        ten = root / "ten" / "first"
        ten.mkdir(parents=True)
        for number in range(_NUM_FILES):
            _write(ten / str(number), size_mib // _NUM_FILES)
        (root / "small").mkdir()
        with Azurite(root / "azurite", log=root / "azurite.log") as azurite:
            connection = azurite.connection_string
            Store.connect(StorageSettings(connection)).prepare(())
            up, down = _Way("upload", [], []), _Way("download", [], [])
            for number in range(1 if is_quick else _NUM_ROUNDS):
                up.raw.append(_trip("raw up", connection, made / "state"))
                up.ours.append(_trip("up", connection, made.parent))
                down.raw.append(_trip("raw down", connection, root / "back"))
                down.ours.append(_trip("down", connection, root / f"resume-{number}"))
                shutil.rmtree(root / f"resume-{number}")
            tenth = _trip("tenth up", connection, ten.parent)
            small = _trip("small up", connection, root / "small")
            slower = {}
            with _training(root / "steps") as steps:
                for what, (trip, path) in _BESIDE.items():
                    quiet = _quiet()
                    busy = _trip(trip, connection, root / path)
                    slower[what] = _steps_s(steps, quiet) / _steps_s(steps, busy)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    up_s = statistics.median(trip.duration_s for trip in up.ours)
    rows = [*up.rows(size_mib), *down.rows(size_mib)]
    rows.append(Row("checkpoint of ten files, one changed: its upload over that of all", tenth.duration_s / up_s, "x"))
    rows.append(Row("checkpoint of 100 KB: upload", 1000 * small.duration_s / NUM_SMALL, "ms"))
    rows.append(Row("checkpoint of 100 KB: CPU time of the upload", 1000 * small.cpu_s / NUM_SMALL, "ms"))
    for what, ratio in slower.items():
        rows.append(Row(f"training on one core: how much longer it takes while {what}", ratio, "x"))
    return Measured(tuple(rows))


def _write(file: Path, size_mib: int) -> None:
    with file.open("wb") as stream:
        for _ in range(size_mib):
            stream.write(os.urandom(MIB))


def _trip(what: str, connection: str, path: Path) -> Trip:
    command = [sys.executable, "-m", "bench.checkpoint_trips", what, connection, str(path)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return Trip(*map(float, answer.stdout.split()))


def _quiet() -> Trip:
    began_s = time.monotonic()
    time.sleep(_QUIET_S)
    return Trip(began_s, time.monotonic(), 0.0, 0.0)


@contextmanager
def _training(steps: Path) -> Iterator[Path]:
    """Runs a training meanwhile; its file tells how many steps it has made, and when."""
    command = [sys.executable, "-m", "bench.checkpoint_trips", "train", "", str(steps)]
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    child = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **one_thread})
    try:
        while not (steps.exists() and steps.stat().st_size):
            time.sleep(0.1)
        yield steps
    finally:
        child.kill()
        child.wait()


def _steps_s(steps: Path, trip: Trip) -> float:
    """How many steps a second the training made during a trip."""
    lines = [line.split() for line in steps.read_text(encoding="utf-8").splitlines()[:-1]]  # the last one may be torn
    during = [(float(at), int(count)) for at, count in lines if trip.began_s <= float(at) <= trip.ended_s]
    (first_s, first), (last_s, last) = during[0], during[-1]
    return (last - first) / (last_s - first_s)
