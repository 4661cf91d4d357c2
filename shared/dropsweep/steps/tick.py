"""Tick: the timer's look at all schedules; a due time becomes one job, however often and by whomever it is looked at.

Reads: the list of schedule files, and that of their records; for a schedule that is due, new or changed its file, its
    record, and the job file that it refers to.
Writes (in order): what is wrong with a file, beside it → `.schedules/{schedule}.json` (create or change: takes the due
    times whose turn has come, with the job file as it is now) → for each of them `.ticks/{schedule}/{due}.json`
    (create) and whatever accept writes → `.schedules/{schedule}.json` (change: they are done). The record of a schedule
    whose file is gone is deleted.
Idempotent by: the schedule's record moves on by conditional writes, so that two passes take no due time twice; a due
    time's record is created once; its job's id follows from schedule and due time.
If it dies: before the schedule's record, the next pass finds the same due times; after it, the next pass finds them
    pending there and carries them out, with the job file as it was.
Next: accept.
"""

import logging
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from dropsweep.errors import Problem, StorageCorrupt, StorageUnavailable
from dropsweep.names import (
    ERROR_SUFFIX,
    JOB_FILE_SUFFIXES,
    NAME_RULE,
    RUNS,
    SCHEDULE_STATES,
    SCHEDULES,
    ScheduleKey,
)
from dropsweep.records.schedule import ScheduleRecord, ScheduleSummary, TickOutcome, TickRecord
from dropsweep.schedules import LATE_S, CatchUp, Plan, due_times, plan
from dropsweep.settings import Settings
from dropsweep.spec import MAX_JOB_FILE_BYTES
from dropsweep.spec.schedule import Schedule, ScheduleReading, read_schedule
from dropsweep.steps._due import begun, carry_out, error_path, job_file, pending, read_record, tell, write_record
from dropsweep.steps.steer import too_large
from dropsweep.storage import Blob, Head, Listed, Store

_log = logging.getLogger(__name__)
_LOOKERS: Final = 8


@dataclass(frozen=True, slots=True)
class Ticked:
    """What one pass came upon.

    Attributes:
        num_schedules: files that are schedules.
        num_submitted, num_skipped, num_missed, num_refused: due times by what became of them.
        num_failed: schedules that could not be looked at; the log tells why.
    """

    num_schedules: int = 0
    num_submitted: int = 0
    num_skipped: int = 0
    num_missed: int = 0
    num_refused: int = 0
    num_failed: int = 0


def tick(store: Store, settings: Settings, *, now: datetime | None = None) -> Ticked:
    """Makes one pass over all schedules.

    Args:
        store: the storage account.
        settings: the deployment's clusters.
        now: the time; None: the storage service's.

    Raises:
        StorageUnavailable: the pass ends here; the next one does what is left.
    """
    listed = list(store.blobs.files(SCHEDULES, ""))
    files = _schedule_files(listed)
    states = {
        ScheduleKey.of_file(found.name.removeprefix(SCHEDULE_STATES)): found
        for found in store.blobs.list(RUNS, SCHEDULE_STATES, metadata=True)
    }
    _tell_misplaced(store, listed, files)
    keys = sorted({*files, *(key for key in states if key is not None)})
    if now is None:
        now = _time(store, files, states.values())
    waiting = [key for key in keys if now is not None and _is_waiting(key, files.get(key), states.get(key), now)]
    outcomes: Counter[TickOutcome] = Counter()
    num_failed = 0
    with ThreadPoolExecutor(_LOOKERS, thread_name_prefix="tick") as pool:
        looked = {key: pool.submit(_look, store, settings, key, files.get(key, []), now) for key in waiting if now}
        for key, future in looked.items():
            try:
                for done in future.result():
                    outcomes[done.outcome] += done.num
            except Exception as error:
                if isinstance(error, StorageUnavailable):
                    pool.shutdown(cancel_futures=True)
                    raise
                _log.exception("tick: %s cannot be looked at; the others are", key.path)
                num_failed += 1
    made = Ticked(
        len(files),
        outcomes[TickOutcome.SUBMITTED],
        outcomes[TickOutcome.SKIPPED],
        outcomes[TickOutcome.MISSED],
        outcomes[TickOutcome.REFUSED],
        num_failed,
    )
    _log.info("tick: %s", made)
    return made


def _schedule_files(listed: Iterable[Listed]) -> dict[ScheduleKey, list[Listed]]:
    """The files of each schedule; more than one where names differ in their ending only."""
    files: dict[ScheduleKey, list[Listed]] = {}
    for found in listed:
        key = ScheduleKey.of_file(found.name)
        if key is not None:
            files.setdefault(key, []).append(found)
    return files


def _tell_misplaced(store: Store, listed: list[Listed], files: dict[ScheduleKey, list[Listed]]) -> None:
    """Tells of files that lie where no schedule can, and removes what was told of files that are gone."""
    told = {found.name for found in listed if found.name.endswith(ERROR_SUFFIX)}
    meant = {key.error for key in files}
    for found in listed:
        if found.name in told or ScheduleKey.of_file(found.name) is not None:
            continue
        path = error_path(found.name)
        meant.add(path)
        if path not in told:
            rule = (
                f"a schedule lies at {{workspace}}/{{name}} and ends in {', '.join(JOB_FILE_SUFFIXES)}; "
                f"both parts are {NAME_RULE}"
            )
            shown = f"{SCHEDULES}/{found.name}"
            tell(store, path, found.name, (Problem("", shown, rule, "Move or rename the file"),))
    for path in sorted(told - meant):
        store.blobs.delete(SCHEDULES, path)


