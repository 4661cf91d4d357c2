"""What cancel, pause, retry and edit have in common: one conditional write of job.json, then a hint."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from dropsweep.errors import ConflictError, DropsweepError, NotFoundError
from dropsweep.messages import AdvanceMessage
from dropsweep.names import ADVANCE_QUEUE, RUNS, JobKey
from dropsweep.records import JobRecord, TrialRecord
from dropsweep.states import Wish
from dropsweep.storage import Store

_MAX_TRIES: Final = 50
MAX_REQUESTS: Final = 1000
"""They stand in job.json, which each pass and each worker reads."""


class Left(StrEnum):
    """Why a step left a job's record as it was."""

    HAS_ENDED = "has_ended"
    IS_CANCELLING = "is_cancelling"
    IS_PAUSED = "is_paused"
    IS_NOT_PAUSED = "is_not_paused"
    ONLY_JOB_IS_PAUSED = "only_job_is_paused"
    NONE_HAS_FAILED = "none_has_failed"


@dataclass(frozen=True, slots=True)
class Change:
    """What a step made of a job's record.

    Attributes:
        record: as it stands now.
        left: why the step left it as it was; None when it changed it.
    """

    record: JobRecord
    left: Left | None = None


def change(
    store: Store, key: JobKey, apply: Callable[[JobRecord, datetime], JobRecord], *, is_alarm: bool = False
) -> JobRecord:
    """Changes a job's record as `change_or_leave` does, and returns it as it stands now."""
    return change_or_leave(store, key, apply, is_alarm=is_alarm).record


def change_or_leave(
    store: Store, key: JobKey, apply: Callable[[JobRecord, datetime], JobRecord | Left], *, is_alarm: bool = False
) -> Change:
    """Changes a job's record as `apply` says, or leaves it, and hints at it unless it is final and was left.

    Args:
        store: the storage account.
        key: the job.
        apply: gets the record and the storage service's time, and returns the new record, or why it is to be left;
            called anew whenever somebody else changed the record meanwhile. What it raises ends the change.
        is_alarm: the hint also sets the alarm for the job's timeout.

    Raises:
        NotFoundError: there is no such job.
        ConflictError: its record changed each time it was about to be written.
    """
    for _ in range(_MAX_TRIES):
        blob = store.blobs.read(RUNS, key.record)
        if blob is None:
            raise NotFoundError(f"{key.path}: there is no such job. `dropsweep list` shows what there is")
        found = JobRecord.from_json(blob.body)
        if found.deleted is not None:
            raise NotFoundError(f"{key.path} is being deleted: nothing can be done with it any more")
        made = apply(found, blob.served)
        job, left = (found, made) if isinstance(made, Left) else (made.noted(found.state, blob.served), None)
        if job != found:
            if found.state.is_final:
                # Before the record, anew at each try: a live job without its marker would be found by no timer.
                store.blobs.put(RUNS, key.marker, b"")
            if store.blobs.replace(RUNS, key.record, job.to_json(), blob.etag, job.to_metadata()) is None:
                continue
        if not job.state.is_final:
            store.queues.send(ADVANCE_QUEUE, AdvanceMessage(key, is_alarm=is_alarm).to_text())
        return Change(job, left)
    raise ConflictError(
        f"{key.path}: others changed its record {_MAX_TRIES} times just before it was to be written. Try again"
    )


def trial_of(store: Store, job: JobRecord, trial: int) -> TrialRecord | None:
    """Returns a trial's record; None before its first claim.

    Raises:
        NotFoundError: the job has no such trial.
    """
    if not 0 <= trial < job.num_trials:
        raise no_trial(job, trial)
    blob = store.blobs.read(RUNS, job.key.trial(trial))
    return None if blob is None else TrialRecord.from_json(blob.body)


def no_trial(job: JobRecord, trial: int) -> NotFoundError:
    """Returns the error for a number that no trial of the job has."""
    return NotFoundError(
        f"{job.key.path} has no trial {trial}: it has {job.num_trials}, counted from 0. Name one of them"
    )


def with_request(job: JobRecord, trial: int, wish: Wish) -> Mapping[int, Wish]:
    """Returns the job's requests with one more.

    Raises:
        DropsweepError: there are too many.
    """
    requests = {**job.requests, trial: wish}
    if len(requests) > MAX_REQUESTS:
        raise DropsweepError(
            f"{job.key.path} has {len(job.requests)} requests for single trials: it may have {MAX_REQUESTS}. "
            f"Wait until they are met, or {wish} the whole job"
        )
    return requests
