import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dropsweep.client.code import read_folder, upload_folder
from dropsweep.errors import StagingError
from dropsweep.names import CODE, JobKey
from dropsweep.settings import Settings
from dropsweep.storage import Store, Tally
from dropsweep_trainer.staging import Stage


def test_a_folder_is_downloaded_once_for_many_slots(
    settings: Settings, store: Store, key: JobKey, workspace: str, tmp_path: Path
) -> None:
    for number in range(5):
        store.blobs.put(CODE, f"{workspace}/src/deep/{number}.txt", str(number).encode())
    tally = Tally()
    stage = Stage(Store.connect(settings.storage, tally), tmp_path)
    barrier = threading.Barrier(6)

    def ask(_: int) -> Path:
        barrier.wait()
        return stage.folder(key, CODE, f"{workspace}/src")

    with ThreadPoolExecutor(6) as pool:
        [folder] = set(pool.map(ask, range(6)))
    assert sorted(path.read_text() for path in (folder / "deep").iterdir()) == ["0", "1", "2", "3", "4"]
    assert tally.by_kind() == {"GET list": 1, "GET": 5}
    assert not os.access(folder / "deep" / "0.txt", os.W_OK) or os.geteuid() == 0
    assert (folder / "deep" / "0.txt").stat().st_mode & 0o222 == 0


def test_a_neighbour_with_a_longer_name_is_not_taken_along(
    store: Store, key: JobKey, workspace: str, tmp_path: Path
) -> None:
    store.blobs.put(CODE, f"{workspace}/src/a", b"mine")
    store.blobs.put(CODE, f"{workspace}/src-other/b", b"theirs")
    folder = Stage(store, tmp_path).folder(key, CODE, f"{workspace}/src")
    assert [path.name for path in folder.iterdir()] == ["a"]


def test_a_file_keeps_its_name(store: Store, key: JobKey, workspace: str, tmp_path: Path) -> None:
    store.blobs.put(CODE, f"{workspace}/data set.csv", b"1,2")
    store.blobs.put(CODE, f"{workspace}/data set.csv.bak", b"old")
    file = Stage(store, tmp_path).file(key, CODE, f"{workspace}/data set.csv")
    assert (file.name, file.read_bytes()) == ("data set.csv", b"1,2")
    assert [path.name for path in file.parent.iterdir()] == ["data set.csv"]


def test_two_workers_with_one_cache_folder_share_what_is_in_it(
    store: Store, key: JobKey, workspace: str, tmp_path: Path
) -> None:
    store.blobs.put(CODE, f"{workspace}/src/a", b"mine")
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: Stage(store, tmp_path).folder(key, CODE, f"{workspace}/src"), range(4)))
    assert len(folders) == 1
    assert [path.name for path in tmp_path.iterdir()] == [folders.pop().name]


def test_a_change_is_seen_by_the_next_job_and_not_by_this_one(
    store: Store, key: JobKey, workspace: str, tmp_path: Path
) -> None:
    store.blobs.put(CODE, f"{workspace}/src/a", b"old")
    stage = Stage(store, tmp_path)
    first = stage.folder(key, CODE, f"{workspace}/src")
    store.blobs.put(CODE, f"{workspace}/src/a", b"new")
    assert stage.folder(key, CODE, f"{workspace}/src") == first
    later = stage.folder(JobKey(key.workspace, key.experiment, "next"), CODE, f"{workspace}/src")
    assert (later / "a").read_bytes() == b"new"
    assert (first / "a").read_bytes() == b"old"


def test_what_is_gone_is_told_with_its_place(store: Store, key: JobKey, workspace: str, tmp_path: Path) -> None:
    stage = Stage(store, tmp_path)
    with pytest.raises(StagingError, match=f"{CODE}/{workspace}/none/ is not there"):
        stage.folder(key, CODE, f"{workspace}/none")
    with pytest.raises(StagingError, match="no-such-container/a is not there"):
        stage.file(key, "no-such-container", "a")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_also_a_folder_is_refused(store: Store, key: JobKey, workspace: str, tmp_path: Path) -> None:
    store.blobs.put(CODE, f"{workspace}/src/a", b"file")
    store.blobs.put(CODE, f"{workspace}/src/a/b", b"in a folder")
    with pytest.raises(StagingError, match="both a file and a folder"):
        Stage(store, tmp_path).folder(key, CODE, f"{workspace}/src")
    assert list(tmp_path.iterdir()) == []


def test_a_blob_cannot_be_staged_outside_of_its_folder(
    store: Store, key: JobKey, workspace: str, tmp_path: Path
) -> None:
    # The SDK and the service normalise "..", so the name is given with the one segment that survives: an absolute one.
    store.blobs.put(CODE, f"{workspace}/src//etc/evil", b"x")
    with pytest.raises(StagingError, match="outside its folder"):
        Stage(store, tmp_path).folder(key, CODE, f"{workspace}/src")
    assert list(tmp_path.iterdir()) == []


def test_what_is_staged_cannot_be_added_to_or_taken_from(
    store: Store, key: JobKey, workspace: str, tmp_path: Path
) -> None:
    store.blobs.put(CODE, f"{workspace}/data/deep/a", b"x")
    folder = Stage(store, tmp_path).folder(key, CODE, f"{workspace}/data")
    assert [path.stat().st_mode & 0o222 for path in (folder, folder / "deep", folder / "deep" / "a")] == [0, 0, 0]


def test_blobs_that_mark_folders_are_no_files(store: Store, key: JobKey, workspace: str, tmp_path: Path) -> None:
    store.blobs.create(CODE, f"{workspace}/data/sub", b"", {"hdi_isfolder": "true"})
    with pytest.raises(StagingError, match="is not there"):
        Stage(store, tmp_path).folder(key, CODE, f"{workspace}/data")
    store.blobs.put(CODE, f"{workspace}/data/sub/a", b"x")
    folder = Stage(store, tmp_path).folder(key, CODE, f"{workspace}/data")
    assert (folder / "sub" / "a").read_bytes() == b"x"


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
    assert (stage.folder(key, CODE, folder.blob) / "train.py").read_text() == f"print({workspace!r})"
    store.blobs.put(CODE, f"{folder.blob}/{spoilt}", f"evil({workspace!r})".encode())
    with pytest.raises(StagingError, match="something else than was submitted"):
        Stage(store, tmp_path / "other cache").folder(key, CODE, folder.blob)