def _time(store: Store, files: dict[ScheduleKey, list[Listed]], states: Iterable[Listed]) -> datetime | None:
    """The storage service's time, which every answer about one blob carries; None when there is nothing to ask for."""
    for container, name in (
        *((RUNS, state.name) for state in states),
        *((SCHEDULES, file.name) for found in files.values() for file in found),
    ):
        head = store.blobs.head(container, name)
        if head is not None:
            return head.served
    return None


def _is_waiting(key: ScheduleKey, files: list[Listed] | None, state: Listed | None, now: datetime) -> bool:
    """True when there is something to do; told from the two lists alone."""
    if state is None or not files:
        return True
    try:
        known = ScheduleSummary.from_metadata(key, state.metadata)
    except StorageCorrupt:
        return True
    if known.num_pending or known.etag != _version(*files):
        return True
    is_off = known.is_paused or known.is_broken or not known.is_enabled
    return not is_off and known.next_due is not None and known.next_due <= now


def _look(store: Store, settings: Settings, key: ScheduleKey, files: list[Listed], now: datetime) -> list[TickRecord]:
    """Looks at one schedule: carries out what is pending, takes the due times whose turn has come, carries them out."""
    done: list[TickRecord] = []
    found = read_record(store, key)
    if found is not None and found[0].pending:
        done = carry_out(store, settings, key)
        found = read_record(store, key)
    blob = store.blobs.read(SCHEDULES, files[0].name) if files and files[0].size_bytes <= MAX_JOB_FILE_BYTES else None
    if not files or (blob is None and files[0].size_bytes <= MAX_JOB_FILE_BYTES):
        if found is not None:
            store.blobs.delete(RUNS, key.state, etag=found[1].etag)
        return done
    head = blob or store.blobs.head(SCHEDULES, files[0].name)
    if head is None:
        return done
    record, etag = (found[0], found[1].etag) if found else (begun(key, head), "")
    reading = _read(settings, key, files, blob)
    version = _version(head) if len(files) == 1 else _version(*files)
    errors = reading.problems if reading.schedule is None else ()
    if record.is_broken != bool(errors) or (record.etag and record.etag != version):
        tell(store, key.error, key.path, errors)
    made = _taken(store, record, reading, version, head.modified, now)
    if made != record and not write_record(store, made, etag):
        return done  # another pass was faster, and does the rest
    return done + (carry_out(store, settings, key) if made.pending else [])


def _version(*files: Listed | Head) -> str:
    """Tells the files of a schedule, as they stand, from any others."""
    return "+".join(file.etag.strip('"') for file in files)


def _read(settings: Settings, key: ScheduleKey, files: list[Listed], blob: Blob | None) -> ScheduleReading:
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        rule = "a schedule has one file"
        return ScheduleReading(None, (Problem("", names, rule, "Remove all but one of them"),))
    if blob is None:
        return ScheduleReading(None, (too_large(files[0].size_bytes),))
    return read_schedule(blob.body, file_name=files[0].name, key=key, clusters=settings.clusters)


def _taken(
    store: Store, record: ScheduleRecord, reading: ScheduleReading, version: str, modified: datetime, now: datetime
) -> ScheduleRecord:
    """Returns the record with the due times taken whose turn has come, and the next one found."""
    schedule = reading.schedule
    if schedule is None:
        return replace(record, etag=version, next_due=None, is_broken=True, problems=reading.problems)
    is_changed = bool(record.etag) and record.etag != version
    after = record.until
    left: tuple[datetime, ...] = ()
    if is_changed or record.is_broken:
        # What the file says now is no reason for jobs of the time before; what was due by its old content still is.
        after = max(after, modified)
        if record.next_due is not None and record.next_due <= min(modified, now) and _is_on(record, schedule):
            left = (record.next_due,)
    kept = () if record.is_broken or is_changed else record.problems
    record = replace(record, etag=version, is_broken=False, is_enabled=schedule.is_enabled, problems=kept)
    trigger, anchor = schedule.trigger, record.anchor
    if not _is_on(record, schedule):
        upcoming = next(due_times(trigger, anchor=anchor, after=max(after, now)), None)
        return replace(record, until=after, next_due=upcoming)
    made = plan(trigger, anchor=anchor, after=after, now=now, catch_up=schedule.catch_up)
    if left and (schedule.catch_up is not CatchUp.NONE or left[0] > now - timedelta(seconds=LATE_S)):
        made = Plan((*left, *made.run), made.missed)
    last = max([after, *made.run, *([made.missed.last] if made.missed else [])])
    record = replace(record, until=last, next_due=next(due_times(trigger, anchor=anchor, after=last), None))
    if not made.run and made.missed is None:
        return record
    turn = pending(schedule, job_file(store, schedule), made.run)
    if made.missed is not None:
        missed = made.missed
        turn = replace(turn, missed_first=missed.first, missed_last=missed.last, num_missed=missed.num)
    return replace(record, pending=(*record.pending, turn))


def _is_on(record: ScheduleRecord, schedule: Schedule) -> bool:
    return schedule.is_enabled and record.is_enabled and not record.is_paused
