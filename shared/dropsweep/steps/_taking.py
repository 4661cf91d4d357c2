"""Which due times of a schedule have come: from its record, and from its file as a look finds it.

What a file said holds until the moment at which it was written anew, whenever the timer looks: due times up to then
follow its old trigger, later ones the new one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from dropsweep.clusters import Cluster
from dropsweep.errors import Problem
from dropsweep.names import SCHEDULES, ScheduleKey
from dropsweep.records.schedule import Pending, ScheduleRecord
from dropsweep.schedules import CatchUp, Overlap, Span, due_times, plan_over
from dropsweep.spec import MAX_JOB_FILE_BYTES
from dropsweep.spec.schedule import Schedule, ScheduleReading, read_schedule
from dropsweep.spec.triggers import read_trigger
from dropsweep.steps._due import job_file, pending
from dropsweep.storage import Head, Listed, Store


@dataclass(frozen=True, slots=True)
class Looked:
    """A schedule's file, as a look finds it.

    Attributes:
        version: tells it from any other content, and from two files of one name.
        modified: when it was written; of two files, the later one.
        served: when it was looked at, by the storage service's clock.
        reading: what came of it.
    """

    version: str
    modified: datetime
    served: datetime
    reading: ScheduleReading


def look_at(
    store: Store, key: ScheduleKey, files: Sequence[Listed], clusters: Sequence[Cluster] | None = None
) -> Looked | None:
    """Reads the file of a schedule; one request.

    Args:
        store: the storage account.
        key: the schedule.
        files: its files, of which there should be one.
        clusters: the clusters that are served; None: they are not known.

    Returns:
        What was found; None when there is no file, or none any more.
    """
    if not files:
        return None
    is_large = files[0].size_bytes > MAX_JOB_FILE_BYTES
    if len(files) > 1 or is_large:
        head = store.blobs.head(SCHEDULES, files[0].name)
        problem = _two_files(files) if len(files) > 1 else too_large(files[0].size_bytes)
        reading = ScheduleReading(None, (problem,))
        modified = max(file.modified for file in files)
        return None if head is None else Looked(version_of(*files), modified, head.served, reading)
    blob = store.blobs.read(SCHEDULES, files[0].name)
    if blob is None:
        return None
    reading = read_schedule(blob.body, file_name=files[0].name, key=key, clusters=clusters)
    return Looked(version_of(blob), blob.modified, blob.served, reading)


def version_of(*files: Listed | Head) -> str:
    """Tells the files of a schedule, as they stand, from any others."""
    return "+".join(file.etag.strip('"') for file in files)


def too_large(size_bytes: int) -> Problem:
    """Returns the problem with a file of more bytes than one may have."""
    rule = f"a schedule file holds at most {MAX_JOB_FILE_BYTES} bytes"
    return Problem("", f"{size_bytes} bytes", rule, "Put data and code into storage and name their paths")


def begun(key: ScheduleKey, modified: datetime) -> ScheduleRecord:
    """Returns the record of a schedule that nothing has looked at yet: it begins when its file was written."""
    return ScheduleRecord(key, "", modified, modified - timedelta(seconds=1))


def is_changed(record: ScheduleRecord, looked: Looked) -> bool:
    """True when the file is another one than that which was looked at last."""
    return bool(record.etag) and record.etag != looked.version


def spans(record: ScheduleRecord, looked: Looked, now: datetime) -> tuple[Span, ...]:
    """Returns the stretches of time up to `now` in which the schedule was on and nobody has looked at its due times."""
    found = []
    schedule = looked.reading.schedule
    anchor = record.anchor
    if schedule is None or is_changed(record, looked):
        # A file that is broken without having been written, by a setting, is so since a moment that nobody knows.
        end = min(looked.modified, now) if is_changed(record, looked) else now
        old = read_trigger(record.trigger)[0] if record.trigger is not None else None
        if old is not None and not record.is_broken and record.is_enabled and not record.is_paused:
            found.append(Span(old.trigger, anchor, record.until, end))
    if schedule is not None and schedule.is_enabled and not record.is_paused:
        found.append(Span(schedule.trigger, anchor, begin(record, looked, now), now))
    return tuple(found)


def begin(record: ScheduleRecord, looked: Looked, now: datetime) -> datetime:
    """Returns from when on, that moment excluded, a sound file holds."""
    if record.is_broken:
        # Mended by being written; or by a setting, or by the removal of another file, at a moment that nobody knows.
        return looked.modified if looked.modified >= record.until else max(record.until, now)
    return max(record.until, looked.modified) if is_changed(record, looked) else record.until


def come(store: Store, record: ScheduleRecord, looked: Looked, now: datetime) -> ScheduleRecord:
    """Returns the record with the due times pending whose turn has come; what it says of the file stays.

    The file's policies and its job, as they are now, go for all of them. A file that is broken has no job: they are
    refused, for what is wrong with it.
    """
    schedule = looked.reading.schedule
    catch_up = CatchUp(record.catch_up) if schedule is None else schedule.catch_up
    made = plan_over(spans(record, looked, now), now=now, catch_up=catch_up)
    if not made.run and made.missed is None:
        return record
    turn = _turn(store, record, looked, schedule, made.run)
    if made.missed is not None:
        missed = made.missed
        turn = replace(turn, missed_first=missed.first, missed_last=missed.last, num_missed=missed.num)
    until = max([record.until, *made.run, *([made.missed.last] if made.missed else [])])
    return replace(record, until=until, pending=(*record.pending, turn))


def looked_at(store: Store, record: ScheduleRecord, looked: Looked, now: datetime) -> ScheduleRecord:
    """Returns the record with the due times pending whose turn has come, and with what the file says now."""
    made = come(store, record, looked, now)
    schedule, problems = looked.reading.schedule, looked.reading.problems
    if schedule is None:
        until = max(made.until, now)
        return replace(made, etag=looked.version, until=until, next_due=None, is_broken=True, problems=problems)
    until = max(made.until, begin(record, looked, now))
    is_on = schedule.is_enabled and not record.is_paused
    upcoming = due_times(schedule.trigger, anchor=record.anchor, after=until if is_on else max(until, now))
    return replace(
        made,
        etag=looked.version,
        until=until,
        next_due=next(upcoming, None),
        trigger=dict(schedule.given),
        catch_up=str(schedule.catch_up),
        is_enabled=schedule.is_enabled,
        is_broken=False,
        problems=() if record.is_broken or is_changed(record, looked) else record.problems,
    )


def _turn(
    store: Store, record: ScheduleRecord, looked: Looked, schedule: Schedule | None, dues: tuple[datetime, ...]
) -> Pending:
    if schedule is None:
        return Pending(dues, Overlap.ALLOW, record.key.name, None, looked.reading.problems)
    return pending(schedule, job_file(store, schedule), dues)


def _two_files(files: Sequence[Listed]) -> Problem:
    names = ", ".join(file.name for file in files)
    return Problem("", names, "a schedule has one file", "Remove all but one of them")
