"""Burying: one record a message, whatever it says, and the reason that nobody else tells."""

import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import HTTPPolicy
from azure.core.rest import HttpRequest, HttpResponse
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from dropsweep.errors import StorageCorrupt
from dropsweep.messages import AdvanceMessage, requeued
from dropsweep.names import ADVANCE_QUEUE, DROP_POISON_QUEUE, JOBS, RUNS, JobKey
from dropsweep.records.buried import BuriedMessage
from dropsweep.settings import Settings
from dropsweep.steps.bury import bury, reason_of
from dropsweep.storage import Store
from tests.emulator.deployment import Deployment, command

QUEUES = (ADVANCE_QUEUE, DROP_POISON_QUEUE)


def read(store: Store, queue: str, message_id: str) -> BuriedMessage:
    blob = store.blobs.read(RUNS, f".buried/{queue}/{message_id}.json")
    assert blob is not None
    return BuriedMessage.from_json(blob.body, blob.modified)


def dropped(path: str, container: str = JOBS) -> bytes:
    return json.dumps({"ContainerName": container, "BlobName": path, "ETag": '"0x1"'}).encode()


def test_a_message_is_buried_once_with_what_was_said_last(store: Store) -> None:
    name = str(uuid.uuid4())
    assert bury(store, "advance", name, b"hello", "another reason", 3)
    assert not bury(store, "advance", name, b"hello", "it is not JSON", 4)
    found = read(store, "advance", name)
    assert found.when is not None
    assert found == BuriedMessage("advance", name, b"hello", "it is not JSON", 4, 0, found.when)
    head = store.blobs.head(RUNS, found.path)
    assert head is not None
    assert head.served - found.when < timedelta(minutes=1)


@pytest.mark.parametrize("is_deleted", [True, False], ids=["deleted", "buried"])
def test_a_message_is_on_record_after_it_was_buried_whatever_others_did_to_the_record_meanwhile(
    store: Store, settings: Settings, is_deleted: bool
) -> None:
    path = f".buried/advance/{(name := str(uuid.uuid4()))}.json"

    class Meddler(HTTPPolicy[HttpRequest, HttpResponse]):
        """Deletes the record before it is looked at, or buries the message between that and its being written."""

        num_times = 0

        def send(self, request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, HttpResponse]:
            sent = request.http_request
            if self.num_times < 3 and (sent.method == "HEAD" if is_deleted else "If-Match" in sent.headers):
                self.num_times += 1
                if is_deleted:
                    store.blobs.delete(RUNS, path)
                else:
                    bury(store, "advance", name, b"hello", "theirs", 1)
            return self.next.send(request)

    bury(store, "advance", name, b"hello", "first", 1)
    meddler = Meddler()
    bury(Store.connect(settings.storage, meddler), "advance", name, b"hello", "ours", 2)
    assert meddler.num_times == (2 if is_deleted else 3)
    assert read(store, "advance", name).reason == "ours"


@pytest.mark.parametrize(
    ("body", "encoding", "shown"),
    [
        (b"", "utf-8", ""),
        ("Grüße \x00\x1b[2J\r\n\ufeff".encode(), "utf-8", "Grüße \x00\x1b[2J\r\n\ufeff"),
        (b"\xff\x00\xfe", "base64", "/wD+"),
        (b"x" * 65_536, "utf-8", "x" * 65_536),
        (b"\xff" * 65_536, "base64", None),
    ],
)
def test_every_body_is_kept_byte_for_byte(store: Store, body: bytes, encoding: str, shown: str | None) -> None:
    name = str(uuid.uuid4())
    assert bury(store, "advance", name, body, "why", 1)
    found = read(store, "advance", name)
    assert found.body == body
    document = json.loads(found.to_json())
    assert document["encoding"] == encoding
    assert shown is None or document["body"] == shown


def test_a_reason_of_any_length_and_any_characters_is_written(store: Store) -> None:
    name = str(uuid.uuid4())
    assert bury(store, "advance", name, b"x", "\ud800" + "é" * 100_000, 1)
    reason = read(store, "advance", name).reason
    assert reason.startswith("\\ud800é")
    assert len(reason) < 2100


def test_the_record_tells_how_often_its_message_was_sent_again(store: Store, key: JobKey) -> None:
    body = requeued(requeued(AdvanceMessage(key).to_text().encode()).encode()).encode()
    name = str(uuid.uuid4())
    assert bury(store, "advance", name, body, "why", 5)
    assert read(store, "advance", name).num_requeues == 2


@pytest.mark.parametrize(
    "change",
    [{"body": None}, {"encoding": None}, {"encoding": "base64"}, {"version": 2}, {"body": "\ud800"}, {"id": ...}],
)
def test_a_record_that_was_spoilt_is_corrupt(change: dict[str, Any]) -> None:
    document = BuriedMessage("advance", "i", b"a", "why", 1).to_document() | change
    body = json.dumps({key: value for key, value in document.items() if value is not ...}).encode()
    with pytest.raises(StorageCorrupt):
        BuriedMessage.from_json(body, None)  # type: ignore[arg-type]


def test_the_reason_for_a_hint_is_its_text_its_job_or_the_log(deployment: Deployment, key: JobKey) -> None:
    store = deployment.store
    assert "it must be a JSON object" in reason_of(store, "advance", b"hello", 5)
    hint = AdvanceMessage(key).to_text().encode()
    assert reason_of(store, "advance", hint, 5) == f"{key.path}: there is no such job"
    there = deployment.drop(command("true"))
    told = reason_of(store, "advance", AdvanceMessage(there).to_text().encode(), 5)
    assert told.startswith(f"{there.path}: the function advance failed 5 times")


def test_the_reason_for_a_dropped_file_is_that_it_is_gone_or_the_log(store: Store, workspace: str) -> None:
    path = f"{workspace}/e/job.yaml"
    told = reason_of(store, DROP_POISON_QUEUE, dropped(path), 5)
    assert told.startswith(f"jobs/{path} is not there any more; the function drop failed 5 times")
    store.blobs.put(JOBS, path, b"x")
    told = reason_of(store, DROP_POISON_QUEUE, dropped(path), 5)
    assert told.startswith(f"jobs/{path}: the function drop failed 5 times")
    assert "no-such-container" in reason_of(store, DROP_POISON_QUEUE, dropped(path, "no-such-container"), 5)
    assert "it must be a JSON object" in reason_of(store, DROP_POISON_QUEUE, b"hello", 5)


names = st.text(max_size=30) | st.sampled_from(
    ["a//b", "/", "//", "a\\b", "a?b#c", "%00", "\x00", "a.", "e/", " ", "\n"]
)


@examples(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.builds(dropped, names, st.sampled_from([JOBS, "a", "$root", "--", "x" * 63])))
@example(json.dumps({"version": 1, "job": "w/e/" + "j" * 75}).encode())
def test_a_reason_is_found_for_every_body(store: Store, body: bytes) -> None:
    for queue in QUEUES:
        told = reason_of(store, queue, body, 5)
        assert told
        assert bury(store, queue, str(uuid.uuid4()), body, told, 5)
