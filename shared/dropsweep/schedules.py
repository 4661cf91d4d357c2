"""When a schedule is due: a pure function of its trigger, with no clock of its own.

Three rhythms. A cron expression is read by `cronsim`. A recurrence by minutes or hours counts real time from its start.
A recurrence by days, weeks or months counts days of a calendar in its time zone and has times of day.

Where clocks are put forward or back, times of day (a calendar, and a cron expression neither of whose first two fields
starts with `*`) keep their number of runs: what falls into the hour that is left out is due right after it, once; what
falls into the hour that comes twice is due the first time. A cron expression with a `*` in front of one of the two
fields is due whenever the clock on the wall shows its times: not in the hour that is left out, in both that come twice.

Source:
    The rule for cron expressions is Debian's (cron(8), "Debian Specific Information"), which `cronsim` follows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from heapq import heappop, heappush
from itertools import chain, islice
from typing import Final, assert_never
from zoneinfo import ZoneInfo

from cronsim import CronSim

MAX_CATCH_UP: Final = 100
"""Missed due times that `all` makes up for, the latest of them."""
LATE_S: Final = 300.0
"""A due time that was not dealt with for so long is missed; the timer fires each minute."""
MAX_COUNTED: Final = 1000
"""Missed due times beyond it are not counted."""
_HORIZON_YEARS: Final = 50
"""A calendar without a due time for so long has none; `cronsim` gives up after as many years."""
_SECOND: Final = timedelta(seconds=1)
_LONGEST_CHANGE: Final = timedelta(hours=26)
"""No clock is ever put back by more: that is a change of the date."""


class Unit(StrEnum):
    """What a calendar counts."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class CatchUp(StrEnum):
    """What becomes of due times that were missed."""

    LATEST = "latest"
    ALL = "all"
    NONE = "none"


class Overlap(StrEnum):
    """What happens when a due time comes while an earlier job of the schedule is live."""

    ALLOW = "allow"
    SKIP = "skip"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression of five fields: minute, hour, day of the month, month, day of the week.

    Attributes:
        expression: the five fields.
        zone: IANA name of the time zone in which they are read.
    """

    expression: str
    zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Every:
    """Real time: from the schedule's start on, each so many seconds, whatever the clocks on walls do."""

    interval_s: int


@dataclass(frozen=True, slots=True)
class Calendar:
    """Each so many days, weeks or months, counted from the one in which the schedule starts, at times of day.

    Attributes:
        unit: what is counted; a week starts on Monday.
        interval: how many of them make a period; its first day, week or month is the one with due times.
        zone: IANA name of the time zone.
        times: times of day, ascending; empty: that of the start.
        weekdays: 0 (Monday) to 6, ascending; empty: no such rule.
        month_days: 1 to 31, ascending; a month without such a day has no due time on it. Empty: no such rule. Without
            either rule it is the start's own day of the week or month.
    """

    unit: Unit
    interval: int
    zone: str = "UTC"
    times: tuple[time, ...] = ()
    weekdays: tuple[int, ...] = ()
    month_days: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Trigger:
    """When a schedule is due.

    Attributes:
        rhythm: how its due times follow each other.
        start: no due time is before it; None: when the schedule was handed in.
        end: no due time is after it; None: it goes on.
    """

    rhythm: Cron | Every | Calendar
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, (`after`, `until`], in which a schedule has one trigger.

    Attributes:
        trigger: when the schedule is due.
        anchor: when it was handed in.
        after, until: the bounds; there is no due time where `until` is not later.
    """

    trigger: Trigger
    anchor: datetime
    after: datetime
    until: datetime

    def due_times(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Yields the due times in the span and in (`after`, `until`], ascending."""
        after, until = max(after, self.after), min(until, self.until)
        return due_times(self.trigger, anchor=self.anchor, after=after, until=until) if after < until else iter(())


