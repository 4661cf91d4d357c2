"""Steer: a person pauses a schedule, lets it go on, or wants one job of it now.

Reads: the schedule's file; its record; for a job now, the job file that it refers to.
Writes (in order): the schedule's record, `.schedules/{schedule}.json` (create or change) → for a job now whatever tick
    writes for a due time.
Idempotent by: what is asked for stands in the record once; a job now has an id of its own.
If it dies: after the record, tick does the rest.
Next: tick; accept.
"""

import uuid
from collections.abc import Callable
from dataclasses import replace

from dropsweep.errors import ConflictError, NotFoundError, Problem, SpecError
from dropsweep.names import SCHEDULES, JobKey, ScheduleKey
from dropsweep.records.schedule import ScheduleRecord, TickOutcome
from dropsweep.schedules import due_times
from dropsweep.settings import Settings
from dropsweep.spec import MAX_JOB_FILE_BYTES
from dropsweep.spec.schedule import read_schedule
from dropsweep.steps._due import MAX_TRIES, begun, carry_out, job_file, pending, read_record, submission, write_record
from dropsweep.storage import Blob, Store


def schedule_file(store: Store, key: ScheduleKey) -> tuple[str, Blob]:
    """Returns the path of a schedule's file in the container `schedules`, and the file.

    Raises:
        NotFoundError: there is no such schedule. SpecError: the file is too large.
    """
    for found in store.blobs.files(SCHEDULES, f"{key.path}."):
        if ScheduleKey.of_file(found.name) == key:
            if found.size_bytes > MAX_JOB_FILE_BYTES:
                raise SpecError((too_large(found.size_bytes),))
            blob = store.blobs.read(SCHEDULES, found.name)
            if blob is not None:
                return found.name, blob
    raise NotFoundError(f"{key.path}: there is no such schedule. `dropsweep schedule list` shows what there is")


def too_large(size_bytes: int) -> Problem:
    """Returns the problem with a file of more bytes than one may have."""
    rule = f"a schedule file holds at most {MAX_JOB_FILE_BYTES} bytes"
    return Problem("", f"{size_bytes} bytes", rule, "Put data and code into storage and name their paths")


def pause_schedule(store: Store, key: ScheduleKey) -> ScheduleRecord:
    """Pauses a schedule; one that is paused stays so.

    Raises:
        NotFoundError: there is no such schedule.
        ConflictError: others changed its record each time it was about to be written.
    """
    return _change(store, key, lambda record, *_: replace(record, is_paused=True))


def resume_schedule(store: Store, key: ScheduleKey) -> ScheduleRecord:
    """Lets a paused schedule go on; due times that came meanwhile are not made up for.

    Raises:
        NotFoundError: there is no such schedule.
        ConflictError: others changed its record each time it was about to be written.
    """

    def apply(record: ScheduleRecord, name: str, file: Blob) -> ScheduleRecord:
        if not record.is_paused:
            return record
        until = max(record.until, file.served)
        schedule = read_schedule(file.body, file_name=name, key=key).schedule
        upcoming = due_times(schedule.trigger, anchor=record.anchor, after=until) if schedule else iter(())
        return replace(record, is_paused=False, until=until, next_due=next(upcoming, None))

    return _change(store, key, apply)


def run_schedule_now(store: Store, key: ScheduleKey, settings: Settings | None = None) -> JobKey:
    """Makes one job of a schedule, besides its due times, whether it is paused or not and whatever of it is live.

    Args:
        store: the storage account.
        key: the schedule.
        settings: the deployment's; without them the timer makes the job.

    Returns:
        The key of the job that it becomes.

    Raises:
        NotFoundError: there is no such schedule.
        SpecError: its file, or the job's, has errors. Without settings some of them are found only by the timer.
        ConflictError: others changed its record each time it was about to be written.
    """
    file, blob = schedule_file(store, key)
    reading = read_schedule(blob.body, file_name=file, key=key, clusters=settings.clusters if settings else None)
    if reading.schedule is None:
        raise SpecError(reading.problems)
    document = job_file(store, reading.schedule)
    if document.data is None:
        raise SpecError(document.problems)
    turn = pending(reading.schedule, document, (blob.served,), run_id=uuid.uuid4().hex[:12])
    _change(store, key, lambda record, *_: replace(record, pending=(*record.pending, turn)))
    if settings is not None:
        for tick in carry_out(store, settings, key):
            if tick.run_id == turn.run_id and tick.outcome is TickOutcome.REFUSED:
                raise SpecError(tick.problems)
    return submission(key, turn, blob.served).key


def _change(
    store: Store, key: ScheduleKey, apply: Callable[[ScheduleRecord, str, Blob], ScheduleRecord]
) -> ScheduleRecord:
    """Changes a schedule's record; begins one for a schedule that nothing has looked at yet."""
    name, file = schedule_file(store, key)
    for _ in range(MAX_TRIES):
        found = read_record(store, key)
        before, etag = (begun(key, file), "") if found is None else (found[0], found[1].etag)
        record = apply(before, name, file)
        if (found is not None and record == before) or write_record(store, record, etag):
            return record
    raise ConflictError(
        f"{key.path}: others changed its record {MAX_TRIES} times just before it was to be written. Try again"
    )
