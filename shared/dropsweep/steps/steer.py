"""Steer: a person pauses a schedule, lets it go on, or wants one job of it now.

Reads: the schedule's file; its record; for a job, now or of a due time before a pause, the job file that it refers to.
Writes (in order): the schedule's record, `.schedules/{schedule}.json` (create or change) → for a job now whatever tick
    writes for a due time.
Idempotent by: what is asked for stands in the record once; a job now has an id of its own, or one that follows from a
    submission_id.
If it dies: after the record, tick does the rest.
Next: tick; accept.
"""

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final

from dropsweep.errors import ConflictError, NotFoundError, Problem, SpecError
from dropsweep.names import RUNS, SCHEDULES, SUBMISSION_ID_RULE, JobKey, ScheduleKey, is_submission_id
from dropsweep.records.schedule import MAX_NUM_JOBS, Asked, ScheduleRecord, TickOutcome, TickRecord
from dropsweep.schedules import due_times
from dropsweep.settings import Settings
from dropsweep.spec import MAX_JOB_FILE_BYTES
from dropsweep.spec.schedule import read_schedule
from dropsweep.steps._due import MAX_TRIES, carry_out, job_file, pending, read_record, submission, write_record
from dropsweep.steps._taking import begun, come, look_at, too_large
from dropsweep.storage import Blob, Listed, Store

_RUN_ID_LENGTH: Final = 12


def schedule_file(store: Store, key: ScheduleKey) -> tuple[str, Blob]:
    """Returns the path of a schedule's file in the container `schedules`, and the file.

    Raises:
        NotFoundError: there is no such schedule. SpecError: the file is too large.
    """
    for found in _files(store, key):
        if found.size_bytes > MAX_JOB_FILE_BYTES:
            raise SpecError((too_large(found.size_bytes),))
        blob = store.blobs.read(SCHEDULES, found.name)
        if blob is not None:
            return found.name, blob
    raise _no_such(key)


def pause_schedule(store: Store, key: ScheduleKey) -> ScheduleRecord:
    """Pauses a schedule; one that is paused stays so.

    What was due before this moment and the timer has not looked at is pending then, and still comes.

    Raises:
        NotFoundError: there is no such schedule.
        ConflictError: others changed its record each time it was about to be written.
    """
    looked = look_at(store, key, _files(store, key))
    if looked is None:
        raise _no_such(key)

    def apply(record: ScheduleRecord) -> ScheduleRecord:
        if record.is_paused:
            return record
        made = come(store, record, looked, looked.served)
        return replace(made, is_paused=True, until=max(made.until, looked.served))

    return _change(store, key, looked.modified, apply)


def resume_schedule(store: Store, key: ScheduleKey) -> ScheduleRecord:
    """Lets a paused schedule go on; due times that came meanwhile are not made up for.

    Raises:
        NotFoundError: there is no such schedule.
        ConflictError: others changed its record each time it was about to be written.
    """
    name, file = schedule_file(store, key)
    schedule = read_schedule(file.body, file_name=name, key=key).schedule

    def apply(record: ScheduleRecord) -> ScheduleRecord:
        if not record.is_paused:
            return record
        until = max(record.until, file.served)
        upcoming = due_times(schedule.trigger, anchor=record.anchor, after=until) if schedule else iter(())
        return replace(record, is_paused=False, until=until, next_due=next(upcoming, None))

    return _change(store, key, file.modified, apply)


def run_schedule_now(
    store: Store, key: ScheduleKey, settings: Settings | None = None, *, submission_id: str = ""
) -> JobKey:
    """Makes one job of a schedule, besides its due times, whether it is paused or not and whatever of it is live.

    Args:
        store: the storage account.
        key: the schedule.
        settings: the deployment's; without them the timer makes the job.
        submission_id: what must not happen twice: the same one again gives the same job, as long as it is among the
            latest 100 that were asked for under an id of the schedule. Empty: each call makes a job.

    Returns:
        The key of the job that it becomes.

    Raises:
        NotFoundError: there is no such schedule.
        SpecError: the submission_id cannot be one; or the schedule's file, or the job's, has errors. Without settings
            some of them are found only by the timer.
        ConflictError: others changed its record each time it was about to be written.
    """
    run_id = _run_id(submission_id)
    found = read_record(store, key) if submission_id else None
    asked = _asked(found[0], run_id) if found is not None else None
    if asked is None:
        asked = _ask(store, key, settings, run_id, is_kept=bool(submission_id))
    if settings is not None:
        carry_out(store, settings, key)
    made = store.blobs.read(RUNS, key.tick(asked.due, run_id))
    if made is not None:
        tick = TickRecord.from_json(made.body)
        if tick.outcome is TickOutcome.REFUSED:
            raise SpecError(tick.problems)
    return JobKey.parse(asked.job)


def _run_id(submission_id: str) -> str:
    if not submission_id:
        return uuid.uuid4().hex[:_RUN_ID_LENGTH]
    if not is_submission_id(submission_id):
        shown = repr(submission_id[:80])
        raise SpecError((Problem("submission_id", shown, f"is {SUBMISSION_ID_RULE}", "Send a UUID, or a digest"),))
    return hashlib.sha256(submission_id.encode()).hexdigest()[:_RUN_ID_LENGTH]


def _asked(record: ScheduleRecord, run_id: str) -> Asked | None:
    return next((one for one in record.asked if one.run_id == run_id), None)


def _ask(store: Store, key: ScheduleKey, settings: Settings | None, run_id: str, *, is_kept: bool) -> Asked:
    """Puts a job that a person asks for into the schedule's record; returns what stands there."""
    name, file = schedule_file(store, key)
    reading = read_schedule(file.body, file_name=name, key=key, clusters=settings.clusters if settings else None)
    if reading.schedule is None:
        raise SpecError(reading.problems)
    document = job_file(store, reading.schedule)
    if document.data is None:
        raise SpecError(document.problems)
    turn = pending(reading.schedule, document, (file.served,), run_id=run_id)
    asked = Asked(run_id, file.served, submission(key, turn, file.served).key.path)

    def apply(record: ScheduleRecord) -> ScheduleRecord:
        if _asked(record, run_id) is not None:
            return record
        kept = (*record.asked, asked)[-MAX_NUM_JOBS:] if is_kept else record.asked
        return replace(record, pending=(*record.pending, turn), asked=kept)

    return _asked(_change(store, key, file.modified, apply), run_id) or asked


def _files(store: Store, key: ScheduleKey) -> list[Listed]:
    return [found for found in store.blobs.files(SCHEDULES, f"{key.path}.") if ScheduleKey.of_file(found.name) == key]


def _no_such(key: ScheduleKey) -> NotFoundError:
    return NotFoundError(f"{key.path}: there is no such schedule. `dropsweep schedule list` shows what there is")


def _change(
    store: Store, key: ScheduleKey, modified: datetime, apply: Callable[[ScheduleRecord], ScheduleRecord]
) -> ScheduleRecord:
    """Changes a schedule's record; begins one for a schedule that nothing has looked at yet.

    Args:
        store: the storage account.
        key: the schedule.
        modified: when its file was written.
        apply: returns the record as it shall be; the same record where nothing shall change.

    Returns:
        The record as it is then.
    """
    for _ in range(MAX_TRIES):
        found = read_record(store, key)
        before, etag = (begun(key, modified), "") if found is None else (found[0], found[1].etag)
        record = apply(before)
        if (found is not None and record == before) or write_record(store, record, etag):
            return record
    raise ConflictError(
        f"{key.path}: others changed its record {MAX_TRIES} times just before it was to be written. Try again"
    )
