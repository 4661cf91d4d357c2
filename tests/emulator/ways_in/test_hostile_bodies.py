"""What is sent to hurt is answered with a reason by each way in, and stops nothing that comes after it."""

import base64
import http.client
import json
import time
from typing import Final
from urllib.parse import urlsplit

import pytest

from dropsweep.names import JOBS, SUBMISSIONS_QUEUE
from dropsweep.states import JobState
from tests.emulator.deployment import command
from tests.emulator.ways_in.conftest import EXPERIMENT, PATIENCE_S, Senders, until
from tests.unit.fuzz.attacks import bodies

ATTACKS: Final = {name: body for name, body in bodies().items() if not name.startswith("command")}
_MAX_MESSAGE_BYTES: Final = 48 * 1024
"""What fits into a message in base64."""
_MAX_S: Final = 60.0
"""For one request, on a machine that has other things to do."""


@pytest.mark.parametrize("media_type", ["application/yaml", "application/json"])
def test_http_answers_each_with_a_problem(senders: Senders, media_type: str) -> None:
    parts = urlsplit(senders.stack.url)
    path = f"{parts.path}/jobs?workspace={senders.workspace}&experiment={EXPERIMENT}"
    odd = {}
    for name, body in ATTACKS.items():
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE_S)
        began = time.monotonic()
        try:
            connection.request("POST", path, body, {"Content-Type": media_type})
            answer = connection.getresponse()
            document = json.loads(answer.read())
        finally:
            connection.close()
        took_s = time.monotonic() - began
        is_told = answer.status in (200, 201) or (
            answer.status in (400, 413, 422)
            and answer.headers["Content-Type"] == "application/problem+json"
            and document["detail"]
            and "Traceback" not in json.dumps(document)
        )
        if not is_told or took_s > _MAX_S:
            odd[name] = (answer.status, round(took_s, 1), str(document)[:200])
    assert odd == {}


def test_the_queue_buries_each_or_makes_a_job_and_nothing_is_poison(senders: Senders) -> None:
    for body in ATTACKS.values():
        if len(body) <= _MAX_MESSAGE_BYTES:
            senders.store.queues.send(SUBMISSIONS_QUEUE, base64.b64encode(body).decode())
    senders.send(command("true"))
    senders.wait_until_all_is_taken()
    log = (senders.stack.logs / "host.log").read_text(encoding="utf-8", errors="replace")
    assert "'Functions.submissions' (Failed" not in log
    [job] = until(senders.records, "the sound submission's job")
    assert job.state is not JobState.REJECTED


def test_each_dropped_file_is_a_job_or_rejected_and_nothing_is_poison(senders: Senders) -> None:
    for number, (name, body) in enumerate(ATTACKS.items()):
        ending = "json" if name.startswith("JSON") else "yaml"
        path = f"{senders.workspace}/{EXPERIMENT}/attack-{number}.{ending}"
        senders.store.blobs.put(JOBS, path, body)
        senders.dropped.append(path)
    senders.wait_until_all_is_taken()
    assert len(senders.records()) == len(ATTACKS)
    log = (senders.stack.logs / "host.log").read_text(encoding="utf-8", errors="replace")
    assert "'Functions.drop' (Failed" not in log
