"""The real function app on the local host: what nobody can act on ends on record, and its queue forgets it."""

import base64
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from azure.functions.queue import QueueMessage
from azure.storage.queue import (
    AccountSasPermissions,
    QueueServiceClient,
    ResourceTypes,
    generate_account_sas,
)

from dropsweep.client import Client
from dropsweep.client.lookup import keys
from dropsweep.errors import StorageUnavailable
from dropsweep.messages import AdvanceMessage
from dropsweep.names import ADVANCE_QUEUE, DROP_POISON_QUEUE, JOBS, RUNS, Drop, JobKey, poison_queue
from dropsweep.records.buried import BuriedMessage
from dropsweep.settings import AZURITE_KEY, Settings, StorageSettings, emulator_connection_string
from dropsweep.spec import name_of
from dropsweep.steps.pick_up import key_of
from dropsweep.storage import Store
from functions import advance, deployment
from functions.advance import MAX_DEQUEUE_COUNT
from local.azurite import Azurite
from local.host.config import QueueLimits, read_config
from local.host.functions import Function
from local.host.queue import QueueListener
from local.paths import ROOT
from tests.emulator.proxy import Proxy

from .conftest import HostProcess, wait_until

JOB_FILE = b'{"type": "command", "command": "true", "name": "hello"}'
GONE = JobKey("w", "e", "gone-0123456789")


class App:
    """The function app of this repository in a host of its own, on an account that nobody else uses."""

    def __init__(self, folder: Path, connection_string: str) -> None:
        self.client = Client.from_connection_string(connection_string)
        self.queues = QueueServiceClient.from_connection_string(connection_string)
        self.log = folder / "host.log"
        self._settings = {
            **os.environ,
            "DROPSWEEP_STORAGE": connection_string,
            "AzureWebJobsStorage": connection_string,
            "AzureFunctionsJobHost__extensions__queues__visibilityTimeout": "00:00:01",
            "DROPSWEEP_REPAIR_SCHEDULE": "0 0 0 1 1 *",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = process = subprocess.Popen(
                [sys.executable, "-m", "local.host", "--app", str(ROOT), "--port", "0"],
                cwd=ROOT,
                env=self._settings,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(lambda: process.poll() is not None or "Host started" in self.log.read_text()[before:], "the start")
        assert process.poll() is None, self.log.read_text()[before:]

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            assert self._process.wait(60) == 0
            self._process = None

    def send(self, queue: str, text: str) -> str:
        return str(self.queues.get_queue_client(queue).send_message(text).id)

    def put(self, queue: str, body: bytes) -> str:
        """Sends raw bytes past the SDK, and returns the message's id."""
        permission = AccountSasPermissions(add=True)
        end = datetime.now(UTC) + timedelta(hours=1)
        sas = generate_account_sas("devstoreaccount1", AZURITE_KEY, ResourceTypes(object=True), permission, end)
        url = f"{self.queues.get_queue_client(queue).url}/messages?{sas}"
        document = b"<QueueMessage><MessageText>" + body + b"</MessageText></QueueMessage>"
        answer = requests.post(url, data=document, headers={"Content-Type": "application/xml"}, timeout=60)
        assert answer.status_code == 201, answer.text
        return answer.text.partition("<MessageId>")[2].partition("<")[0]

    def buried(self, queue: str = ADVANCE_QUEUE) -> dict[str, BuriedMessage]:
        return {message.id: message for message in self.client.buried() if message.queue == queue}

    def waits(self, message_id: str, queue: str = ADVANCE_QUEUE) -> BuriedMessage:
        """Returns the record of a message once it is buried and its queue has forgotten it."""
        found: BuriedMessage = wait_until(lambda: self.buried(queue).get(message_id), "the record")
        wait_until(lambda: self.count(queue) == 0, "the deletion")
        return found

    def count(self, queue: str) -> int:
        return self.client.store.queues.count(queue)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("app")
    with Azurite(folder / "data", log=folder / "azurite.log") as azurite:
        made = App(folder, azurite.connection_string)
        made.client.store.prepare(("local",))
        made.client.store.queues.create_queue(DROP_POISON_QUEUE)
        made.start()
        try:
            yield made
        finally:
            made.stop()
            made.queues.close()


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def test_the_last_delivery_is_the_one_that_the_host_counts_as_last() -> None:
    config = read_config(ROOT, {})
    assert config.queues.max_dequeue_count == MAX_DEQUEUE_COUNT
    assert config.poison_blob_threshold == MAX_DEQUEUE_COUNT


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("hello <b>&amp;]]> \x7f", "it must be a JSON object"),
        ("", "it must be a JSON object"),
        ("[1, 2]", "it must be a JSON object, with braces"),
        ("x" * 65_536, "it must be a JSON object"),
        ("[" * 30_000, "nested too deeply"),
        (encoded(b"\xff\xfe\x00"), "it must be a JSON object, plain or in base64"),
        (encoded('{"version": 1}')[:-3], "it must be a JSON object, plain or in base64"),
        (encoded('{"version": 9}'), "version is 9: this program reads version 1"),
        ('{"version": 1, "job": "w/../j"}', "names no job"),
        (AdvanceMessage(GONE).to_text(), "there is no such job"),
        (encoded(AdvanceMessage(GONE).to_text()), "there is no such job"),
    ],
    ids=range(11),
)
def test_what_cannot_be_acted_on_is_buried_at_its_first_delivery(app: App, text: str, reason: str) -> None:
    found = app.waits(app.send(ADVANCE_QUEUE, text))
    assert (found.text, found.num_attempts, found.num_requeues) == (text, 1, 0)
    assert reason in found.reason
    assert app.count(poison_queue(ADVANCE_QUEUE)) == 0


