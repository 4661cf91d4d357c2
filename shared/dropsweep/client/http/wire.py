"""What the HTTP API sends, read back into what `Client` returns."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dropsweep.client.experiments import job_in
from dropsweep.client.progress import Progress
from dropsweep.client.results import BestTrial
from dropsweep.errors import StorageCorrupt
from dropsweep.metrics import Point
from dropsweep.records import Best, JobRecord, JobSummary, TrialRecord, TrialSummary
from dropsweep.records.codec import dump, metrics_in, number_in, seconds_in, time_in, time_of
from dropsweep.states import TrialReason, TrialState

Json = dict[str, Any]


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Says of a document that lacks something, or has it otherwise, what it was.

    Raises:
        StorageCorrupt: in place of what reading such a document raises; the API may be of another version.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StorageCorrupt(
            f"{what} that the API sent cannot be read: {error!r}. Is it of this program's version? GET /version tells"
        ) from error


def job_record(document: Json) -> JobRecord:
    """Reads a job's record."""
    return JobRecord.from_json(dump(document))


def trial_record(document: Json) -> TrialRecord:
    """Reads a trial's record."""
    return TrialRecord.from_json(dump(document))


def best_trial(document: Json) -> BestTrial:
    """Reads best.json."""
    return BestTrial.from_json(dump(document))


def job_summary(document: Json) -> JobSummary:
    """Reads a job as a list shows it."""
    return job_in(document)


def trial_summary(document: Json) -> TrialSummary:
    """Reads a trial as a list shows it."""
    return TrialSummary(
        trial=document["trial"],
        reason=TrialReason(document["reason"]),
        attempt=document["attempt"],
        metric=number_in(document["metric"]),
        step=number_in(document["step"]),
        metrics=metrics_in(document["metrics"]),
        message=document["message"],
        started=time_in(document["started"]),
        finished=time_in(document["finished"]),
        round=document["round"],
        modified=time_in(document["modified"]),
        # The API may be of an earlier version, which tells none of these.
        ran_s=seconds_in(document.get("ran_s", 0.0)),
        num_retries=document.get("num_retries", 0),
        runs_alone=document.get("runs_alone", False),
    )


def progress(document: Json) -> Progress:
    """Reads one look at a job."""
    return Progress(
        record=job_record(document["record"]),
        served=time_of(document["served"]),
        counts={TrialState(state): count for state, count in document["counts"].items()},
        trials=tuple(trial_summary(trial) for trial in document["trials"]),
        best=_best(document["best"]),
    )


def point(document: Json) -> Point:
    """Reads what a trial reported at one time."""
    return Point(number_in(document["step"]), metrics_in(document["values"]))


def _best(document: Json | None) -> Best | None:
    return None if document is None else Best(document["trial"], float(document["metric"]))