@dataclass(frozen=True, slots=True)
class Missed:
    """Due times that nobody will make up for.

    Attributes:
        num: how many from `first` to `last`; `MAX_COUNTED` stands for as many or more.
    """

    first: datetime
    last: datetime
    num: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What one look at a schedule shall do: run some due times, ascending, and give up others."""

    run: tuple[datetime, ...] = ()
    missed: Missed | None = None


def due_times(
    trigger: Trigger, *, anchor: datetime, after: datetime, until: datetime | None = None
) -> Iterator[datetime]:
    """Yields the due times in (`after`, `until`], ascending, none twice, in UTC; without `until` possibly for ever.

    Args:
        trigger: when the schedule is due.
        anchor: when it was handed in: its start, where the trigger has none.
        after: aware, as the other times are.
        until: the last moment; None: none.

    Raises:
        CronSimError: the expression is none; the reader of schedule files tells of it.
    """
    start = trigger.start or anchor
    after = max(after, start - _SECOND)
    end = min((moment for moment in (trigger.end, until) if moment is not None), default=None)
    last = after
    try:
        for due in _rhythm(trigger.rhythm, start, after, end):
            if end is not None and due > end:
                return
            # What falls into an hour that is left out is moved behind it, onto what may be due there anyway; and an
            # hour that comes twice is told from its first time by the order alone.
            if due > last:
                yield due
                last = due
    except (OverflowError, _CalendarEnds):
        return


def plan(trigger: Trigger, *, anchor: datetime, after: datetime, now: datetime, catch_up: CatchUp) -> Plan:
    """Decides, as `plan_over`, what becomes of the due times of one trigger in (`after`, `now`]."""
    return plan_over((Span(trigger, anchor, after, now),), now=now, catch_up=catch_up)


def plan_over(spans: Sequence[Span], *, now: datetime, catch_up: CatchUp) -> Plan:
    """Decides which of the due times in some spans run, and which are given up.

    A due time that is more than `LATE_S` old is missed. All that are not missed run. With `latest`, when one was
    missed, only the latest due time of all runs; with `all`, the latest `MAX_CATCH_UP` missed ones run too.

    Args:
        spans: ascending; none overlaps another.
        now: no due time after it is looked at.
        catch_up: the policy, for all of them.
    """
    if not spans:
        return Plan()
    after = spans[0].after
    edge = max(after, min(now, now - timedelta(seconds=LATE_S)))
    on_time = tuple(_dues(spans, edge, now))
    late = _latest(spans, after, edge, MAX_CATCH_UP + 1) if edge > after else ()
    if not late:
        return Plan(on_time)
    match catch_up:
        case CatchUp.NONE:
            made_up: tuple[datetime, ...] = ()
        case CatchUp.LATEST:
            made_up = () if on_time else late[-1:]
            on_time = on_time[-1:]
        case CatchUp.ALL:
            made_up = late[-MAX_CATCH_UP:]
        case _:
            assert_never(catch_up)
    run = (*made_up, *on_time)
    stop = made_up[0] - _SECOND if made_up else (on_time[0] - _SECOND if catch_up is CatchUp.LATEST else edge)
    given_up = _latest(spans, after, stop, 1)
    if not given_up:
        return Plan(run)
    counted = [*islice(_dues(spans, after, stop), MAX_COUNTED)]
    return Plan(run, Missed(counted[0], given_up[0], len(counted)))


def latest(trigger: Trigger, *, anchor: datetime, after: datetime, until: datetime, num: int) -> tuple[datetime, ...]:
    """Returns the last `num` due times in (`after`, `until`], ascending; a year of minutes costs no more than an hour.

    The window before `until` is doubled until it holds enough.
    """
    return _latest((Span(trigger, anchor, after, until),), after, until, num)


def _dues(spans: Sequence[Span], after: datetime, until: datetime) -> Iterator[datetime]:
    return chain.from_iterable(span.due_times(after, until) for span in spans)


def _latest(spans: Sequence[Span], after: datetime, until: datetime, num: int) -> tuple[datetime, ...]:
    window = timedelta(hours=1)
    while True:
        since = max(after, until - window) if until - after > window else after
        found = tuple(_dues(spans, since, until))
        if len(found) >= num or since == after:
            return found[-num:]
        window *= 2


def instant(local: datetime, zone: ZoneInfo) -> datetime:
    """Returns when a clock on a wall shows `local`, in UTC.

    Args:
        local: a time without a time zone.
        zone: where the wall is.

    Returns:
        The first of two such moments; the end of the gap where clocks are put forward over it.
    """
    while True:
        moment = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
        if moment.astimezone(zone).replace(tzinfo=None) == local:
            return moment
        local = (local + timedelta(minutes=1)).replace(second=0)


def _rhythm(
    rhythm: Cron | Every | Calendar, start: datetime, after: datetime, end: datetime | None
) -> Iterator[datetime]:
    match rhythm:
        case Cron():
            if rhythm.zone == "UTC":
                return CronSim(rhythm.expression, after.astimezone(UTC))
            zone = ZoneInfo(rhythm.zone)
            if any(field.startswith("*") for field in rhythm.expression.split()[:2]):
                return _on_the_wall(rhythm.expression, zone, after)
            return (due.astimezone(UTC) for due in CronSim(rhythm.expression, after.astimezone(zone)))
        case Every():
            return _every(rhythm, start, after)
        case Calendar():
            return _calendar(rhythm, start, after, end)
        case _:
            assert_never(rhythm)


def _on_the_wall(expression: str, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Yields each moment at which a clock on a wall shows a time of the expression: none in a gap, two in an overlap.

    `cronsim` walks times without a zone here. Through changes of the clock it steps by whole hours of real time, and
    after a change of half an hour it loses due times (2.8, `advance_hour`).
    """
    shown, later = (moment.astimezone(zone).replace(tzinfo=None) for moment in (after, after + _LONGEST_CHANGE))
    # Clocks that are about to be put back will show again what they have shown already.
    put_back = max(timedelta(0), shown + _LONGEST_CHANGE - later)
    waiting: list[datetime] = []
    for local in CronSim(expression, shown - put_back):
        first, second = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        if first.astimezone(zone).replace(tzinfo=None) != local:
            continue
        for moment in {first, second}:
            heappush(waiting, moment)
        # All times to come are later than this one is the first time that it is shown.
        while waiting and waiting[0] <= first:
            yield heappop(waiting)


