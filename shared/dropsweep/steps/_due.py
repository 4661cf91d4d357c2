"""What tick and steer have in common: the file of a schedule, its record, and due times that are carried out."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from dropsweep.errors import ConflictError, NotFoundError, Problem, Severity, SpecError, StorageCorrupt
from dropsweep.names import ERROR_SUFFIX, RUNS, SCHEDULES, JobKey, ScheduleKey
from dropsweep.records import JobRecord
from dropsweep.records.codec import VERSION, dump, time_out
from dropsweep.records.schedule import Pending, ScheduleRecord, TickOutcome, TickRecord
from dropsweep.schedules import Overlap
from dropsweep.settings import Settings
from dropsweep.spec import MAX_JOB_FILE_BYTES, Document, read_document
from dropsweep.spec.schedule import Schedule
from dropsweep.steps.accept import accept
from dropsweep.steps.cancel import cancel
from dropsweep.storage import Blob, Store
from dropsweep.submissions import Submission

_log = logging.getLogger(__name__)
MAX_TRIES: Final = 50


def read_record(store: Store, key: ScheduleKey) -> tuple[ScheduleRecord, Blob] | None:
    """Returns a schedule's record with its blob; None when there is none.

    Raises:
        StorageCorrupt: the blob is no record.
    """
    blob = store.blobs.read(RUNS, key.state)
    return None if blob is None else (ScheduleRecord.from_json(blob.body), blob)


def write_record(store: Store, record: ScheduleRecord, etag: str) -> bool:
    """Creates (without `etag`) or changes a record; False when somebody else did so meanwhile."""
    body, metadata = record.to_json(), record.to_metadata()
    path = record.key.state
    if not etag:
        return store.blobs.create(RUNS, path, body, metadata) is not None
    return store.blobs.replace(RUNS, path, body, etag, metadata) is not None


def job_file(store: Store, schedule: Schedule) -> Document:
    """Returns the job file of a schedule's next job; where it cannot be read, without data and with the reasons."""
    reference = schedule.reference
    if reference is None:
        return schedule.document()
    try:
        head = store.blobs.head(reference.container, reference.blob)
        if head is not None and head.size_bytes > MAX_JOB_FILE_BYTES:
            rule = f"a job file holds at most {MAX_JOB_FILE_BYTES} bytes"
            problem = Problem(reference.path, f"{head.size_bytes} bytes", rule, "Put data and code into storage")
            return Document(None, (problem,))
        blob = store.blobs.read(reference.container, reference.blob) if head is not None else None
    except NotFoundError:
        blob = None  # no such container
    if blob is None:
        rule = f"the file must exist, looked for {reference.container}/{reference.blob}"
        return Document(None, (Problem(reference.path, reference.value, rule, "Upload it, or correct the path"),))
    return schedule.document(read_document(blob.body, file_name=reference.blob))


def pending(schedule: Schedule, document: Document, dues: tuple[datetime, ...], *, run_id: str = "") -> Pending:
    """Returns due times whose turn has come, with the job file as it is now."""
    return Pending(
        dues=dues,
        overlap=schedule.overlap,
        experiment=schedule.experiment(document),
        document=document.data,
        problems=document.problems,
        run_id=run_id,
    )


def submission(key: ScheduleKey, turn: Pending, due: datetime) -> Submission:
    """Returns what a due time hands in; the same whenever it is asked for."""
    run = (turn.run_id,) if turn.run_id else ()
    return Submission(
        workspace=key.workspace,
        experiment=turn.experiment,
        document=Document(turn.document, turn.problems),
        identity=(SCHEDULES, key.path, time_out(due) or "", *run),
        default_name=key.name,
        source=f"{SCHEDULES}/{key.path}",
        schedule=key.name,
    )


