"""What `bench/checkpoint.py` runs as processes of their own: one way of a checkpoint each, and a training beside it."""

import os
import platform
import resource
import sys
import time
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

from azure.storage.blob import BlobClient

from dropsweep.names import RUNS, JobKey
from dropsweep.settings import StorageSettings
from dropsweep.storage import Store
from dropsweep_trainer.checkpoints.checkpointer import Checkpointer
from dropsweep_trainer.checkpoints.rate import Rate
from dropsweep_trainer.checkpoints.resuming import fetch_latest
from dropsweep_trainer.files.reported import Reported

MIB: Final = 1024 * 1024
KEY: Final = JobKey("bench", "checkpoint", "large")
NUM_PARALLEL: Final = 4
NUM_SMALL: Final = 40
_SMALL_BYTES: Final = 100_000
_SIDE: Final = 384
_TOLD_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Trip:
    """One way of some files.

    Attributes:
        began_s, ended_s: by the machine's monotonic clock, which all processes share.
        cpu_s: of the process, meanwhile.
        grown_mib: how far the process's peak of memory rose above what it was before.
    """

    began_s: float
    ended_s: float
    cpu_s: float
    grown_mib: float

    @property
    def duration_s(self) -> float:
        """From its beginning to its end."""
        return self.ended_s - self.began_s


def main(what: str, connection: str, path: Path) -> None:
    """Makes one trip and prints it; or trains until it is ended."""
    if what == "train":
        train(path)
        return
    store = Store.connect(StorageSettings(connection))
    store.blobs.read(RUNS, "nothing")  # the first connection, and what it loads
    match what:
        case "raw up" | "raw down":
            trip = _raw(what, connection, path)
        case "up":
            trip = _up(store, path)
        case "slowly up":
            trip = _slowly_up(store, path)
        case "tenth up":
            trip = _tenth_up(store, path)
        case "small up":
            trip = _small_up(store, path)
        case "down":
            trip = _timed(_begin(), lambda: fetch_latest(store, KEY, 0, path) or sys.exit("there is no checkpoint"))
        case _:
            sys.exit(f"there is no trip {what!r}")
    print(*astuple(trip))


def train(path: Path) -> None:
    """Multiplies matrices, as a training does, and tells a file several times a second how many it has multiplied.

    Each line is the machine's monotonic time, and the number of products so far.
    """
    import numpy as np

    left, right = np.random.default_rng(0).standard_normal((2, _SIDE, _SIDE), dtype=np.float32)
    num_steps, told_s = 0, 0.0
    with path.open("w", buffering=1) as stream:
        while True:
            left @ right
            num_steps += 1
            now_s = time.monotonic()
            if now_s - told_s >= _TOLD_S:
                told_s = now_s
                stream.write(f"{now_s} {num_steps}\n")


def _up(store: Store, path: Path) -> Trip:
    return _timed(_begin(), lambda: Checkpointer(store, KEY, 0, 1, path, Reported(path / ".none")).finish())


def _slowly_up(store: Store, path: Path) -> Trip:
    """At a rate of 16 MiB/s, from the checkpointer's own thread, for as long as it takes."""
    share = Rate(16.0 * MIB).share()
    begun = _begin()
    checkpointer = Checkpointer(store, KEY, 1, 1, path, Reported(path / ".none"), share=share)
    while not checkpointer.has_progressed:
        time.sleep(_TOLD_S)
    trip = _timed(begun, lambda: None)
    checkpointer.finish()
    return trip


def _tenth_up(store: Store, path: Path) -> Trip:
    """The second of two checkpoints of ten files, of which one has changed; the first one is not counted."""
    checkpointer = Checkpointer(store, KEY, 2, 1, path, Reported(path / ".none"))
    checkpointer.finish()
    [first] = path.iterdir()
    hidden = path / ".second"
    hidden.mkdir()
    for file in first.iterdir():
        body = file.read_bytes()
        (hidden / file.name).write_bytes(body[::-1] if file.name == "0" else body)
    hidden.rename(path / "second")
    os.utime(path / "second")
    return _timed(_begin(), checkpointer.finish)


def _small_up(store: Store, path: Path) -> Trip:
    """As many small checkpoints of one file, one after the other, as `NUM_SMALL` says."""
    checkpointer = Checkpointer(store, KEY, 3, 1, path, Reported(path / ".none"))
    checkpointer.finish()

    def upload() -> None:
        for number in range(NUM_SMALL):
            hidden = path / ".new"
            hidden.mkdir()
            (hidden / "state").write_bytes(number.to_bytes(2) * (_SMALL_BYTES // 2))
            hidden.rename(path / f"step-{number}")
            os.utime(path / f"step-{number}", ns=(number, number))
            checkpointer.finish()

    return _timed(_begin(), upload)


def _raw(what: str, connection: str, path: Path) -> Trip:
    """The SDK's own upload or download of one file, with as many threads."""

    def go() -> None:
        with BlobClient.from_connection_string(connection, RUNS, "raw") as blob:
            if what == "raw up":
                with path.open("rb") as source:
                    blob.upload_blob(source, max_concurrency=NUM_PARALLEL, overwrite=True)
            else:
                with path.open("wb") as target:
                    blob.download_blob(max_concurrency=NUM_PARALLEL).readinto(target)

    return _timed(_begin(), go)


def _begin() -> tuple[float, float, float]:
    return time.monotonic(), time.process_time(), _peak_mib()


def _timed(begun: tuple[float, float, float], go: object) -> Trip:
    assert callable(go)
    go()
    began_s, cpu_s, peak_mib = begun
    return Trip(began_s, time.monotonic(), time.process_time() - cpu_s, _peak_mib() - peak_mib)


def _peak_mib() -> float:
    """The most memory that this process ever had."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: on Linux it begins with the peak of the process that started this one.
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) / 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / MIB if platform.system() == "Darwin" else most / 1024


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
