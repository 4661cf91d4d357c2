"""Schedules, as the people see them who use them: what there is, what comes next, what became of the last ones.

The functions work on the storage; `timetable` gives the same for whatever a client works on.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Final

from dropsweep.errors import DropsweepError, Problem, SpecError
from dropsweep.names import RUNS, SCHEDULE_STATES, SCHEDULES, JobKey, ScheduleKey
from dropsweep.records.schedule import ScheduleRecord, ScheduleSummary, TickOutcome, TickRecord
from dropsweep.storage import Store

if TYPE_CHECKING:
    from dropsweep.settings import Settings
    from dropsweep.spec.schedule import Schedule

# Reading a schedule file brings pydantic with it, which a list does not need: imported where it is called.

MAX_NUM_NEXT: Final = 1000
"""Due times to come that one question may ask for."""


class ScheduleState(StrEnum):
    """How a schedule stands."""

    NEW = "new"
    """The timer has not looked at its file yet; it does so each minute."""
    ACTIVE = "active"
    PAUSED = "paused"
    """A person paused it."""
    DISABLED = "disabled"
    """Its file says `is_enabled: false`."""
    BROKEN = "broken"
    """Its file has errors; no due time is looked for."""
    ENDED = "ended"
    """It has no due time any more."""


@dataclass(frozen=True, slots=True)
class ListedSchedule:
    """One schedule of a list.

    Attributes:
        key: the schedule.
        state: how it stands.
        next_due: its next due time in UTC; None without one, and while it is paused.
        num_problems: what is wrong with its file, or with the last job that was made of it.
        file: path of its file in the container `schedules`.
    """

    key: ScheduleKey
    state: ScheduleState
    next_due: datetime | None
    num_problems: int
    file: str


@dataclass(frozen=True, slots=True)
class ShownSchedule:
    """One schedule with all that is known of it.

    Attributes:
        key, state, next_due, file: as in a list.
        display_name, description, tags: as its file says.
        trigger: when it is due, in a few words.
        time_zone: IANA name of the time zone of its trigger.
        start, end: bounds of its due times; None without one.
        catch_up, overlap: its policies.
        problems: what is wrong with its file, or with the last job that was made of it.
        counts: due times by what became of them.
        ticks: the latest due times with their jobs, newest first.
    """

    key: ScheduleKey
    state: ScheduleState
    next_due: datetime | None
    file: str
    display_name: str
    description: str
    tags: Mapping[str, str]
    trigger: str
    time_zone: str
    start: datetime | None
    end: datetime | None
    catch_up: str
    overlap: str
    problems: tuple[Problem, ...]
    counts: Mapping[TickOutcome, int]
    ticks: tuple[TickRecord, ...]


def schedules(store: Store, workspace: str | None = None) -> list[ListedSchedule]:
    """Lists the schedules in the order of their paths; two storage operations, whatever their number.

    Args:
        store: the storage account.
        workspace: this workspace alone; None: all.
    """
    prefix = f"{workspace}/" if workspace else ""
    known = {
        key: ScheduleSummary.from_metadata(key, found.metadata)
        for found in store.blobs.list(RUNS, f"{SCHEDULE_STATES}{prefix}", metadata=True)
        if (key := ScheduleKey.of_file(found.name.removeprefix(SCHEDULE_STATES))) is not None
    }
    listed: dict[ScheduleKey, ListedSchedule] = {}
    for found in store.blobs.files(SCHEDULES, prefix):
        key = ScheduleKey.of_file(found.name)
        if key is not None and key not in listed:
            listed[key] = _listed(key, found.name, known.get(key))
    return [listed[key] for key in sorted(listed)]


def schedule(store: Store, key: ScheduleKey, *, num_ticks: int = 10) -> ShownSchedule:
    """Returns one schedule with its latest due times.

    Args:
        store: the storage account.
        key: the schedule.
        num_ticks: due times that are shown, the latest ones.

    Raises:
        NotFoundError: there is no such schedule.
    """
    from dropsweep.spec.schedule import read_schedule

    file, body = _file(store, key)
    reading = read_schedule(body, file_name=file, key=key)
    record = _record(store, key)
    listed = _listed(key, file, ScheduleSummary.from_metadata(key, record.to_metadata()) if record else None)
    found = reading.schedule
    problems = record.problems if record is not None and record.problems else reading.problems
    return ShownSchedule(
        key=key,
        state=ScheduleState.BROKEN if found is None else listed.state,
        next_due=listed.next_due,
        file=file,
        display_name=found.display_name if found else key.name,
        description=found.description if found else "",
        tags=found.tags if found else {},
        trigger=found.words if found else "",
        time_zone=found.time_zone if found else "",
        start=found.trigger.start if found else None,
        end=found.trigger.end if found else None,
        catch_up=str(found.catch_up) if found else "",
        overlap=str(found.overlap) if found else "",
        problems=problems,
        counts=record.counts if record else {},
        ticks=tuple(ticks(store, key, record, num_ticks)),
    )


def ticks(store: Store, key: ScheduleKey, record: ScheduleRecord | None, num: int) -> Iterator[TickRecord]:
    """Yields the latest records of due times, newest first: at most four lists, and one operation for each."""
    if record is None or num <= 0:
        return
    # The last day first, then its month, its year, and all: a due time each minute makes half a million a year.
    day = f"{record.until:%Y%m%d}"
    names: list[str] = []
    for prefix in (day, day[:6], day[:4], ""):
        names = [found.name for found in store.blobs.list(RUNS, f"{key.ticks}{prefix}")]
        if len(names) >= num:
            break
    for name in reversed(names[-num:]):
        blob = store.blobs.read(RUNS, name)
        if blob is not None:
            yield TickRecord.from_json(blob.body)


def pause(store: Store, key: ScheduleKey) -> ScheduleRecord:
    """Pauses a schedule: no later due time becomes a job until it is resumed, and none is made up for then.

    Raises:
        NotFoundError: there is no such schedule. ConflictError: others kept changing its record.
    """
    from dropsweep.steps.steer import pause_schedule

    return pause_schedule(store, key)


def resume(store: Store, key: ScheduleKey) -> ScheduleRecord:
    """Lets a paused schedule go on with its next due time.

    Raises:
        NotFoundError: there is no such schedule. ConflictError: others kept changing its record.
    """
    from dropsweep.steps.steer import resume_schedule

    return resume_schedule(store, key)


def run_now(store: Store, key: ScheduleKey, settings: "Settings | None" = None, *, submission_id: str = "") -> JobKey:
    """Asks for one job of a schedule now, whether it is paused or not and whatever else of it is live.

    Args:
        store: the storage account.
        key: the schedule.
        settings: the deployment's; with them the job is made at once, without them by the timer, within a minute.
        submission_id: what must not happen twice: the same one again gives the same job. Empty: each call makes a job.

    Returns:
        The key of the job that it becomes.

    Raises:
        NotFoundError: there is no such schedule.
        SpecError: its file is broken, or its job is refused; or the submission_id cannot be one.
        ConflictError: others kept changing its record.
    """
    from dropsweep.steps.steer import run_schedule_now

    return run_schedule_now(store, key, settings, submission_id=submission_id)


def next_due(store: Store, key: ScheduleKey, num: int = 10) -> list[datetime]:
    """Returns the next due times in UTC, those after what has been dealt with; of a paused one, as if it were not.

    Args:
        store: the storage account.
        key: the schedule.
        num: how many at most, from 1 to `MAX_NUM_NEXT`.

    Raises:
        NotFoundError: there is no such schedule. SpecError: its file is broken. DropsweepError: `num` is out of range.
    """
    from dropsweep.schedules import due_times

    check_num(num)
    found, handed_in, now = _read(store, key)
    record = _record(store, key)
    anchor = record.anchor if record else handed_in
    after = max(record.until if record else handed_in, now)
    return [*islice(due_times(found.trigger, anchor=anchor, after=after), num)]


def check_num(num: int) -> None:
    """Checks how many due times to come are asked for.

    Raises:
        DropsweepError: the number is out of range.
    """
    if not 1 <= num <= MAX_NUM_NEXT:
        raise DropsweepError(f"{num} due times are asked for: it must be 1 to {MAX_NUM_NEXT}. Correct the number")


def _read(store: Store, key: ScheduleKey) -> "tuple[Schedule, datetime, datetime]":
    """Returns the schedule, when its file was written, and the storage service's time.

    Raises:
        NotFoundError: there is no such schedule. SpecError: its file is broken.
    """
    from dropsweep.spec.schedule import read_schedule
    from dropsweep.steps.steer import schedule_file

    file, blob = schedule_file(store, key)
    reading = read_schedule(blob.body, file_name=file, key=key)
    if reading.schedule is None:
        raise SpecError(reading.problems)
    return reading.schedule, blob.modified, blob.served


def _file(store: Store, key: ScheduleKey) -> tuple[str, bytes]:
    from dropsweep.steps.steer import schedule_file

    file, blob = schedule_file(store, key)
    return file, blob.body


def _record(store: Store, key: ScheduleKey) -> ScheduleRecord | None:
    blob = store.blobs.read(RUNS, key.state)
    return None if blob is None else ScheduleRecord.from_json(blob.body)


def _listed(key: ScheduleKey, file: str, known: ScheduleSummary | None) -> ListedSchedule:
    if known is None or not (known.etag or known.is_paused):
        return ListedSchedule(key, ScheduleState.NEW, None, 0, file)
    if known.is_paused:
        state = ScheduleState.PAUSED
    elif known.is_broken:
        state = ScheduleState.BROKEN
    elif not known.is_enabled:
        state = ScheduleState.DISABLED
    else:
        state = ScheduleState.ACTIVE if known.next_due or known.num_pending else ScheduleState.ENDED
    next_due = known.next_due if state is ScheduleState.ACTIVE else None
    return ListedSchedule(key, state, next_due, known.num_problems, file)
