"""One cache, several processes: real ones, which are killed; and a disk that is full, which is a small one."""

import errno
import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from azure.storage.blob import BlobClient, ContentSettings

from dropsweep.errors import StagingError
from dropsweep.names import CODE, JobKey
from dropsweep.settings import Settings
from dropsweep.steps.report import read_spec
from dropsweep.storage import Store, Tally
from dropsweep_trainer.staging.stage import Stage
from tests.emulator.deployment import Deployment, command

_WORKER = """
import os
import sys
from pathlib import Path
from dropsweep.names import CODE, JobKey
from dropsweep.settings import StorageSettings
from dropsweep.storage import Store
from dropsweep_trainer.staging.stage import Stage

connection, cache, workspace, folder, where = sys.argv[1:]
store = Store.connect(StorageSettings(connection))


def wait(word):
    os.write(1, f"{word}\\n".encode())  # at once: several threads may come here
    sys.stdin.read()


def check():
    if where == "while it fetches" and list((Path(cache) / "objects").iterdir()):
        wait("something is there")


with Stage(store, Path(cache)).folder(JobKey(workspace, "e", "other"), CODE, folder, check) as use:
    wait(str(use.path))
"""


class Workers:
    """Processes that stage a folder and stop where they are told to, until they are killed."""

    def __init__(self, connection_string: str, cache: Path, workspace: str) -> None:
        self._arguments = (connection_string, str(cache), workspace)
        self.started: list[subprocess.Popen[str]] = []

    def start(self, folder: str, where: str = "while it uses it") -> tuple[subprocess.Popen[str], str]:
        """Starts one; returns it with what it said when it stopped."""
        process = subprocess.Popen(
            [sys.executable, "-c", _WORKER, *self._arguments, folder, where],
            env={"PYTHONPATH": "shared:trainer_image", "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()


@pytest.fixture
def workers(connection_string: str, workspace: str, tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(connection_string, tmp_path / "cache", workspace)
    yield workers
    for process in workers.started:
        process.kill()
        process.communicate()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB and, its folders included, 60 files and links."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,nr_inodes=60", "tmpfs", disk]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a file system")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def put(store: Store, folder: str, **files: bytes) -> None:
    for name, body in files.items():
        store.blobs.put(CODE, f"{folder}/{name}", body)


def test_a_worker_that_is_killed_while_it_fetches_leaves_what_it_has_to_the_one_that_waits(
    settings: Settings, store: Store, workers: Workers, key: JobKey, workspace: str, tmp_path: Path
) -> None:
    files = {f"f{number}": f"{workspace} {number}".encode() for number in range(40)}
    put(store, f"{workspace}/data", **files)
    process, said = workers.start(f"{workspace}/data", "while it fetches")
    assert said == "something is there"
    [begun] = (tmp_path / "cache" / "partial").iterdir()
    num_looks = 0

    def check() -> None:
        nonlocal num_looks
        num_looks += 1
        if num_looks == 5:  # it waits by now, for nobody else is at it
            assert list((tmp_path / "cache" / "trees").iterdir()) == []
            process.kill()
            process.wait()

    tally = Tally()
    stage = Stage(Store.connect(settings.storage, tally), tmp_path / "cache")
    assert begun.exists()
    with stage.folder(key, CODE, f"{workspace}/data", check) as use:
        assert {path.name: path.read_bytes() for path in use.path.iterdir()} == files
    assert num_looks > 5
    assert 0 < tally.by_kind()["GET"] < 40
    assert list((tmp_path / "cache" / "partial").iterdir()) == []


def test_what_a_process_uses_stays_until_it_is_killed(
    store: Store, workers: Workers, key: JobKey, workspace: str, tmp_path: Path
) -> None:
    put(store, f"{workspace}/theirs", a=bytes(50_000))
    put(store, f"{workspace}/mine", a=bytes(60_000))
    put(store, f"{workspace}/more", a=bytes(70_000))
    process, theirs = workers.start(f"{workspace}/theirs")
    stage = Stage(store, tmp_path / "cache", max_bytes=80_000)
    with stage.folder(key, CODE, f"{workspace}/mine") as mine:
        assert mine.path.exists()
        assert Path(theirs, "a").exists()
    assert [mine.path.exists(), Path(theirs).exists()] == [False, True]
    process.kill()
    process.wait()
    with stage.folder(key, CODE, f"{workspace}/more"):
        assert not Path(theirs).exists()


def test_what_somebody_changed_while_another_uses_it_is_brought_anew_beside_it(
    store: Store, workers: Workers, key: JobKey, workspace: str, tmp_path: Path
) -> None:
    put(store, f"{workspace}/data", a=b"right")
    process, theirs = workers.start(f"{workspace}/data")
    file = Path(theirs, "a")
    file.chmod(0o755)
    file.write_bytes(b"wrong")
    stage = Stage(store, tmp_path / "cache")
    with stage.folder(key, CODE, f"{workspace}/data") as use:
        assert (use.path / "a").read_bytes() == b"right"
        assert use.path.name == f"{Path(theirs).name}-1"
    assert file.read_bytes() == b"wrong"
    process.kill()
    process.wait()
    with stage.folder(JobKey(workspace, "e", "later"), CODE, f"{workspace}/data") as use:
        assert (use.path / "a").read_bytes() == b"right"
        assert str(use.path) == theirs


def test_a_disk_that_is_full_is_emptied_of_what_nobody_uses(
    store: Store, key: JobKey, workspace: str, small_disk: Path
) -> None:
    put(store, f"{workspace}/old", a=bytes(900_000))
    put(store, f"{workspace}/new", a=b"x" * 1_500_000)
    stage = Stage(store, small_disk / "cache", max_bytes=2**40)
    stage.folder(key, CODE, f"{workspace}/old").close()
    with stage.folder(key, CODE, f"{workspace}/new") as use:
        assert (use.path / "a").stat().st_size == 1_500_000
        assert len(list((small_disk / "cache" / "trees").iterdir())) == 1


def test_a_disk_that_has_room_for_no_more_files_is_emptied_likewise(
    store: Store, key: JobKey, workspace: str, small_disk: Path
) -> None:
    for name in ("old", "new"):
        put(store, f"{workspace}/{name}", **{f"f{number}": f"{name} {number}".encode() for number in range(15)})
    stage = Stage(store, small_disk / "cache")
    stage.folder(key, CODE, f"{workspace}/old").close()
    with stage.folder(key, CODE, f"{workspace}/new") as use:
        assert len(list(use.path.iterdir())) == 15


def test_what_a_filling_brought_that_failed_leaves_its_room_to_the_next_one(
    store: Store, key: JobKey, workspace: str, small_disk: Path
) -> None:
    failing = f"sha256/{hashlib.sha256(workspace.encode()).hexdigest()}"  # what it holds has another digest
    put(store, failing, a=workspace.encode().ljust(1_200_000, b"."))
    put(store, f"{workspace}/old", a=b"old")
    put(store, f"{workspace}/data", a=bytes(1_300_000))
    stage = Stage(store, small_disk / "cache", max_bytes=2**40)
    stage.folder(key, CODE, f"{workspace}/old").close()
    with pytest.raises(StagingError, match="something else than was submitted"):
        stage.folder(key, CODE, failing)
    assert [path.stat().st_nlink for path in (small_disk / "cache" / "objects").glob("*-1200000")] == [1]
    with stage.folder(key, CODE, f"{workspace}/data") as use:
        assert (use.path / "a").stat().st_size == 1_300_000
    assert len(list((small_disk / "cache" / "trees").iterdir())) == 2


def test_a_disk_that_others_have_filled_is_the_node_s_fault(
    store: Store, key: JobKey, workspace: str, small_disk: Path
) -> None:
    put(store, f"{workspace}/one", a=bytes(900_000))
    put(store, f"{workspace}/two", a=b"x" * 1_500_000)
    stage = Stage(store, small_disk / "cache")
    told = rf"{workspace}/two/ takes 1\.4 MiB, and the node's disk has 1\.\d MiB of 2\.0 MiB left in .*/cache, and room"
    with ExitStack() as used:
        used.enter_context(stage.folder(key, CODE, f"{workspace}/one"))
        with pytest.raises(OSError, match=told) as caught:
            stage.folder(key, CODE, f"{workspace}/two")
        assert caught.value.errno == errno.ENOSPC
    assert stage.folder(key, CODE, f"{workspace}/two").path.exists()


def test_a_disk_that_becomes_full_meanwhile_is_told_and_nothing_is_left_on_it(
    store: Store, key: JobKey, workspace: str, small_disk: Path
) -> None:
    put(store, f"{workspace}/data", a=b"a" * 100_000, b=b"b" * 900_000)
    filler = small_disk / "filler"
    guard = threading.Lock()

    def fill() -> None:
        # Between the look at the disk and the first download: each of these asks first.
        with guard:
            if any((small_disk / "cache" / "partial").iterdir()) and not filler.exists():
                filler.write_bytes(bytes(1_900_000))

    stage = Stage(store, small_disk / "cache")
    with pytest.raises(OSError, match="left in") as caught:
        stage.folder(key, CODE, f"{workspace}/data", fill)
    assert caught.value.errno == errno.ENOSPC
    assert list((small_disk / "cache" / "partial").iterdir()) == []
    filler.unlink()
    stage.folder(key, CODE, f"{workspace}/data").close()


def test_inputs_that_no_such_node_can_hold_fail_the_trial_and_nothing_is_brought(
    settings: Settings, store: Store, key: JobKey, workspace: str, small_disk: Path
) -> None:
    put(store, f"{workspace}/data", a=bytes(3_000_000))
    tally = Tally()
    stage = Stage(Store.connect(settings.storage, tally), small_disk / "cache")
    told = (
        r"takes 2\.9 MiB, and the node's disk has .* of 2\.0 MiB left .* larger disk there, or the job smaller inputs"
    )
    with pytest.raises(StagingError, match=told):
        stage.folder(key, CODE, f"{workspace}/data")
    assert tally.by_kind() == {"GET list": 1}
    assert list((small_disk / "cache" / "partial").iterdir()) == []


def test_a_cache_without_hard_links_shares_nothing_and_works(
    store: Store, key: JobKey, workspace: str, small_disk: Path, tmp_path: Path, connection_string: str
) -> None:
    """The objects lie on another file system, to which there are no links either."""
    put(store, f"{workspace}/one", a=b"same", b=b"same")
    put(store, f"{workspace}/two", a=b"same", c=b"other")
    with BlobClient.from_connection_string(connection_string, CODE, f"{workspace}/two/c") as blob:
        blob.set_http_headers(ContentSettings(content_md5=bytearray(16)))  # not that of its content
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "objects").symlink_to(small_disk)
    stage = Stage(store, cache, max_bytes=1)
    for name, expected in (("one", {"a": b"same", "b": b"same"}), ("two", {"a": b"same", "c": b"other"})):
        with stage.folder(key, CODE, f"{workspace}/{name}") as use:
            assert {path.name: path.read_bytes() for path in use.path.iterdir()} == expected
    assert list(small_disk.iterdir()) == list((cache / "trees").iterdir()) == []


def test_code_is_copied_on_a_full_disk_once_what_nobody_uses_is_gone(deployment: Deployment, small_disk: Path) -> None:
    store, workspace = deployment.store, deployment.workspace
    put(store, f"{workspace}/old", a=bytes(800_000))
    put(store, f"{workspace}/src", large=b"x" * 700_000)
    key = deployment.drop(command("true", code=f"{workspace}/src"))
    stage, spec = Stage(store, small_disk / "cache", max_bytes=2**40), read_spec(store, key)
    stage.folder(key, CODE, f"{workspace}/old").close()
    stage.code(key, spec, small_disk / "one", lambda: None)
    assert (small_disk / "one" / "large").stat().st_size == 700_000
    with pytest.raises(OSError, match="No space left"):
        stage.code(key, spec, small_disk / "two", lambda: None)


def test_a_trial_keeps_its_inputs_to_its_end_and_no_longer(deployment: Deployment) -> None:
    deployment.settings = replace(
        deployment.settings, clusters=(replace(deployment.settings.clusters[0], cache_size_bytes=1),)
    )
    for name in ("one", "two"):
        put(deployment.store, f"{deployment.workspace}/{name}", file=name.encode())
    inputs = {name: {"type": "uri_folder", "path": f"{CODE}/{deployment.workspace}/{name}"} for name in ("one", "two")}
    key = deployment.drop(command("cat ${{inputs.one}}/file ${{inputs.two}}/file", inputs=inputs))
    deployment.run(key)
    assert deployment.text(key.stdout(0, 1)) == "onetwo"
    cache = deployment.work / "worker" / "cache"
    assert [list((cache / name).iterdir()) for name in ("trees", "objects", "uses", "partial")] == [[], [], [], []]
