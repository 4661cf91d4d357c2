"""An input on its way to a node: for the first trial, those after it, eight at once, and once a part of it changed."""

import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from bench.results import Measured, Row
from bench.system import folder
from dropsweep.names import CODE, JobKey
from dropsweep.settings import StorageSettings
from dropsweep.storage import Store, Tally
from dropsweep_trainer.staging.stage import Stage
from local.azurite import Azurite

_MIB: Final = 1024 * 1024
_NUM_FILES: Final = 16
_FILE_MIB: Final = 64
_FILE_QUICK_MIB: Final = 4
_NUM_AT_ONCE: Final = 8
_NUM_SMALL: Final = 2000
_NUM_SMALL_QUICK: Final = 200
_NUM_LOOKS: Final = 20


class _Node:
    """A node's stage, and what it has asked of the account."""

    def __init__(self, connection: str, cache: Path) -> None:
        self._tally = Tally()
        self._stage = Stage(Store.connect(StorageSettings(connection), self._tally), cache)

    def trial(self, job: str, name: str) -> float:
        """Stages an input for a trial of a job that runs as the worker's user; returns seconds."""
        began = time.monotonic()
        self._stage.folder(JobKey("bench", "staging", job), CODE, name).close()
        return time.monotonic() - began

    def num_asked(self) -> int:
        """Requests since the node began."""
        return sum(self._tally.by_kind().values())


def measure(*, is_quick: bool) -> Measured:
    """Stages 16 files of 64 MiB (quick: 4 MiB), and 2,000 (quick: 200) of 1 KiB, from the emulator.

    Times are those of the trainer's own code, from the call until the folder can be read. They depend on the emulator,
    which runs on the same cores; what a trial costs that finds everything there does not. Such trials are looked at
    twenty times, and their mean is told.

    Raises:
        DropsweepError: the emulator does not start.
    """
    file_mib = _FILE_QUICK_MIB if is_quick else _FILE_MIB
    num_small = _NUM_SMALL_QUICK if is_quick else _NUM_SMALL
    size_mib = _NUM_FILES * file_mib
    root = folder("staging")
    try:
        with Azurite(root / "azurite", log=root / "azurite.log") as azurite:
            connection = azurite.connection_string
            store = Store.connect(StorageSettings(connection))
            store.prepare(())
            source = root / "source"
            for number in range(_NUM_FILES):
                _put(store, source, f"large/{number}", file_mib)
            for number in range(num_small):
                store.blobs.put(CODE, f"small/{number}", os.urandom(1024))
            rows = _large(store, source, connection, root, size_mib, file_mib)
            rows += _small(connection, root, num_small)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return Measured(tuple(rows))


def _large(store: Store, source: Path, connection: str, root: Path, size_mib: int, file_mib: int) -> list[Row]:
    node = _Node(connection, root / "one")
    what = f"input of {size_mib} MiB"
    rows = [Row(f"{what}: the node's first trial", size_mib / node.trial("first", "large"), "MiB/s")]
    before = node.num_asked()
    rows.append(Row(f"{what}: another trial of the job", 1000 * _mean_s(lambda: node.trial("first", "large")), "ms"))
    rows.append(Row(f"{what}: requests of {_NUM_LOOKS} such trials", node.num_asked() - before, "requests", 0))
    before = node.num_asked()
    rows.append(Row(f"{what}: another job's first trial", 1000 * node.trial("second", "large"), "ms"))
    rows.append(Row(f"{what}: requests of another job's first trial", node.num_asked() - before, "requests", 1))
    _put(store, source, "large/0", file_mib)
    rows.append(Row(f"{what}: another job's, once {file_mib} MiB changed", 1000 * node.trial("third", "large"), "ms"))
    # Half of them are slots of one worker, half of another one.
    workers = [_Node(connection, root / "many") for _ in range(2)]
    began = time.monotonic()
    with ThreadPoolExecutor(_NUM_AT_ONCE) as pool:
        list(pool.map(lambda slot: workers[slot % 2].trial("first", "large"), range(_NUM_AT_ONCE)))
    taken_s = time.monotonic() - began
    rows.append(Row(f"{what}: {_NUM_AT_ONCE} first trials at once, on 2 workers", size_mib / taken_s, "MiB/s"))
    return rows


def _small(connection: str, root: Path, num_files: int) -> list[Row]:
    node = _Node(connection, root / "small")
    what = f"input of {num_files} files of 1 KiB"
    return [
        Row(f"{what}: the node's first trial", num_files / node.trial("first", "small"), "files/s"),
        Row(f"{what}: another trial, which looks at each", 1000 * _mean_s(lambda: node.trial("first", "small")), "ms"),
    ]


def _put(store: Store, source: Path, name: str, size_mib: int) -> None:
    """Uploads random bytes."""
    with source.open("wb") as stream:
        for _ in range(size_mib):
            stream.write(os.urandom(_MIB))
    store.blobs.upload(CODE, name, source)


def _mean_s(take_s: Callable[[], float]) -> float:
    return sum(take_s() for _ in range(_NUM_LOOKS)) / _NUM_LOOKS