def carry_out(store: Store, settings: Settings, key: ScheduleKey) -> list[TickRecord]:
    """Carries out what is pending of a schedule, whoever made it so; returns the records of these due times.

    Two at once do the same: each due time's record is created once, and its job follows from what was pending.

    Raises:
        ConflictError: others changed the schedule's record each time it was about to be written.
    """
    done: dict[str, TickRecord] = {}
    for _ in range(MAX_TRIES):
        found = read_record(store, key)
        if found is None or not found[0].pending:
            return list(done.values())
        record, blob = found
        turn = record.pending[0]
        jobs = list(record.jobs)
        ticks = _missed(store, key, turn, blob.served)
        ticks += [_carry_out(store, settings, key, turn, due, jobs, blob.served) for due in turn.dues]
        done |= {tick.path: tick for tick in ticks}
        problems = next((tick.problems for tick in reversed(ticks) if tick.outcome is TickOutcome.REFUSED), ())
        settled = record.settled(turn, tuple(ticks), tuple(jobs), problems)
        if settled.problems != record.problems:
            tell(store, key.error, key.path, settled.problems)
        if write_record(store, settled, blob.etag) and not settled.pending:
            return list(done.values())
    raise ConflictError(f"{key.path}: others changed its record {MAX_TRIES} times just before it was to be written")


def tell(store: Store, path: str, what: str, problems: Sequence[Problem]) -> None:
    """Writes what is wrong with a schedule beside its file, or removes what was written when nothing is.

    Args:
        store: the storage account.
        path: where in the container `schedules`.
        what: the schedule's path.
        problems: without an error among them nothing is wrong.
    """
    if not any(problem.severity is Severity.ERROR for problem in problems):
        store.blobs.delete(SCHEDULES, path)
        return
    document = {"version": VERSION, "schedule": what, "problems": [problem.to_json() for problem in problems]}
    store.blobs.put(SCHEDULES, path, dump(document))


def error_path(file: str) -> str:
    """Returns where what is wrong with a file is told, beside it."""
    return f"{file.rpartition('.')[0]}{ERROR_SUFFIX}"


def _missed(store: Store, key: ScheduleKey, turn: Pending, now: datetime) -> list[TickRecord]:
    if turn.missed_last is None:
        return []
    tick = TickRecord(
        key, turn.missed_last, TickOutcome.MISSED, now, first=turn.missed_first, num=max(1, turn.num_missed)
    )
    return [_created(store, tick)]


def _carry_out(
    store: Store, settings: Settings, key: ScheduleKey, turn: Pending, due: datetime, jobs: list[str], now: datetime
) -> TickRecord:
    """Carries out one due time; `jobs` becomes the schedule's latest jobs."""
    tick = TickRecord(key, due, TickOutcome.SUBMITTED, now, run_id=turn.run_id)
    if turn.document is None:
        return _created(store, replace(tick, outcome=TickOutcome.REFUSED, problems=turn.problems))
    made = submission(key, turn, due)
    earlier: list[str] = []
    if turn.overlap != Overlap.ALLOW:
        jobs[:] = [job for job in jobs if _is_live(store, job)]
        earlier = [] if turn.run_id else [job for job in jobs if job != made.key.path]
    is_skipped = bool(earlier) and turn.overlap == Overlap.SKIP
    # Before the job: what is decided here follows from which jobs are live, and may not be decided twice.
    tick = _created(
        store,
        replace(tick, outcome=TickOutcome.SKIPPED) if is_skipped else replace(tick, job=made.key.path),
    )
    if tick.outcome is not TickOutcome.SUBMITTED:
        return tick
    try:
        accepted = accept(store, settings, made)
    except SpecError as refusal:
        _log.warning("tick: the job of %s due at %s is refused: %s", key.path, time_out(due), refusal)
        tick = replace(tick, outcome=TickOutcome.REFUSED, job="", problems=refusal.problems)
        store.blobs.put(RUNS, tick.path, tick.to_json())
        return tick
    jobs.append(accepted.key.path)
    if turn.overlap == Overlap.REPLACE:
        # Only for a job that takes their place: one that is refused leaves them alone.
        for job in earlier:
            cancel(store, JobKey.parse(job))
    return tick


def _created(store: Store, tick: TickRecord) -> TickRecord:
    """Creates a due time's record, or returns the one that stands there."""
    if store.blobs.create(RUNS, tick.path, tick.to_json()) is not None:
        return tick
    blob = store.blobs.read(RUNS, tick.path)
    return tick if blob is None else TickRecord.from_json(blob.body)


def _is_live(store: Store, job: str) -> bool:
    blob = store.blobs.read(RUNS, JobKey.parse(job).record)
    if blob is None:
        return False
    try:
        return not JobRecord.from_json(blob.body).state.is_final
    except StorageCorrupt:
        _log.exception("tick: the record of %s cannot be read; it is taken for ended", job)
        return False
