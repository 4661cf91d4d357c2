import base64
import json
from dataclasses import replace
from datetime import UTC, datetime

from dropsweep.errors import Problem
from dropsweep.events import encoded, job_event, refusal_event
from dropsweep.messages import MAX_MESSAGE_BYTES
from dropsweep.names import JobKey
from dropsweep.records import Best, JobRecord
from dropsweep.states import JobReason, JobState

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KEY = JobKey("w", "e", "job-0123456789")
JOB = JobRecord(KEY, "sweep", JobReason.ACCEPTED, "job", 5, NOW, reply_to="answers", submission_id="s-1")


def test_an_event_has_the_attributes_of_cloudevents() -> None:
    job = replace(JOB.noted(None, NOW), best=Best(1, float("nan")))
    event = json.loads(job_event(job, job.untold[0]))
    assert event.pop("data")["best"] == {"trial": 1, "metric": "NaN"}
    assert event == {
        "specversion": "1.0",
        "id": "1",
        "source": "/runs/w/e/job-0123456789",
        "type": "dropsweep.job.queued",
        "subject": "w/e/job-0123456789",
        "time": "2026-01-02T03:04:05Z",
        "datacontenttype": "application/json",
    }


def test_each_change_of_state_is_noted_once_and_numbered() -> None:
    queued = JOB.noted(None, NOW)
    running = queued.moved(JobReason.DISPATCHING).noted(queued.state, NOW)
    again = running.noted(running.state, NOW)
    assert [(change.number, change.state) for change in again.untold] == [(1, JobState.QUEUED), (2, JobState.RUNNING)]
    assert JobRecord.from_json(again.to_json()) == again


def test_a_job_that_nobody_wants_to_hear_of_notes_nothing() -> None:
    assert replace(JOB, reply_to="").noted(None, NOW).untold == ()


def test_the_largest_refusal_fits_into_a_message_in_base64() -> None:
    problems = tuple(Problem(f"key{number}" * 20, "v" * 80, "\N{PILE OF POO}" * 200, "r" * 200) for number in range(99))
    text = refusal_event("id", "s", "\N{PILE OF POO}" * 9000, problems, NOW)
    assert len(encoded(text, is_base64=True)) <= MAX_MESSAGE_BYTES
    assert json.loads(base64.b64decode(encoded(text, is_base64=True))) == json.loads(text)
