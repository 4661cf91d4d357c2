import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from azure.storage.blob import BlobClient, ContentSettings

from dropsweep.client.code import read_folder, upload_folder
from dropsweep.errors import StagingError
from dropsweep.names import CODE, JobKey
from dropsweep.settings import Settings
from dropsweep.storage import Store, Tally
from dropsweep_trainer.staging.stage import Stage


class Counted:
    """A stage that counts what it asks of the account."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.tally = Tally()
        self.stage = Stage(Store.connect(settings.storage, self.tally), folder)

    def asked(self) -> dict[str, int]:
        return self.tally.by_kind()


@pytest.fixture
def counted(settings: Settings, tmp_path: Path) -> Counted:
    return Counted(settings, tmp_path)


def path_of(stage: Stage, key: JobKey, folder: str) -> Path:
    with stage.folder(key, CODE, folder) as use:
        return use.path


def next_job(key: JobKey) -> JobKey:
    return JobKey(key.workspace, key.experiment, "next")


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def nothing_is_left(cache: Path) -> bool:
    """True when the cache has no folder, whole or not."""
    return [path for name in ("trees", "uses", "partial") for path in (cache / name).iterdir()] == []


def test_a_folder_is_downloaded_once_for_many_slots(
    counted: Counted, store: Store, key: JobKey, workspace: str
) -> None:
    for number in range(5):
        store.blobs.put(CODE, f"{workspace}/src/deep/{number}.txt", str(number).encode())
    barrier = threading.Barrier(6)

    def ask(_: int) -> Path:
        barrier.wait()
        return path_of(counted.stage, key, f"{workspace}/src")

    with ThreadPoolExecutor(6) as pool:
        [folder] = set(pool.map(ask, range(6)))
    assert sorted(path.read_text() for path in (folder / "deep").iterdir()) == ["0", "1", "2", "3", "4"]
    assert counted.asked() == {"GET list": 1, "GET": 5}
    assert not os.access(folder / "deep" / "0.txt", os.W_OK) or os.geteuid() == 0
    assert (folder / "deep" / "0.txt").stat().st_mode & 0o222 == 0


def test_a_folder_is_downloaded_once_for_many_jobs_and_each_asks_for_its_list(
    counted: Counted, store: Store, key: JobKey, workspace: str
) -> None:
    store.blobs.put(CODE, f"{workspace}/src/a", b"data")
    folders = {path_of(counted.stage, JobKey(workspace, "e", f"job-{number}"), f"{workspace}/src") for number in (1, 2)}
    assert len(folders) == 1
    assert counted.asked() == {"GET list": 2, "GET": 1}


def test_a_snapshot_that_is_there_is_asked_for_by_nobody_any_more(
    counted: Counted, store: Store, key: JobKey, workspace: str, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "train.py").write_text(f"print({workspace!r})")
    folder = read_folder(source, where="code")
    upload_folder(store, folder)
    first = path_of(counted.stage, key, folder.blob)
    assert counted.asked() == {"GET list": 1, "GET": 1}
    assert path_of(counted.stage, next_job(key), folder.blob) == first
    assert counted.asked() == {"GET list": 1, "GET": 1}


def test_the_same_content_is_stored_once_whatever_its_names_and_versions(
    counted: Counted, store: Store, key: JobKey, workspace: str
) -> None:
    store.blobs.put(CODE, f"{workspace}/one/a", b"the same")
    first = path_of(counted.stage, key, f"{workspace}/one")
    store.blobs.put(CODE, f"{workspace}/one/a", b"the same")
    store.blobs.put(CODE, f"{workspace}/two/a", b"the same")
    later = next_job(key)
    assert {path_of(counted.stage, later, f"{workspace}/{name}") for name in ("one", "two")} == {first}
    assert counted.asked()["GET"] == 1


def test_two_versions_of_a_data_set_share_what_did_not_change(
    counted: Counted, store: Store, key: JobKey, workspace: str
) -> None:
    for name in ("a", "b", "deep/c"):
        store.blobs.put(CODE, f"{workspace}/data/{name}", f"{workspace} {name}".encode())
    first = path_of(counted.stage, key, f"{workspace}/data")
    store.blobs.put(CODE, f"{workspace}/data/b", b"changed")
    store.blobs.put(CODE, f"{workspace}/data/new", f"{workspace} a".encode())
    second = path_of(counted.stage, next_job(key), f"{workspace}/data")
    assert counted.asked()["GET"] == 4
    assert (first / "b").read_bytes() != (second / "b").read_bytes() == b"changed"
    same = {path.stat().st_ino for path in (first / "a", second / "a", second / "new")}
    assert len(same) == 1
    assert (first / "deep" / "c").stat().st_ino == (second / "deep" / "c").stat().st_ino
    assert sorted(files_in(second)) == ["a", "b", "deep/c", "new"]


def test_a_neighbour_with_a_longer_name_is_not_taken_along(
    counted: Counted, store: Store, key: JobKey, workspace: str
) -> None:
    store.blobs.put(CODE, f"{workspace}/src/a", b"mine")
    store.blobs.put(CODE, f"{workspace}/src-other/b", b"theirs")
    assert files_in(path_of(counted.stage, key, f"{workspace}/src")) == {"a": b"mine"}


def test_a_file_keeps_its_name(counted: Counted, store: Store, key: JobKey, workspace: str) -> None:
    store.blobs.put(CODE, f"{workspace}/data set.csv", b"1,2")
    store.blobs.put(CODE, f"{workspace}/data set.csv.bak", b"old")
    with counted.stage.file(key, CODE, f"{workspace}/data set.csv") as use:
        assert files_in(use.path) == {"data set.csv": b"1,2"}


def test_files_without_content_are_there_and_cost_nothing(
    counted: Counted, store: Store, key: JobKey, workspace: str
) -> None:
    for name in ("__init__.py", "deep/__init__.py"):
        store.blobs.put(CODE, f"{workspace}/src/{name}", b"")
    assert files_in(path_of(counted.stage, key, f"{workspace}/src")) == {"__init__.py": b"", "deep/__init__.py": b""}
    assert counted.asked() == {"GET list": 1}


def test_two_workers_with_one_cache_folder_share_what_is_in_it(
    settings: Settings, store: Store, key: JobKey, workspace: str, tmp_path: Path
) -> None:
    store.blobs.put(CODE, f"{workspace}/src/a", b"mine")
    workers = [Counted(settings, tmp_path) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda worker: path_of(worker.stage, key, f"{workspace}/src"), workers))
    assert len(folders) == 1
    assert sum(worker.asked().get("GET", 0) for worker in workers) == 1
    assert [path.name for path in (tmp_path / "trees").iterdir()] == [folders.pop().name]


def test_a_change_is_seen_by_the_next_job_and_not_by_this_one(
    counted: Counted, store: Store, key: JobKey, workspace: str
) -> None:
    store.blobs.put(CODE, f"{workspace}/src/a", b"old")
    first = path_of(counted.stage, key, f"{workspace}/src")
    store.blobs.put(CODE, f"{workspace}/src/a", b"new")
    assert path_of(counted.stage, key, f"{workspace}/src") == first
    later = path_of(counted.stage, next_job(key), f"{workspace}/src")
    assert files_in(later) == {"a": b"new"}
    assert files_in(first) == {"a": b"old"}


def test_a_blob_that_changes_after_it_was_listed_is_listed_again(
    settings: Settings, store: Store, key: JobKey, workspace: str, tmp_path: Path
) -> None:
    names = [f"{workspace}/data/{name}" for name in "ab"]
    for name in names:
        store.blobs.put(CODE, name, b"listed")
    left = ["second", "first"]

    def change() -> None:
        if left:
            store.blobs.put(CODE, names[0], left.pop().encode())

    counted = Counted(settings, tmp_path)
    with counted.stage.folder(key, CODE, f"{workspace}/data", change) as use:
        assert files_in(use.path)["b"] == b"listed"
        assert files_in(use.path)["a"] in (b"first", b"second")
        read = store.blobs.read(CODE, names[0])
        assert read is not None
        assert files_in(use.path)["a"] == read.body


def test_a_folder_is_as_one_list_says(
    settings: Settings, store: Store, key: JobKey, workspace: str, tmp_path: Path, connection_string: str
) -> None:
    names = [f"{workspace}/data/f{number:02}" for number in range(40)]

    def write(name: str, body: str) -> None:
        with BlobClient.from_connection_string(connection_string, CODE, name) as blob:
            blob.upload_blob(body.encode(), overwrite=True)
            blob.set_http_headers(ContentSettings())  # without a hash nothing but its version tells that it changed

    for name in names:
        write(name, f"old {name}")
    guard = threading.Lock()
    is_changed = False

    def check() -> None:
        nonlocal is_changed
        with guard:  # each download asks first, so the last ones have not begun
            if not is_changed and any((tmp_path / "objects").iterdir()):
                is_changed = True
                for name in (names[0], names[-1]):
                    write(name, "new")

    with Stage(store, tmp_path).folder(key, CODE, f"{workspace}/data", check) as use:
        found = files_in(use.path)
    assert is_changed
    assert [found["f00"], found["f39"]] == [b"new", b"new"]


def test_a_blob_that_never_stays_the_same_is_told(store: Store, key: JobKey, workspace: str, tmp_path: Path) -> None:
    count = iter(range(1000))

    def change() -> None:
        store.blobs.put(CODE, f"{workspace}/data/a", str(next(count)).encode())

    change()
    with pytest.raises(StagingError, match="was changed each of the 4 times"):
        Stage(store, tmp_path).folder(key, CODE, f"{workspace}/data", change)
    assert nothing_is_left(tmp_path)


def test_a_hash_that_is_not_the_content_s_is_not_relied_on(
    counted: Counted,
    store: Store,
    key: JobKey,
    workspace: str,
    connection_string: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    wrong = ContentSettings(content_md5=bytearray(16))
    for name, body in (("a", b"right"), ("b", b"other")):
        with BlobClient.from_connection_string(connection_string, CODE, f"{workspace}/{name}/file") as blob:
            blob.upload_blob(body + workspace.encode())
            blob.set_http_headers(wrong)
    folders = [path_of(counted.stage, key, f"{workspace}/{name}") for name in "ab"]
    assert [files_in(folder)["file"][:5] for folder in folders] == [b"right", b"other"]
    assert caplog.text.count("Content-MD5 that is not that of its content") == 2
    # Found out once, it is known: nothing is brought twice.
    assert counted.asked()["GET"] == 2
    assert path_of(counted.stage, next_job(key), f"{workspace}/a") == folders[0]
    assert counted.asked()["GET"] == 2


def test_what_is_gone_is_told_with_its_place(store: Store, key: JobKey, workspace: str, tmp_path: Path) -> None:
    stage = Stage(store, tmp_path)
    with pytest.raises(StagingError, match=f"{CODE}/{workspace}/none/ is not there"):
        stage.folder(key, CODE, f"{workspace}/none")
    with pytest.raises(StagingError, match="no-such-container/a is not there"):
        stage.file(key, "no-such-container", "a")
    assert nothing_is_left(tmp_path)


def test_a_file_that_is_also_a_folder_is_refused(store: Store, key: JobKey, workspace: str, tmp_path: Path) -> None:
    store.blobs.put(CODE, f"{workspace}/src/a", b"file")
    store.blobs.put(CODE, f"{workspace}/src/a/b", b"in a folder")
    with pytest.raises(StagingError, match="a is both a file and a folder"):
        Stage(store, tmp_path).folder(key, CODE, f"{workspace}/src")
    assert nothing_is_left(tmp_path)


def test_two_blobs_that_would_be_one_file_are_refused(
    store: Store, key: JobKey, workspace: str, tmp_path: Path
) -> None:
    for name in ("d/a", "d//a"):
        store.blobs.put(CODE, f"{workspace}/src/{name}", b"x")
    with pytest.raises(StagingError, match="would be the same file"):
        Stage(store, tmp_path).folder(key, CODE, f"{workspace}/src")


def test_a_name_that_is_too_long_for_a_file_is_told(store: Store, key: JobKey, workspace: str, tmp_path: Path) -> None:
    store.blobs.put(CODE, f"{workspace}/src/{'x' * 300}", b"x")
    with pytest.raises(StagingError, match="too long a name"):
        Stage(store, tmp_path).folder(key, CODE, f"{workspace}/src")
    assert nothing_is_left(tmp_path)


def test_a_blob_cannot_be_staged_outside_of_its_folder(
    store: Store, key: JobKey, workspace: str, tmp_path: Path
) -> None:
    # The SDK and the service normalise "..", so the name is given with the one segment that survives: an absolute one.
    store.blobs.put(CODE, f"{workspace}/src//etc/evil", b"x")
    with pytest.raises(StagingError, match="outside its folder"):
        Stage(store, tmp_path).folder(key, CODE, f"{workspace}/src")
    assert nothing_is_left(tmp_path)


def test_what_is_staged_cannot_be_added_to_or_taken_from(
    counted: Counted, store: Store, key: JobKey, workspace: str
) -> None:
    store.blobs.put(CODE, f"{workspace}/data/deep/a", b"x")
    folder = path_of(counted.stage, key, f"{workspace}/data")
    assert [path.stat().st_mode & 0o222 for path in (folder, folder / "deep", folder / "deep" / "a")] == [0, 0, 0]


def test_blobs_that_mark_folders_are_no_files(counted: Counted, store: Store, key: JobKey, workspace: str) -> None:
    store.blobs.create(CODE, f"{workspace}/data/sub", b"", {"hdi_isfolder": "true"})
    with pytest.raises(StagingError, match="is not there"):
        counted.stage.folder(key, CODE, f"{workspace}/data")
    store.blobs.put(CODE, f"{workspace}/data/sub/a", b"x")
    assert files_in(path_of(counted.stage, key, f"{workspace}/data")) == {"sub/a": b"x"}


@pytest.mark.parametrize("spoilt", ["train.py", "sitecustomize.py"])
def test_a_snapshot_that_is_not_what_its_name_promises_is_not_run(
    store: Store, key: JobKey, workspace: str, tmp_path: Path, spoilt: str
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "train.py").write_text(f"print({workspace!r})")
    folder = read_folder(source, where="code")
    upload_folder(store, folder)
    stage = Stage(store, tmp_path / "cache")
    assert (path_of(stage, key, folder.blob) / "train.py").read_text() == f"print({workspace!r})"
    store.blobs.put(CODE, f"{folder.blob}/{spoilt}", f"evil({workspace!r})".encode())
    with pytest.raises(StagingError, match="something else than was submitted"):
        Stage(store, tmp_path / "other cache").folder(key, CODE, folder.blob)


def test_inputs_stay_until_they_are_not_used_any_more(
    settings: Settings, store: Store, key: JobKey, workspace: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store.blobs.put(CODE, f"{workspace}/one/a", bytes(50_000))
    store.blobs.put(CODE, f"{workspace}/two/a", bytes(60_000))
    store.blobs.put(CODE, f"{workspace}/three/a", bytes(70_000))
    stage = Stage(store, tmp_path, max_bytes=150_000)
    with ExitStack() as used:
        one = used.enter_context(stage.folder(key, CODE, f"{workspace}/one"))
        two = path_of(stage, key, f"{workspace}/two")
        three = path_of(stage, key, f"{workspace}/three")
        assert [path.exists() for path in (one.path, two, three)] == [True, False, True]
        assert f"cache: {CODE}/{workspace}/two/ (0.1 MiB, last used" in caplog.text
    assert path_of(stage, key, f"{workspace}/two") == two
    # Used last when the use ended.
    assert [path.exists() for path in (one.path, three)] == [True, False]
