"""Large files: in blocks, in parallel, whole or not there at all, and never in memory."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from azure.core.rest import HttpRequest

from dropsweep.errors import ClaimLost
from dropsweep.names import RUNS, JobKey
from dropsweep.settings import Settings
from dropsweep.storage import Digest, Store, Tally
from dropsweep.storage.transfer import block_bytes_of
from local.paths import ROOT
from tests.emulator.faults import DIE_BEFORE, Died, Faults, LoseAnswer

MIB = 1024 * 1024
LARGE_BYTES = 256 * MIB
MOST_BYTES = 160 * MIB
"""Far below the file's size, and above six ranges with their copies."""
BLOCK_BYTES = block_bytes_of(9 * MIB)

CHILD = """
import sys
from pathlib import Path
from dropsweep.names import JobKey
from dropsweep.settings import StorageSettings
from dropsweep.storage import Store
from dropsweep_trainer.checkpoints.checkpointer import Checkpointer
from dropsweep_trainer.files.reported import Reported
from dropsweep_trainer.checkpoints.resuming import fetch_latest

def most_bytes():
    [line] = [line for line in open("/proc/self/status") if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024

connection, workspace, what, folder = sys.argv[1:]
store, key = Store.connect(StorageSettings(connection)), JobKey(workspace, "e", "job-0123456789")
assert store.blobs.read("runs", "nothing") is None
before = most_bytes()
if what == "up":
    Checkpointer(store, key, 0, 1, Path(folder), Reported(Path("none"))).finish()
else:
    assert fetch_latest(store, key, 0, Path(folder)) is not None
print(most_bytes() - before)
"""


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the system does not tell a process's peak of memory"
)
def test_a_large_checkpoint_is_held_in_memory_neither_on_its_way_up_nor_down(
    store: Store, key: JobKey, connection_string: str, tmp_path: Path
) -> None:
    made = tmp_path / "made" / "a"
    made.mkdir(parents=True)
    with (made / "state").open("wb") as stream:
        stream.truncate(LARGE_BYTES)
        for offset in range(0, LARGE_BYTES, 5 * MIB):
            stream.seek(offset)
            stream.write(offset.to_bytes(8))
    grown = {}
    for what, folder in (("up", made.parent), ("down", tmp_path / "resume")):
        done = subprocess.run(
            [sys.executable, "-c", CHILD, connection_string, key.workspace, what, str(folder)],
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'shared'}{os.pathsep}{ROOT / 'trainer_image'}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        grown[what] = int(done.stdout)
    assert grown["up"] < MOST_BYTES
    assert grown["down"] < MOST_BYTES
    # fetch_latest has compared the hash; this is that the file lies where it should.
    assert (tmp_path / "resume" / "state").stat().st_size == LARGE_BYTES


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file of three blocks, the last one short."""
    file = tmp_path / "large"
    with file.open("wb") as stream:
        for letter in b"abc":
            stream.write(bytes([letter]) * (BLOCK_BYTES if letter != ord("c") else 1000))
    return file


class Block:
    """Matches the `number`th block that is sent, from 1."""

    def __init__(self, number: int) -> None:
        self._left = number

    def __call__(self, request: HttpRequest) -> bool:
        self._left -= "comp=block&" in f"{request.url}&"
        return self._left == 0


@pytest.mark.usefixtures("store")
def test_a_large_file_goes_up_in_blocks_one_of_them_twice_and_comes_back_as_it_was(
    settings: Settings, key: JobKey, large: Path, tmp_path: Path
) -> None:
    fault, tally = LoseAnswer(Block(2)), Tally()
    store = Store.connect(settings.storage, tally, fault)
    store.blobs.upload(RUNS, f"{key.path}/large", large)
    assert fault.num_lost == 1
    assert tally.by_kind() == {"PUT block": 4, "PUT blocklist": 1}
    assert store.blobs.download(RUNS, f"{key.path}/large", tmp_path / "back")
    assert subprocess.run(["cmp", large, tmp_path / "back"], check=False).returncode == 0


def test_when_one_block_fails_there_is_nothing_and_what_failed_is_told(
    settings: Settings, store: Store, key: JobKey, large: Path
) -> None:
    is_second = Block(2)
    faults = Faults(lambda _, request: DIE_BEFORE if is_second(request) else None)
    with pytest.raises(Died):
        Store.connect(settings.storage, faults).blobs.upload(RUNS, f"{key.path}/large", large)
    assert store.blobs.head(RUNS, f"{key.path}/large") is None


def test_a_check_ends_an_upload_in_the_middle_of_a_block(store: Store, key: JobKey, large: Path) -> None:
    num_asked = 0

    def check() -> None:
        nonlocal num_asked
        num_asked += 1
        if num_asked > 50:
            raise ClaimLost("another worker has the trial")

    with pytest.raises(ClaimLost):
        store.blobs.upload(RUNS, f"{key.path}/large", large, check=check)
    assert num_asked < 60  # each block asks 32 times; afterwards each of four threads may ask once more
    assert store.blobs.head(RUNS, f"{key.path}/large") is None


def test_a_file_that_becomes_shorter_while_it_is_sent_is_told_as_such(store: Store, key: JobKey, large: Path) -> None:
    with pytest.raises(OSError, match=f"became shorter than the {2 * BLOCK_BYTES + 1000} bytes"):
        store.blobs.upload(RUNS, f"{key.path}/large", large, check=lambda: os.truncate(large, 1000))
    assert store.blobs.head(RUNS, f"{key.path}/large") is None


@pytest.mark.parametrize("is_replaced", [False, True], ids=["deleted", "replaced"])
def test_a_blob_that_goes_while_it_is_downloaded_is_not_there_and_one_that_is_replaced_is_the_new_one(
    store: Store, key: JobKey, large: Path, tmp_path: Path, is_replaced: bool
) -> None:
    path, back = f"{key.path}/large", tmp_path / "back"
    store.blobs.upload(RUNS, path, large)
    changes: list[Callable[[], object]] = [
        (lambda: store.blobs.put(RUNS, path, b"new")) if is_replaced else (lambda: store.blobs.delete(RUNS, path))
    ]

    def check() -> None:
        if changes:
            changes.pop()()

    digest = Digest()
    assert store.blobs.download(RUNS, path, back, check=check, digest=digest) is is_replaced
    assert back.exists() is is_replaced
    if is_replaced:
        assert back.read_bytes() == b"new"
        assert digest.sha256 == hashlib.sha256(b"new").hexdigest()
