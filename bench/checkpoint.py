"""A large checkpoint on its way up and down: how fast beside the bare storage SDK, and how much memory it takes."""

import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from azure.storage.blob import BlobClient

from bench.results import Measured, Row
from bench.system import folder
from dropsweep.names import RUNS, JobKey
from dropsweep.settings import StorageSettings
from dropsweep.storage import Store
from dropsweep_trainer.checkpoints import Checkpointer
from dropsweep_trainer.reported import Reported
from dropsweep_trainer.resuming import fetch_latest
from local.azurite import Azurite
from local.paths import ROOT

_MIB: Final = 1024 * 1024
_SIZE_MIB: Final = 1024
_SIZE_QUICK_MIB: Final = 256
_BAR_MEMORY_MIB: Final = 200.0
_KEY: Final = JobKey("bench", "checkpoint", "large")
_RAW: Final = "raw"
_NUM_PARALLEL: Final = 4


@dataclass(frozen=True, slots=True)
class _Trip:
    """One way of one file, in a process of its own.

    Attributes:
        grown_mib: how far the process's peak of memory rose above what it was before.
    """

    duration_s: float
    grown_mib: float


def measure(*, is_quick: bool) -> Measured:
    """Sends a checkpoint of one file of 1 GiB (quick: 256 MiB) of random bytes to the emulator and brings it back.

    Each trip is a process of its own, which tells its time and its peak of memory. A checkpoint's trips are the
    trainer's own code: they include the hash of the file, up and down, and the manifest. The SDK's are its plain
    `upload_blob` and `download_blob` with as many threads. Both end on the same disk as the emulator's data.

    Raises:
        DropsweepError: the emulator does not start. subprocess.CalledProcessError: a trip failed.
    """
    size_mib = _SIZE_QUICK_MIB if is_quick else _SIZE_MIB
    root = folder("checkpoint")
    try:
        made = root / "made" / "large"
        made.mkdir(parents=True)
        with (made / "state").open("wb") as stream:
            for _ in range(size_mib):
                stream.write(os.urandom(_MIB))
        with Azurite(root / "azurite", log=root / "azurite.log") as azurite:
            connection = azurite.connection_string
            Store.connect(StorageSettings(connection)).prepare(())
            raw_up = _trip("up", _RAW, connection, made / "state")
            up = _trip("up", "checkpoint", connection, made.parent)
            raw_down = _trip("down", _RAW, connection, root / "back")
            down = _trip("down", "checkpoint", connection, root / "resume")
    finally:
        shutil.rmtree(root, ignore_errors=True)
    rows: list[Row] = []
    for way, ours, raw in (("upload", up, raw_up), ("download", down, raw_down)):
        rows += [
            Row(f"checkpoint of {size_mib} MiB: {way}, with its hash", size_mib / ours.duration_s, "MiB/s"),
            Row(f"file of {size_mib} MiB: {way} by the SDK alone", size_mib / raw.duration_s, "MiB/s"),
            Row(f"checkpoint: time of the {way} over the SDK's", ours.duration_s / raw.duration_s, "x"),
            Row(f"checkpoint: memory that the {way} takes", ours.grown_mib, "MiB", _BAR_MEMORY_MIB),
        ]
    return Measured(tuple(rows))


def _trip(way: str, by: str, connection: str, path: Path) -> _Trip:
    answer = subprocess.run(
        [sys.executable, "-m", "bench.checkpoint", way, by, connection, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    duration_s, grown_mib = answer.stdout.split()
    return _Trip(float(duration_s), float(grown_mib))


def _child(way: str, by: str, connection: str, path: Path) -> None:
    """Makes one trip and prints its seconds and MiB."""
    store = Store.connect(StorageSettings(connection))
    store.blobs.read(RUNS, "nothing")  # the first connection, and what it loads
    before_mib, began = _peak_mib(), time.monotonic()
    if by == _RAW:
        with BlobClient.from_connection_string(connection, RUNS, "raw") as blob:
            if way == "up":
                with path.open("rb") as source:
                    blob.upload_blob(source, max_concurrency=_NUM_PARALLEL)
            else:
                with path.open("wb") as target:
                    blob.download_blob(max_concurrency=_NUM_PARALLEL).readinto(target)
    elif way == "up":
        Checkpointer(store, _KEY, 0, 1, path, Reported(path / ".none")).finish()
    elif fetch_latest(store, _KEY, 0, path) is None:
        sys.exit("there is no checkpoint")
    print(time.monotonic() - began, _peak_mib() - before_mib)


def _peak_mib() -> float:
    """The most memory that this process ever had."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: on Linux it begins with the peak of the process that started this one.
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) / 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / _MIB if platform.system() == "Darwin" else most / 1024


if __name__ == "__main__":
    _child(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]))
