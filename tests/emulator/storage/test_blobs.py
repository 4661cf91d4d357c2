import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from azure.core.rest import HttpRequest

from dropsweep.errors import NotFoundError, StorageDenied, StorageUnavailable
from dropsweep.names import RUNS
from dropsweep.settings import Settings, StorageSettings, emulator_connection_string
from dropsweep.storage import Store, Tally
from tests.emulator.faults import LoseAnswer


@pytest.fixture
def path(workspace: str) -> str:
    return f"{workspace}/record.json"


def test_a_record_is_created_once(store: Store, path: str) -> None:
    first = store.blobs.create(RUNS, path, b"one", {"state": "queued"})
    assert first is not None
    assert store.blobs.create(RUNS, path, b"two") is None
    blob = store.blobs.read(RUNS, path)
    assert blob is not None
    assert (blob.body, blob.metadata["state"], blob.etag) == (b"one", "queued", first.etag)


def test_a_change_needs_the_version_it_was_made_from(store: Store, path: str) -> None:
    first = store.blobs.create(RUNS, path, b"one")
    assert first is not None
    second = store.blobs.replace(RUNS, path, b"two", first.etag)
    assert second is not None
    assert store.blobs.replace(RUNS, path, b"three", first.etag) is None
    assert store.blobs.touch(RUNS, path, first.etag, {}) is None
    touched = store.blobs.touch(RUNS, path, second.etag, {"state": "running"})
    assert touched is not None
    assert store.blobs.replace(RUNS, path, b"three", second.etag) is None
    blob = store.blobs.read(RUNS, path)
    assert blob is not None
    assert (blob.body, blob.metadata["state"]) == (b"two", "running")


def test_a_change_of_what_was_deleted_is_a_lost_race(store: Store, path: str) -> None:
    first = store.blobs.create(RUNS, path, b"one")
    assert first is not None
    store.blobs.delete(RUNS, path)
    store.blobs.delete(RUNS, path)
    assert store.blobs.replace(RUNS, path, b"two", first.etag) is None
    assert store.blobs.read(RUNS, path) is None
    assert store.blobs.head(RUNS, path) is None


def test_one_of_many_writers_of_the_same_version_wins(store: Store, path: str) -> None:
    first = store.blobs.create(RUNS, path, b"")
    assert first is not None
    barrier = threading.Barrier(12)

    def write(number: int) -> bool:
        barrier.wait()
        return store.blobs.replace(RUNS, path, str(number).encode(), first.etag) is not None

    with ThreadPoolExecutor(12) as pool:
        won = list(pool.map(write, range(12)))
    blob = store.blobs.read(RUNS, path)
    assert blob is not None
    assert [number for number, has_won in enumerate(won) if has_won] == [int(blob.body)]


@pytest.mark.parametrize("write", ["create", "replace", "touch"])
def test_a_write_whose_answer_was_lost_is_known_as_one_s_own(
    settings: Settings, store: Store, path: str, write: str
) -> None:
    def is_the_write(request: HttpRequest) -> bool:
        return request.method == "PUT"

    fault = LoseAnswer(is_the_write)
    faulty = Store.connect(settings.storage, fault)
    if write == "create":
        written = faulty.blobs.create(RUNS, path, b"new")
    else:
        first = store.blobs.create(RUNS, path, b"old")
        assert first is not None
        if write == "replace":
            written = faulty.blobs.replace(RUNS, path, b"new", first.etag)
        else:
            written = faulty.blobs.touch(RUNS, path, first.etag, {"state": "running"})
    assert fault.num_lost == 1
    blob = store.blobs.read(RUNS, path)
    assert blob is not None
    assert written is not None
    assert written.etag == blob.etag


def test_appends_go_on_where_the_log_ends(store: Store, path: str) -> None:
    assert store.blobs.append(RUNS, path, b"one\n", 0)
    assert store.blobs.append(RUNS, path, b"two\n", 4)
    assert store.blobs.read_range(RUNS, path, 0) == b"one\ntwo\n"
    assert store.blobs.read_range(RUNS, path, 4, 3) == b"two"
    assert store.blobs.read_range(RUNS, path, 8) == b""
    assert store.blobs.read_range(RUNS, path + "x", 0) is None


