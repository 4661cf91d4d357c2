"""The real functions in the real host, without trainers, and a sender who knows three ways in."""

import http.client
import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from dropsweep.names import JOBS, LIVE, RUNS, SUBMISSIONS_QUEUE, JobKey, buried, submission_record
from dropsweep.records import JobRecord
from dropsweep.settings import StorageSettings
from dropsweep.steps.pick_up import REPLY_TO, SUBMISSION_ID
from dropsweep.storage import Store
from local.stack import CLUSTER, Stack

PATIENCE_S = 120.0
"""How long a test waits for what takes a second on a machine with nothing else to do."""
EXPERIMENT = "digits"


def until(holds: Callable[[], Any], what: str) -> Any:
    """Returns the first true value; fails when there is none in time."""
    end = time.monotonic() + PATIENCE_S
    while not (value := holds()):
        assert time.monotonic() < end, f"not within {PATIENCE_S:g} s: {what}"
        time.sleep(0.02)
    return value


@dataclass(frozen=True)
class Answer:
    """What HTTP answered."""

    status: int
    headers: dict[str, str]
    document: dict[str, Any]


class Senders:
    """Hands the same submission in by each way, into a workspace that nobody else uses."""

    def __init__(self, stack: Stack, store: Store) -> None:
        self.stack = stack
        self.store = store
        self.workspace = f"w-{uuid.uuid4().hex[:12]}"
        self.submission_id = uuid.uuid4().hex
        self.replies = f"answers-{uuid.uuid4().hex[:12]}"
        self.dropped: list[str] = []

    def drop(self, document: dict[str, Any], file: str) -> None:
        """Puts the file into `jobs`, with the submission id in its metadata."""
        path = f"{self.workspace}/{EXPERIMENT}/{file}"
        metadata = {SUBMISSION_ID: self.submission_id, REPLY_TO: self.replies}
        self.store.blobs.put(JOBS, path, json.dumps(document).encode(), metadata)
        self.dropped.append(path)

    def send(self, document: dict[str, Any]) -> None:
        """Puts a message on the queue `submissions`."""
        envelope = {
            "job": document,
            "workspace": self.workspace,
            "experiment": EXPERIMENT,
            "submission_id": self.submission_id,
            "reply_to": self.replies,
        }
        self.store.queues.send(SUBMISSIONS_QUEUE, json.dumps(envelope))

    def post(self, document: dict[str, Any]) -> Answer:
        """Posts it once.

        Raises:
            OSError, http.client.HTTPException: there was no answer.
        """
        parts = urlsplit(self.stack.url)
        query = urlencode({"workspace": self.workspace, "experiment": EXPERIMENT, "reply_to": self.replies})
        headers = {"Content-Type": "application/json", "Idempotency-Key": self.submission_id}
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE_S)
        try:
            connection.request("POST", f"{parts.path}/jobs?{query}", json.dumps(document).encode(), headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        return Answer(answer.status, {key.lower(): value for key, value in answer.getheaders()}, json.loads(body))

    def post_until_answered(self, document: dict[str, Any]) -> Answer:
        """Posts it again while there is no answer, or one that the service has trouble."""

        def once() -> Answer | None:
            try:
                answer = self.post(document)
            except (OSError, http.client.HTTPException):
                return None
            return answer if answer.status < 500 else None

        found: Answer = until(once, "an answer")
        return found

    def records(self) -> list[JobRecord]:
        """Every job of the workspace."""
        names = [blob.name for blob in self.store.blobs.list(RUNS, f"{self.workspace}/")]
        found = [self.store.blobs.read(RUNS, name) for name in names if name.endswith("/job.json")]
        return [JobRecord.from_json(blob.body) for blob in found if blob is not None]

    def named(self) -> JobKey | None:
        """The job that the submission id stands for, as its record says."""
        blob = self.store.blobs.read(RUNS, submission_record(self.workspace, self.submission_id))
        return None if blob is None else JobKey.parse(json.loads(blob.body)["job"])

    def specs(self) -> list[str]:
        """Every spec.json of the workspace."""
        return [
            blob.name for blob in self.store.blobs.list(RUNS, f"{self.workspace}/") if blob.name.endswith("spec.json")
        ]

    def markers(self) -> list[str]:
        """The live jobs of the workspace."""
        return [blob.name for blob in self.store.blobs.list(RUNS, f"{LIVE}{self.workspace}/")]

    def events(self) -> list[dict[str, Any]]:
        """What has come on the queue for answers; taken from it."""
        found = self.store.queues.receive(self.replies, visibility_s=60, max_messages=32)
        for message in found:
            self.store.queues.delete(message)
        return [json.loads(message.text) for message in found]

    def buried(self) -> list[str]:
        """The buried messages of this workspace."""
        folder = buried(SUBMISSIONS_QUEUE, "").removesuffix(".json")
        found = {blob.name: self.store.blobs.read(RUNS, blob.name) for blob in self.store.blobs.list(RUNS, folder)}
        return [name for name, blob in found.items() if blob and self.workspace in blob.body.decode()]

    def wait_until_all_is_taken(self) -> None:
        """Waits until every message and every dropped file has been dealt with."""
        until(lambda: self.store.queues.count(SUBMISSIONS_QUEUE) == 0, "an empty queue")
        until(lambda: {*self.dropped} <= self._picked_up(), "every file picked up")

    def _picked_up(self) -> set[str]:
        log = (self.stack.logs / "host.log").read_text(encoding="utf-8", errors="replace")
        began = re.findall(r"Executing 'Functions.drop' \(Reason='New blob detected: [^/]+/(\S+)', Id=([\w-]+)\)", log)
        done = {*re.findall(r"Executed 'Functions.drop' \(Succeeded, Id=([\w-]+),", log)}
        return {path for path, call in began if call in done}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("ways-in"), num_trainers=0) as stack:
        yield stack


@pytest.fixture(scope="module")
def store(stack: Stack) -> Store:
    store = Store.connect(StorageSettings(stack.connection_string))
    store.prepare((CLUSTER,))
    return store


@pytest.fixture
def senders(stack: Stack, store: Store) -> Senders:
    made = Senders(stack, store)
    store.queues.create_queue(made.replies)
    return made