def _every(rhythm: Every, start: datetime, after: datetime) -> Iterator[datetime]:
    interval = timedelta(seconds=rhythm.interval_s)
    number = max(0, (after - start) // interval + 1)
    while True:
        yield (start + number * interval).astimezone(UTC)
        number += 1


class _CalendarEnds(Exception):
    """The calendar of this program ends with the year 9999."""


def _calendar(rhythm: Calendar, start: datetime, after: datetime, end: datetime | None) -> Iterator[datetime]:
    zone = ZoneInfo(rhythm.zone)
    first = start.astimezone(zone)
    today = after.astimezone(zone).date()
    times = rhythm.times or (first.time().replace(tzinfo=None, fold=0, microsecond=0),)
    last_year = max(today.year, first.year) + _HORIZON_YEARS
    number = _period_before(rhythm, first.date(), today)
    while True:
        days = _days(rhythm, first.date(), number)
        number += 1
        for day in days:
            # A day early: a date is another one elsewhere.
            if day < today - timedelta(days=1):
                continue
            if day.year > last_year or (end is not None and day > end.astimezone(zone).date() + timedelta(days=1)):
                return
            for moment in times:
                yield instant(datetime.combine(day, moment), zone)
                last_year = day.year + _HORIZON_YEARS
        if not days and _month(rhythm, first.date(), number)[0] > last_year:
            return


def _period_before(rhythm: Calendar, first: date, today: date) -> int:
    """The number of a period that is not after yesterday's, from 0; found without walking there."""
    match rhythm.unit:
        case Unit.DAY:
            passed = (today - first).days - 1
        case Unit.WEEK:
            passed = (today - _monday(first)).days // 7 - 1
        case Unit.MONTH:
            passed = (today.year - first.year) * 12 + today.month - first.month - 1
        case _:
            assert_never(rhythm.unit)
    return max(0, passed // rhythm.interval)


def _days(rhythm: Calendar, first: date, number: int) -> list[date]:
    """The days of period `number`, ascending."""
    match rhythm.unit:
        case Unit.DAY:
            return [first + timedelta(days=number * rhythm.interval)]
        case Unit.WEEK:
            monday = _monday(first) + timedelta(weeks=number * rhythm.interval)
            return [monday + timedelta(days=day) for day in rhythm.weekdays or (first.weekday(),)]
        case Unit.MONTH:
            year, month = _month(rhythm, first, number)
            all_days = _days_of_month(year, month)
            if rhythm.weekdays:
                return [day for day in all_days if day.weekday() in rhythm.weekdays]
            wanted = rhythm.month_days or (first.day,)
            return [day for day in all_days if day.day in wanted]
        case _:
            assert_never(rhythm.unit)


def _month(rhythm: Calendar, first: date, number: int) -> tuple[int, int]:
    years, month = divmod(first.month - 1 + (number * rhythm.interval if rhythm.unit is Unit.MONTH else 0), 12)
    if first.year + years > date.max.year:
        raise _CalendarEnds
    return first.year + years, month + 1


def _days_of_month(year: int, month: int) -> list[date]:
    first = date(year, month, 1).toordinal()
    after = date(year + month // 12, month % 12 + 1, 1).toordinal() if (year, month) != (9999, 12) else first + 31
    return [date.fromordinal(day) for day in range(first, after)]


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())