@pytest.mark.parametrize("body", [b"x\xff\xfe", "Grüße".encode("latin1"), b"\xed\xa0\x80", b"a\x7f&lt;"])
def test_raw_bytes_that_are_not_utf_8_are_buried_too(app: App, body: bytes) -> None:
    found = app.waits(app.put(ADVANCE_QUEUE, body))
    assert "it must be" in found.reason


def test_a_hint_in_base64_is_acted_on(app: App) -> None:
    written = app.client.store.blobs.put(JOBS, "w/encoded/job.json", JOB_FILE)
    key = key_of(Drop.parse("w/encoded/job.json"), "hello", written.etag)
    wait_until(lambda: app.client.store.blobs.head(RUNS, key.record), "the job")
    before = app.log.read_text().count(f"advance: {key.path} is")
    app.send(ADVANCE_QUEUE, encoded(AdvanceMessage(key).to_text()))
    wait_until(lambda: app.log.read_text().count(f"advance: {key.path} is") > before, "the pass")
    assert key.path not in str(app.buried())


def test_a_hint_that_fails_at_each_delivery_is_buried_with_what_the_last_one_raised(app: App) -> None:
    key = JobKey("w", "corrupt", "job-0123456789")
    app.client.store.blobs.put(RUNS, key.record, b"not JSON")
    found = app.waits(app.send(ADVANCE_QUEUE, AdvanceMessage(key).to_text()))
    assert found.num_attempts == MAX_DEQUEUE_COUNT
    assert "deliveries failed: StorageCorrupt: a record is not JSON" in found.reason
    assert app.count(poison_queue(ADVANCE_QUEUE)) == 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("hello", "it must be a JSON object"),
        (AdvanceMessage(GONE).to_text(), "there is no such job"),
        (AdvanceMessage(JobKey("w", "there", "job-0123456789")).to_text(), "the function advance failed 5 times"),
    ],
)
def test_what_the_host_moved_away_is_buried_under_the_queue_it_came_from(app: App, text: str, reason: str) -> None:
    app.client.store.blobs.put(RUNS, "w/there/job-0123456789/job.json", b"{}")
    message_id = app.send(poison_queue(ADVANCE_QUEUE), text)
    found: BuriedMessage = wait_until(lambda: app.buried().get(message_id), "the record")
    wait_until(lambda: app.count(poison_queue(ADVANCE_QUEUE)) == 0, "the deletion")
    assert (found.queue, found.num_attempts, found.text) == (ADVANCE_QUEUE, MAX_DEQUEUE_COUNT, text)
    assert reason in found.reason


def test_a_dropped_file_that_fails_each_time_is_buried_and_is_a_new_event_when_requeued(app: App) -> None:
    app.stop()
    drop = Drop.parse("w/e/failing.json")
    written = app.client.store.blobs.put(JOBS, drop.path, JOB_FILE)
    key = key_of(drop, name_of(JOB_FILE, drop.path), written.etag)
    app.client.store.blobs.put(RUNS, key.record, b"not JSON")
    app.start()
    found = wait_until(lambda: app.buried(DROP_POISON_QUEUE), "the record")
    (message,) = found.values()
    assert f"{JOBS}/{drop.path}: the function drop failed 5 times" in message.reason
    assert app.client.requeue(message.id[:8]) == message
    (anew,) = wait_until(lambda: [job for job in keys(app.client.store, "w", "e") if job != key], "the job")
    assert anew.job.startswith("hello-")
    assert app.buried(DROP_POISON_QUEUE) == {}


def test_a_message_in_a_poison_queue_stays_there_until_it_is_settled(
    stopped_host: HostProcess, connection_string: str
) -> None:
    counts: list[int] = []

    def fail(message: QueueMessage) -> None:
        counts.append(message.dequeue_count)
        if len(counts) == 4:
            stopping.set()
        raise RuntimeError("the storage is away")

    stopping = threading.Event()
    name = poison_queue(stopped_host.queue.queue_name)
    with (
        QueueServiceClient.from_connection_string(connection_string) as service,
        ThreadPoolExecutor() as executor,
    ):
        service.create_queue(name)
        service.get_queue_client(name).send_message("once")
        limits = QueueLimits(is_base64=False, max_polling_interval_s=0.1, max_dequeue_count=2)
        function = Function("fail", "message", {"type": "queueTrigger"}, fail)
        end = threading.Timer(15, stopping.set)
        end.start()
        QueueListener(function, name, service, limits, executor, stopping).listen()
        end.cancel()
        queues = [queue.name for queue in service.list_queues(name_starts_with=stopped_host.queue.queue_name)]
        assert counts == [1, 2, 3, 4]
        assert [message.content for message in service.get_queue_client(name).peek_messages()] == ["once"]
    assert poison_queue(name) not in queues


def test_a_hint_that_the_storage_did_not_answer_is_left_to_the_timer(
    blob_line: Proxy, queue_line: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob_line.cut()
    queue_line.cut()
    account = StorageSettings(emulator_connection_string(blob_line.port, queue_line.port))
    monkeypatch.setattr(deployment, "store", lambda: Store.connect(account, patience_s=0))
    monkeypatch.setattr(deployment, "settings", lambda: Settings(account))
    body = AdvanceMessage(GONE).to_text().encode()
    function = advance.advance._function.get_user_function()
    with pytest.raises(StorageUnavailable):
        function(QueueMessage(id="1", body=body, dequeue_count=MAX_DEQUEUE_COUNT - 1))
    function(QueueMessage(id="1", body=body, dequeue_count=MAX_DEQUEUE_COUNT))
