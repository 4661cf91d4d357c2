"""Trouble on real sockets: lines that are reset, stall, or break off in the middle of an answer."""

import threading
from pathlib import Path

import pytest

from dropsweep.errors import StorageUnavailable
from dropsweep.names import RUNS
from dropsweep.settings import StorageSettings, emulator_connection_string
from dropsweep.storage import Store
from tests.emulator.faults import FastClock
from tests.emulator.proxy import Proxy

BODY = bytes(range(256)) * 8192


@pytest.fixture
def account(blob_line: Proxy, queue_line: Proxy) -> StorageSettings:
    return StorageSettings(emulator_connection_string(blob_line.port, queue_line.port))


@pytest.mark.parametrize("is_reset", [True, False], ids=["reset", "end"])
@pytest.mark.parametrize("num_times", [1, 8])
def test_a_body_that_breaks_off_is_asked_for_again(
    store: Store,
    account: StorageSettings,
    blob_line: Proxy,
    workspace: str,
    tmp_path: Path,
    num_times: int,
    is_reset: bool,
) -> None:
    store.blobs.put(RUNS, f"{workspace}/a", BODY)
    troubled = Store.connect(account, clock=FastClock())
    blob_line.break_answers(num_times, after_bytes=len(BODY) // 2, is_reset=is_reset)
    blob = troubled.blobs.read(RUNS, f"{workspace}/a")
    assert blob is not None
    assert blob.body == BODY
    assert blob_line.num_breaks_left == 0
    blob_line.break_answers(num_times, after_bytes=len(BODY) // 2, is_reset=is_reset)
    assert troubled.blobs.download(RUNS, f"{workspace}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == BODY
    assert blob_line.num_breaks_left == 0


def test_a_body_that_always_breaks_off_is_told_as_an_outage(
    store: Store, account: StorageSettings, blob_line: Proxy, workspace: str
) -> None:
    store.blobs.put(RUNS, f"{workspace}/a", BODY)
    blob_line.break_answers(99, after_bytes=len(BODY) // 2)
    with pytest.raises(StorageUnavailable, match="broke off"):
        Store.connect(account, patience_s=0).blobs.read(RUNS, f"{workspace}/a")


def test_an_answer_that_breaks_off_is_told_as_an_outage_whatever_it_was(
    store: Store, account: StorageSettings, blob_line: Proxy, queue_line: Proxy, workspace: str
) -> None:
    hasty = Store.connect(account, patience_s=0)
    store.blobs.put(RUNS, f"{workspace}/a", b"")
    store.queues.create_queue(workspace)
    for after_bytes in (0, 20, 400):
        blob_line.break_answers(1, after_bytes=after_bytes)
        with pytest.raises(StorageUnavailable):
            list(hasty.blobs.list(RUNS, f"{workspace}/", metadata=True))
        queue_line.break_answers(1, after_bytes=after_bytes // 2)
        with pytest.raises(StorageUnavailable):
            hasty.queues.send(workspace, "a")


def test_an_answer_that_is_reset_after_the_write_is_known_as_one_s_own(
    store: Store, account: StorageSettings, blob_line: Proxy, workspace: str
) -> None:
    troubled = Store.connect(account, clock=FastClock())
    blob_line.break_answers(2, after_bytes=0)
    created = troubled.blobs.create(RUNS, f"{workspace}/a", b"one")
    assert created is not None
    blob_line.break_answers(2, after_bytes=10)
    replaced = troubled.blobs.replace(RUNS, f"{workspace}/a", b"two", created.etag)
    assert replaced is not None
    assert blob_line.num_breaks_left == 0
    blob = store.blobs.read(RUNS, f"{workspace}/a")
    assert blob is not None
    assert (blob.body, blob.etag) == (b"two", replaced.etag)


@pytest.mark.parametrize("is_reset", [True, False], ids=["reset", "end"])
def test_it_does_not_matter_where_an_answer_breaks_off(
    store: Store, account: StorageSettings, blob_line: Proxy, queue_line: Proxy, workspace: str, is_reset: bool
) -> None:
    troubled = Store.connect(account, clock=FastClock())
    store.queues.create_queue(workspace)
    for after_bytes in range(0, 600, 23):
        name = f"{workspace}/{after_bytes:03}"
        blob_line.break_answers(1, after_bytes=after_bytes, is_reset=is_reset)
        created = troubled.blobs.create(RUNS, name, b"one")
        blob_line.break_answers(1, after_bytes=after_bytes, is_reset=is_reset)
        blob = troubled.blobs.read(RUNS, name)
        assert created is not None
        assert blob is not None
        assert (blob.body, blob.etag, 0 <= blob.age_s < 60) == (b"one", created.etag, True)
        blob_line.break_answers(1, after_bytes=after_bytes, is_reset=is_reset)
        assert [found.size_bytes for found in troubled.blobs.list(RUNS, name)] == [3]
        queue_line.break_answers(1, after_bytes=after_bytes, is_reset=is_reset)
        assert troubled.queues.count(workspace) == 0


def test_a_line_that_stalls_is_given_up_and_the_request_sent_again(
    store: Store, account: StorageSettings, blob_line: Proxy, workspace: str
) -> None:
    clock = FastClock()
    troubled = Store.connect(account, read_timeout_s=0.3, clock=clock)
    assert troubled.blobs.create(RUNS, f"{workspace}/a", b"one") is not None
    blob_line.stall()
    mended = threading.Timer(1.0, blob_line.mend)
    mended.start()
    assert troubled.blobs.create(RUNS, f"{workspace}/b", b"two") is not None
    mended.join()
    assert clock.waits
    assert [found.name for found in store.blobs.list(RUNS, f"{workspace}/")] == [f"{workspace}/a", f"{workspace}/b"]


def test_one_service_may_be_cut_off_and_the_other_not(
    store: Store, account: StorageSettings, blob_line: Proxy, queue_line: Proxy, workspace: str
) -> None:
    troubled = Store.connect(account, patience_s=0)
    store.queues.create_queue(workspace)
    queue_line.cut()
    with pytest.raises(StorageUnavailable):
        troubled.queues.send(workspace, "a")
    assert troubled.blobs.create(RUNS, f"{workspace}/a", b"") is not None
    queue_line.mend()
    blob_line.cut()
    troubled.queues.send(workspace, "a")
    with pytest.raises(StorageUnavailable):
        troubled.blobs.read(RUNS, f"{workspace}/a")
