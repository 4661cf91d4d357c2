"""What is told on a submission's `reply_to` queue: CloudEvents 1.0 in the JSON format, one for each change.

An event may come twice (a pass died between sending it and noting that it was sent); two with the same `source` and
`id` are one.

Source:
    https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

import base64
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from dropsweep.errors import Problem
from dropsweep.messages import MAX_MESSAGE_BYTES
from dropsweep.names import RUNS, SUBMISSIONS_QUEUE
from dropsweep.records import JobRecord, StateChange
from dropsweep.records.codec import number_out, time_out

CONTENT_TYPE: Final = "application/json"
_MAX_PROBLEMS: Final = 50
_MAX_TEXT: Final = 4000


def job_event(job: JobRecord, change: StateChange) -> str:
    """Returns the event of a change of a job's state: `dropsweep.job.{state}`, numbered from 1 within the job.

    `data` has the job's counts and best trial as they stand when the event is made, which may be later than the change.
    """
    best = None if job.best is None else {"trial": job.best.trial, "metric": number_out(job.best.metric)}
    return _event(
        source=f"/{RUNS}/{job.key.path}",
        number=str(change.number),
        kind=f"job.{change.state}",
        subject=job.key.path,
        at=change.at,
        data={
            "workspace": job.key.workspace,
            "experiment": job.key.experiment,
            "job": job.key.path,
            "submission_id": job.submission_id,
            "state": change.state,
            "reason": change.reason,
            "message": change.message[:_MAX_TEXT],
            "num_trials": job.num_trials,
            "counts": dict(job.counts),
            "best": best,
        },
    )


def refusal_event(message_id: str, submission_id: str, reason: str, problems: Sequence[Problem], at: datetime) -> str:
    """Returns the event of a submission that was refused and buried: `dropsweep.submission.refused`.

    Args:
        message_id: the queue message's own id.
        submission_id: as its sender gave it; may be empty.
        reason: why, in words.
        problems: what is wrong with its job file; the first 50 are told.
        at: when, by the storage service's clock.
    """
    return _event(
        source=f"/{SUBMISSIONS_QUEUE}",
        number=message_id,
        kind="submission.refused",
        subject=submission_id or message_id,
        at=at,
        data={
            "submission_id": submission_id,
            "message": reason[:_MAX_TEXT],
            "problems": [problem.to_json() for problem in problems[:_MAX_PROBLEMS]],
        },
    )


def encoded(text: str, *, is_base64: bool) -> str:
    """Returns an event as its receiver reads it."""
    return base64.b64encode(text.encode()).decode() if is_base64 else text


def _event(*, source: str, number: str, kind: str, subject: str, at: datetime, data: dict[str, Any]) -> str:
    event = {
        "specversion": "1.0",
        "id": number,
        "source": source,
        "type": f"dropsweep.{kind}",
        "subject": subject,
        "time": time_out(at),
        "datacontenttype": CONTENT_TYPE,
        "data": data,
    }
    text = json.dumps(event)  # ASCII alone: XML, in which queues carry it, has no place for some characters
    if len(text) > MAX_MESSAGE_BYTES * 3 // 4 and "problems" in data:
        return json.dumps({**event, "data": {**data, "problems": []}})
    return text
