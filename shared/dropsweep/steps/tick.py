"""Tick: the timer's look at all schedules; a due time becomes one job, however often and by whomever it is looked at.

Reads: the list of schedule files, and that of their records; for a schedule that is due, new or changed, and for a
    broken one each few minutes, its file, its record, and the job file that it refers to.
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
from dataclasses import dataclass
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
from dropsweep.records.schedule import ScheduleSummary, TickOutcome, TickRecord
from dropsweep.settings import Settings
from dropsweep.steps._due import carry_out, error_path, read_record, tell, write_record
from dropsweep.steps._taking import begun, is_changed, look_at, looked_at, version_of
from dropsweep.storage import Listed, Store

_log = logging.getLogger(__name__)
BROKEN_LOOK_S: Final = 300.0
"""A broken schedule is looked at again after so long, though nobody has written its file anew."""
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
    has_news = made != Ticked(made.num_schedules)
    _log.log(logging.INFO if has_news else logging.DEBUG, "tick: %s", made)
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
    if known.num_pending or known.etag != version_of(*files):
        return True
    if known.is_broken:
        # A setting of the deployment, or another version of this program, may have mended it.
        return known.until + timedelta(seconds=BROKEN_LOOK_S) <= now
    is_off = known.is_paused or not known.is_enabled
    return not is_off and known.next_due is not None and known.next_due <= now


def _look(store: Store, settings: Settings, key: ScheduleKey, files: list[Listed], now: datetime) -> list[TickRecord]:
    """Looks at one schedule: carries out what is pending, takes the due times whose turn has come, carries them out."""
    done: list[TickRecord] = []
    found = read_record(store, key)
    if found is not None and found[0].pending:
        done = carry_out(store, settings, key)
        found = read_record(store, key)
    looked = look_at(store, key, files, settings.clusters)
    if looked is None:
        # One of two files that goes leaves the other.
        if found is not None and len(files) < 2:
            store.blobs.delete(RUNS, key.state, etag=found[1].etag)
        return done
    record, etag = (found[0], found[1].etag) if found else (begun(key, looked.modified), "")
    errors = looked.reading.problems if looked.reading.schedule is None else ()
    is_news = record.is_broken != bool(errors) or (bool(errors) and errors != record.problems)
    if is_news or is_changed(record, looked):
        tell(store, key.error, key.path, errors)
    made = looked_at(store, record, looked, now)
    if made != record and not write_record(store, made, etag):
        return done  # another pass was faster, and does the rest
    return done + (carry_out(store, settings, key) if made.pending else [])