def test_an_append_whose_answer_was_lost_is_there_once(settings: Settings, store: Store, path: str) -> None:
    fault = LoseAnswer(lambda request: "appendblock" in request.url)
    faulty = Store.connect(settings.storage, fault)
    assert faulty.blobs.append(RUNS, path, b"one\n", 0)
    assert fault.num_lost == 1
    assert faulty.blobs.append(RUNS, path, b"two\n", 4)
    assert store.blobs.read_range(RUNS, path, 0) == b"one\ntwo\n"


def test_an_append_to_somebody_else_s_log_is_refused(store: Store, path: str) -> None:
    assert store.blobs.append(RUNS, path, b"mine", 0)
    assert not store.blobs.append(RUNS, path, b"theirs", 2)
    assert store.blobs.read_range(RUNS, path, 0) == b"mine"


def test_files_survive_the_way_there_and_back(store: Store, path: str, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(range(256)) * 80_000)
    store.blobs.upload(RUNS, path, source)
    assert store.blobs.download(RUNS, path, target)
    assert target.read_bytes() == source.read_bytes()
    assert not store.blobs.download(RUNS, path + "x", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_list_is_in_order_and_has_metadata_when_asked(store: Store, workspace: str) -> None:
    for name in ("b", "a", "c/d"):
        store.blobs.create(RUNS, f"{workspace}/{name}", b"", {"state": name[0]})
    found = list(store.blobs.list(RUNS, f"{workspace}/", metadata=True))
    assert [(blob.name.removeprefix(f"{workspace}/"), blob.metadata["state"]) for blob in found] == [
        ("a", "a"),
        ("b", "b"),
        ("c/d", "c"),
    ]
    assert list(store.blobs.folders(RUNS, f"{workspace}/")) == [f"{workspace}/c/"]


def test_the_age_of_a_blob_is_by_the_service_s_clock_alone(store: Store, path: str) -> None:
    store.blobs.create(RUNS, path, b"")
    head = store.blobs.head(RUNS, path)
    assert head is not None
    assert 0 <= head.age_s <= 2


def test_a_missing_container_is_an_error_and_not_a_missing_blob(store: Store) -> None:
    with pytest.raises(NotFoundError, match="no-such-container"):
        store.blobs.read("no-such-container", "a")
    with pytest.raises(NotFoundError, match="no-such-container"):
        list(store.blobs.list("no-such-container", "a"))


def test_a_wrong_key_is_told_as_such(connection_string: str) -> None:
    key = "A" * 86 + "=="
    parts = [
        part if not part.startswith("AccountKey") else f"AccountKey={key}" for part in connection_string.split(";")
    ]
    denied = Store.connect(StorageSettings(";".join(parts)), patience_s=0)
    with pytest.raises(StorageDenied, match="Storage Blob Data Contributor"):
        denied.blobs.read(RUNS, "a")


def test_a_service_that_is_not_there_is_told_as_such() -> None:
    absent = Store.connect(StorageSettings(emulator_connection_string(9, 9)), patience_s=0)
    with pytest.raises(StorageUnavailable, match="up"):
        absent.blobs.read(RUNS, "a")
    with pytest.raises(StorageUnavailable, match="up"):
        absent.queues.count("advance")


def test_the_tally_counts_what_goes_over_the_wire(settings: Settings, path: str) -> None:
    tally = Tally()
    store = Store.connect(settings.storage, tally)
    store.blobs.create(RUNS, path, b"one")
    store.blobs.read(RUNS, path)
    list(store.blobs.list(RUNS, path))
    store.queues.receive("advance", visibility_s=1)
    assert tally.by_kind() == {"PUT": 1, "GET": 1, "GET list": 1, "GET receive": 1}
    assert tally.total == 4
