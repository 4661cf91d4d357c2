import base64
import json
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import SansIOHTTPPolicy

from dropsweep.names import CODE, JOBS, RUNS, SUBMISSIONS_QUEUE, JobKey, buried
from dropsweep.records.buried import BuriedMessage
from dropsweep.spec import MAX_JOB_FILE_BYTES
from dropsweep.states import JobState
from dropsweep.steps.cancel import cancel
from dropsweep.steps.pick_up import REPLY_TO, pick_up
from dropsweep.steps.receive import give_up, receive
from dropsweep.steps.tell import send
from dropsweep.storage import Store
from tests.emulator.deployment import REPORT_X, Deployment, command, sweep

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Sender:
    """Another system, with a queue of its own for answers."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.queue = f"answers-{uuid.uuid4().hex[:12]}"
        self.message_id = ""

    def send(self, body: bytes, *, message_id: str = "") -> JobKey | None:
        self.message_id = message_id or uuid.uuid4().hex
        return receive(self.deployment.store, self.deployment.settings, self.message_id, body, 1, NOW)

    def envelope(self, document: dict[str, Any], **more: Any) -> bytes:
        given = {"workspace": self.deployment.workspace, "reply_to": self.queue, **more}
        return json.dumps({"job": document, **given}).encode()

    def answers(self) -> list[dict[str, Any]]:
        found = self.deployment.store.queues.receive(self.queue, visibility_s=60, max_messages=32)
        return [json.loads(message.text) for message in found]

    def buried(self) -> BuriedMessage:
        blob = self.deployment.store.blobs.read(RUNS, buried(SUBMISSIONS_QUEUE, self.message_id))
        assert blob is not None
        return BuriedMessage.from_json(blob.body, NOW)


@pytest.fixture
def sender(deployment: Deployment) -> Sender:
    return Sender(deployment)


def test_each_change_of_state_is_answered_in_its_order(deployment: Deployment, sender: Sender) -> None:
    key = sender.send(sender.envelope(sweep(REPORT_X, 2), submission_id="s-1"))
    assert key is not None
    deployment.run(key)
    events = sender.answers()
    assert [event["type"].rpartition(".")[2] for event in events] == ["queued", "running", "completed"]
    assert [event["id"] for event in events] == ["1", "2", "3"]
    assert {event["subject"] for event in events} == {key.path}
    assert events[-1]["data"]["best"] == {"trial": 1, "metric": 1.0}
    assert events[-1]["data"]["submission_id"] == "s-1"
    deployment.look(key)
    assert sender.answers() == []
    assert deployment.job(key).untold == ()


def test_a_cancelled_job_is_told_to_the_end(deployment: Deployment, sender: Sender) -> None:
    key = sender.send(sender.envelope(command("sleep 60")))
    assert key is not None
    deployment.look(key)
    cancel(deployment.store, key)
    deployment.finish(key)
    told = [event["type"].rpartition(".")[2] for event in sender.answers()]
    assert told == ["queued", "running", "cancelling", "cancelled"]


def test_a_message_that_came_in_base64_is_answered_in_base64(deployment: Deployment, sender: Sender) -> None:
    key = sender.send(base64.b64encode(sender.envelope(command("true"))))
    assert key is not None
    deployment.look(key)
    (first, *_) = deployment.store.queues.receive(sender.queue, visibility_s=60, max_messages=32)
    assert json.loads(base64.b64decode(first.text, validate=True))["type"] == "dropsweep.job.queued"


def test_a_redelivered_message_is_one_job_and_another_message_another(deployment: Deployment, sender: Sender) -> None:
    body = json.dumps({**command("true"), "workspace": deployment.workspace}).encode()
    first = sender.send(body, message_id="one")
    assert sender.send(body, message_id="one") == first
    assert sender.send(body, message_id="two") not in (first, None)


def test_a_file_in_storage_is_read_from_there(deployment: Deployment, sender: Sender) -> None:
    path = f"{deployment.workspace}/big.yaml"
    deployment.store.blobs.put(CODE, path, b"type: command\ncommand: 'true'\nexperiment_name: nightly\n")
    key = sender.send(json.dumps({"blob": f"{CODE}/{path}", "workspace": deployment.workspace}).encode())
    assert key is not None
    assert (key.experiment, key.job.rpartition("-")[0]) == ("nightly", "big")
    assert deployment.job(key).source == f"{CODE}/{path}"


def test_a_file_that_is_not_there_or_too_large_is_refused(deployment: Deployment, sender: Sender) -> None:
    path = f"{deployment.workspace}/huge.yaml"
    deployment.store.blobs.put(CODE, path, b"#" * (MAX_JOB_FILE_BYTES + 1))
    for blob, told in (
        (f"{CODE}/no-such-file", "must exist"),
        ("no-such/x.yaml", "must exist"),
        (f"{CODE}/{path}", "at most"),
    ):
        assert sender.send(json.dumps({"blob": blob, "workspace": deployment.workspace}).encode()) is None
        assert told in sender.buried().reason


@pytest.mark.parametrize("is_base64", [False, True])
def test_a_wrong_job_file_is_buried_and_answered_with_each_problem(sender: Sender, is_base64: bool) -> None:
    body = sender.envelope({"type": "command", "limits": {"timeout": 0}}, submission_id="s-7")
    assert sender.send(base64.b64encode(body) if is_base64 else body) is None
    found = sender.buried()
    assert "limits.timeout is 0" in found.reason
    (message,) = sender.deployment.store.queues.receive(sender.queue, visibility_s=60)
    event = json.loads(base64.b64decode(message.text) if is_base64 else message.text)
    assert event["type"] == "dropsweep.submission.refused"
    assert event["subject"] == "s-7"
    assert {problem["path"] for problem in event["data"]["problems"]} == {"command", "limits.timeout"}


@pytest.mark.parametrize("body", [b"", b"\xff\x00", b"[1]", b"{", b"just text", b"a: &a [*a]", b"[" * 100_000])
def test_a_message_that_says_nothing_is_buried_as_it_was(sender: Sender, body: bytes) -> None:
    assert sender.send(body) is None
    assert sender.buried().body == body


def test_the_same_id_with_another_content_is_buried_with_the_job_that_has_it(sender: Sender) -> None:
    key = sender.send(sender.envelope(command("true"), submission_id="s-1"))
    assert key is not None
    assert sender.send(sender.envelope(command("false"), submission_id="s-1")) is None
    assert key.path in sender.buried().reason
    assert "refused" in sender.answers()[-1]["type"]


def test_a_rejected_drop_is_answered_where_its_metadata_says(deployment: Deployment, sender: Sender) -> None:
    path = f"{deployment.workspace}/e/job.yaml"
    deployment.store.blobs.put(JOBS, path, b"type: command\n", {REPLY_TO: sender.queue})
    key = pick_up(deployment.store, deployment.settings, path)
    assert key is not None
    assert deployment.look(key).state is JobState.REJECTED
    assert [event["type"] for event in sender.answers()] == ["dropsweep.job.rejected"]


def test_a_message_that_became_a_job_before_its_deliveries_failed_is_not_refused(sender: Sender) -> None:
    body = sender.envelope(command("true"))
    key = sender.send(body, message_id="m-1")
    assert key is not None
    give_up(sender.deployment.store, "m-1", body, "the host died", 5, NOW)
    assert sender.deployment.store.blobs.head(RUNS, buried(SUBMISSIONS_QUEUE, "m-1")) is None
    sender.deployment.look(key)
    assert "refused" not in {event["type"].rpartition(".")[2] for event in sender.answers()}


@pytest.mark.parametrize("is_readable", [True, False])
def test_a_message_all_of_whose_deliveries_failed_is_buried_and_answered(sender: Sender, is_readable: bool) -> None:
    body = sender.envelope(command("true") if is_readable else {"type": "none"})
    sender.message_id = "m-2-" + sender.queue
    give_up(sender.deployment.store, sender.message_id, body, "the host died", 5, NOW)
    assert sender.buried().reason == "the host died"
    assert [event["data"]["message"] for event in sender.answers()] == ["the host died"]


def test_an_answer_that_cannot_be_sent_stops_no_job(deployment: Deployment) -> None:
    class Going(SansIOHTTPPolicy[Any, Any]):
        """The queue of the answers is being deleted by its owner."""

        num_asked = 0

        def on_request(self, request: PipelineRequest[Any]) -> None:
            if "/answers-going/messages" in request.http_request.url:
                Going.num_asked += 1
                error = HttpResponseError("QueueBeingDeleted")
                error.status_code = 409
                raise error

    send(Store.connect(deployment.settings.storage, Going(), patience_s=0), "answers-going", "{}")
    assert Going.num_asked
