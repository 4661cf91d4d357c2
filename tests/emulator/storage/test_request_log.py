"""What a process writes down of its requests."""

import socket
from pathlib import Path

import pytest

from bench.requests import parse
from dropsweep.errors import ConfigError, StorageUnavailable
from dropsweep.names import RUNS
from dropsweep.settings import REQUEST_LOG, Settings, StorageSettings, emulator_connection_string
from dropsweep.storage import Store

pytestmark = pytest.mark.usefixtures("store")  # the account has its containers


def logging_to(file: Path, settings: Settings) -> Store:
    return Store.connect(StorageSettings(settings.storage.connection_string, request_log=str(file)))


def test_each_request_is_a_line_that_says_what_it_did(settings: Settings, workspace: str, tmp_path: Path) -> None:
    file = tmp_path / "requests.log"
    store = logging_to(file, settings)
    record = f"{workspace}/e/j/records/0000/0000007.json"
    written = store.blobs.create(RUNS, record, b"{}", {"state": "queued"})
    assert written is not None
    store.blobs.touch(RUNS, record, written.etag, {})
    assert store.blobs.create(RUNS, record, b"{}") is None
    assert len(list(store.blobs.list(RUNS, f"{workspace}/e/j/records/", metadata=True))) == 1
    assert store.blobs.read(RUNS, f"{workspace}/e/j/job.json") is None
    found = [parse(line) for line in file.read_text().splitlines()]
    assert [(request.kind, request.status) for request in found if request] == [
        ("write trial record", 201),
        ("touch trial record", 200),
        ("write trial record", 409),
        ("look at trial record", 200),
        ("list trial record", 200),
        ("read job record", 404),
    ]


def test_no_secret_is_written_down(settings: Settings, workspace: str, tmp_path: Path) -> None:
    file = tmp_path / "requests.log"
    store = logging_to(file, settings)
    store.queues.create_queue(workspace)
    store.queues.send(workspace, "text")
    (message,) = store.queues.receive(workspace, visibility_s=60)
    store.queues.delete(message)
    assert [kind_of(line) for line in file.read_text().splitlines()][1:] == [
        f"send to {workspace}",
        f"receive from {workspace}",
        f"delete from {workspace}",
    ]
    assert "popreceipt" not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0


def kind_of(line: str) -> str:
    request = parse(line)
    return request.kind if request else ""


def test_a_request_without_an_answer_has_the_status_0(tmp_path: Path) -> None:
    file = tmp_path / "requests.log"
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        address = emulator_connection_string(taken.getsockname()[1], taken.getsockname()[1])
        store = Store.connect(StorageSettings(address, request_log=str(file)), patience_s=0)
        with pytest.raises(StorageUnavailable):
            store.blobs.read(RUNS, "w/e/j/job.json")
    (request,) = [parse(line) for line in file.read_text().splitlines()]
    assert request is not None
    assert (request.kind, request.status) == ("read job record", 0)


def test_two_stores_write_into_one_file(settings: Settings, workspace: str, tmp_path: Path) -> None:
    file = tmp_path / "requests.log"
    for store in (logging_to(file, settings), logging_to(file, settings)):
        store.blobs.read(RUNS, f"{workspace}/e/j/job.json")
    assert len(file.read_text().splitlines()) == 2


def test_a_file_that_cannot_be_written_to_is_told_of_at_once(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be a file in a folder that is there"):
        logging_to(tmp_path / "absent" / "requests.log", settings)


def test_the_setting_is_read_with_the_connection(settings: Settings) -> None:
    env = {"DROPSWEEP_STORAGE": settings.storage.connection_string, REQUEST_LOG: " /tmp/requests.log "}
    assert StorageSettings.from_env(env).request_log == "/tmp/requests.log"
