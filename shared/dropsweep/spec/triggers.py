"""The trigger of a schedule file, read: cron or recurrence, in a time zone, between two times."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import BaseModel, ValidationError

from dropsweep.errors import Problem, Severity
from dropsweep.schedules import Calendar, Cron, Every, Trigger, Unit, due_times, instant
from dropsweep.spec.complaints import to_problems
from dropsweep.spec.problems import error, missing, nearest
from dropsweep.spec.schedule_models import (
    MAX_EXPRESSION_LENGTH,
    WEEKDAYS,
    CronTrigger,
    PatternLists,
    RecurrenceTrigger,
)
from dropsweep.spec.time_zones import iana_name, known_names

_Model = TypeVar("_Model", bound=BaseModel)
_AT: Final = "trigger"
_PATTERN: Final = f"{_AT}.schedule"
_KINDS: Final = ("cron", "recurrence")
_SPELLINGS: Final = {"timezone": "time_zone", "pattern": "schedule"}
"""Keys as Azure ML's reference page spells them, and as its tools read them."""
_PATTERN_SPELLINGS: Final = {"weekdays": "week_days", "weekDays": "week_days", "monthDays": "month_days"}
_LISTS: Final = ("hours", "minutes", "week_days", "month_days")
_SECONDS: Final = {"minute": 60, "hour": 3600}
_FIELDS_RULE: Final = "a cron expression has five fields: minute, hour, day of the month, month, day of the week"
_FIELDS_REMEDY: Final = 'Write five, such as `expression: "30 7 * * MON-FRI"`'
_LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)
_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 9000


@dataclass(frozen=True, slots=True)
class ReadTrigger:
    """What a sound trigger says.

    Attributes:
        trigger: when the schedule is due.
        zone: IANA name of its time zone.
        words: the trigger in a few words.
    """

    trigger: Trigger
    zone: str
    words: str


def read_trigger(given: Any) -> tuple[ReadTrigger | None, list[Problem]]:
    """Reads what stands under `trigger`.

    Returns:
        The trigger, or None where something is wrong with it; and what is wrong.
    """
    if given is None:
        remedy = "Add `trigger`, with `type: cron` or `type: recurrence` under it"
        return None, [missing(_AT, "is required", remedy)]
    if not isinstance(given, Mapping):
        return None, [error(_AT, given, "must be a mapping", "Write `key: value` lines under it")]
    raw, problems = _respelled(given, _SPELLINGS, _AT)
    for key in ("type", "frequency"):
        raw = {**raw, key: _lower(raw[key])} if key in raw else raw
    kind = raw.get("type")
    if kind is None:
        return None, [*problems, missing(f"{_AT}.type", "is required", "Add `type: cron` or `type: recurrence`")]
    if kind not in _KINDS:
        close = nearest(kind, _KINDS) if isinstance(kind, str) else None
        remedy = f"Did you mean `{close}`" if close else "Write one of these"
        return None, [*problems, error(f"{_AT}.type", kind, "must be `cron` or `recurrence`", remedy)]
    pattern, found = _pattern(raw.get("schedule")) if kind == "recurrence" else (None, [])
    problems += found
    shape = {key: value for key, value in raw.items() if key != "schedule" or kind == "cron"}
    model: CronTrigger | RecurrenceTrigger | None
    if kind == "cron":
        model, found = validated(CronTrigger, shape, at=_AT)
    else:
        model, found = validated(RecurrenceTrigger, shape, at=_AT)
    problems += found
    zone, found = _zone(raw.get("time_zone"))
    problems += found
    bounds, found = _bounds(raw, zone)
    problems += found
    problems += _check(raw, pattern)
    if any(one.severity is Severity.ERROR for one in problems) or model is None:
        return None, problems
    read = _trigger(model, pattern, zone, bounds)
    problems += _check_comes(raw, read)
    return (None if any(one.severity is Severity.ERROR for one in problems) else read), problems


def validated(model: type[_Model], raw: Mapping[str, Any], *, at: str = "") -> tuple[_Model | None, list[Problem]]:
    """Validates one mapping of the file; returns None and what is wrong where it has another shape.

    Args:
        model: its shape.
        raw: the mapping.
        at: where in the file it stands.
    """
    try:
        return model.model_validate(raw), []
    except ValidationError as failure:
        return None, [replace(one, path=under(at, one.path)) for one in to_problems(failure, model, raw)]


def under(at: str, path: str) -> str:
    """Returns the path in the file of what has `path` in the mapping at `at`."""
    return path if not at else f"{at}.{path}" if path else at


def _lower(value: Any) -> Any:
    if isinstance(value, list):
        return [_lower(member) for member in value]
    return value.lower() if isinstance(value, str) else value


def _respelled(given: Mapping[str, Any], spellings: Mapping[str, str], at: str) -> tuple[dict[str, Any], list[Problem]]:
    raw, problems = dict(given), []
    for spelling, key in spellings.items():
        if spelling in raw:
            if key in raw:
                rule = f"says the same as `{key}`, which is there too"
                problems.append(error(f"{at}.{spelling}", raw[spelling], rule, "Remove one of them"))
            raw = {**raw, key: raw[spelling]}
            del raw[spelling]
    return raw, problems


def _pattern(given: Any) -> tuple[PatternLists | None, list[Problem]]:
    if given is None:
        return None, []
    if not isinstance(given, Mapping):
        return None, [error(_PATTERN, given, "must be a mapping", "Write `hours` and `minutes` under it")]
    raw, problems = _respelled(given, _PATTERN_SPELLINGS, _PATTERN)
    raw = {**raw, "week_days": _lower(raw["week_days"])} if "week_days" in raw else raw
    single = [key for key in _LISTS if key in raw and not isinstance(raw[key], list | dict | None)]
    for key in _LISTS:
        if raw.get(key) == []:
            rule = "must not be empty"
            problems.append(error(f"{_PATTERN}.{key}", [], rule, "Write at least one, or remove the key"))
    pattern, found = validated(PatternLists, {**raw, **{key: [raw[key]] for key in single}}, at=_PATTERN)
    members = {f"{_PATTERN}.{key}[0]": f"{_PATTERN}.{key}" for key in single}
    return pattern, problems + [replace(one, path=members.get(one.path, one.path)) for one in found]


def _zone(given: Any) -> tuple[str, list[Problem]]:
    if not isinstance(given, str):
        return "UTC", []  # told with the shape of the file, if it is there
    found = iana_name(given)
    if found is not None:
        return found, []
    close = nearest(given, known_names()) if len(given) < 100 else None
    close = close or next((name for name in known_names() if name.lower() == given.lower()), None)
    rule = "is no time zone that IANA or Windows names so"
    remedy = f"Did you mean `{close}`" if close else "Write a name such as `Europe/Berlin` or `UTC`"
    return "UTC", [error(f"{_AT}.time_zone", given, rule, remedy)]


def _bounds(raw: Mapping[str, Any], zone: str) -> tuple[tuple[datetime | None, datetime | None], list[Problem]]:
    times: list[datetime | None] = []
    problems: list[Problem] = []
    for key in ("start_time", "end_time"):
        text = raw.get(key)
        moment, found = _moment(f"{_AT}.{key}", text, zone) if isinstance(text, str) else (None, [])
        times.append(moment)
        problems += found
    start, end = times
    if start is not None and end is not None and end < start:
        rule = "lies before start_time, so that no due time can come"
        problems.append(error(f"{_AT}.end_time", raw["end_time"], rule, "Correct one of the two"))
    return (start, end), problems


def _moment(path: str, text: str, zone: str) -> tuple[datetime | None, list[Problem]]:
    """Reads a time; one without an offset is meant in `zone`."""
    try:
        given = datetime.fromisoformat(text.strip())
    except ValueError:
        rule = "must be a time such as 2026-03-01T07:30:00, or with an offset such as 2026-03-01T07:30:00+01:00"
        return None, [error(path, text, rule, "Write it so")]
    if not _FIRST_YEAR <= given.year <= _LAST_YEAR:
        return None, [error(path, text, f"must lie in the years {_FIRST_YEAR} to {_LAST_YEAR}", "Correct the year")]
    given = given.replace(microsecond=0)
    return (given.astimezone(UTC) if given.tzinfo else instant(given, ZoneInfo(zone))), []


def _check(raw: Mapping[str, Any], pattern: PatternLists | None) -> Iterator[Problem]:
    if raw.get("type") == "cron":
        yield from _check_expression(raw.get("expression"))
        return
    frequency = raw.get("frequency")
    if pattern is None or not isinstance(frequency, str):
        return
    if frequency in _SECONDS:
        rule = f"has times of day, and a recurrence by {frequency}s has none"
        yield error(_PATTERN, raw["schedule"], rule, "Write `frequency: day`, or remove `schedule`")
    if pattern.week_days is not None and frequency not in ("week", "month"):
        rule = "is for the frequencies week and month"
        yield error(f"{_PATTERN}.week_days", pattern.week_days, rule, "Write `frequency: week`, or remove the key")
    if pattern.month_days is not None and frequency != "month":
        rule = "is for the frequency month"
        yield error(f"{_PATTERN}.month_days", pattern.month_days, rule, "Write `frequency: month`, or remove the key")
    if pattern.month_days is not None and pattern.week_days is not None:
        rule = "stands beside `week_days`: which days are meant by both is not defined"
        yield error(f"{_PATTERN}.month_days", pattern.month_days, rule, "Remove one, or write two schedules")


def _check_expression(given: Any) -> Iterator[Problem]:
    path = f"{_AT}.expression"
    if not isinstance(given, str) or not given:
        return  # told with the shape of the file
    if len(given) > MAX_EXPRESSION_LENGTH:
        yield error(path, given, f"must have at most {MAX_EXPRESSION_LENGTH} characters", "Write ranges such as 1-5")
        return
    if len(given.split()) != 5:
        yield error(path, given, _FIELDS_RULE, _FIELDS_REMEDY)
        return
    try:
        CronSim(given, _LONG_AGO)
    except (CronSimError, ValueError, AssertionError) as failure:
        yield error(path, given, f"is no cron expression that has a due time: {failure}", _FIELDS_REMEDY)


def _check_comes(raw: Mapping[str, Any], read: ReadTrigger) -> Iterator[Problem]:
    """Looks for one due time, from the start on, or from some day of the past where the file names none."""
    trigger = read.trigger
    start = trigger.start or min(_LONG_AGO, trigger.end or _LONG_AGO)
    if next(due_times(trigger, anchor=start, after=start), None) is None:
        key = "expression" if isinstance(trigger.rhythm, Cron) else "interval"
        rule = "no due time comes" + (" between start_time and end_time" if trigger.end else " within 50 years")
        yield error(f"{_AT}.{key}", raw.get(key), rule, "Correct the days and months, or the two times")


def _trigger(
    model: CronTrigger | RecurrenceTrigger,
    pattern: PatternLists | None,
    zone: str,
    bounds: tuple[datetime | None, datetime | None],
) -> ReadTrigger:
    if isinstance(model, CronTrigger):
        expression = " ".join(model.expression.split())
        return ReadTrigger(Trigger(Cron(expression, zone), *bounds), zone, f"cron {expression}")
    every = f"every {model.frequency}" if model.interval == 1 else f"every {model.interval} {model.frequency}s"
    if model.frequency in _SECONDS:
        rhythm = Every(model.interval * _SECONDS[model.frequency])
        return ReadTrigger(Trigger(rhythm, *bounds), zone, every)
    times: tuple[time, ...] = ()
    weekdays: tuple[int, ...] = ()
    month_days: tuple[int, ...] = ()
    if pattern is not None:
        times = tuple(sorted({time(hour, minute) for hour in pattern.hours for minute in pattern.minutes}))
        weekdays = tuple(sorted({WEEKDAYS.index(day) for day in pattern.week_days or ()}))
        month_days = tuple(sorted(set(pattern.month_days or ())))
    calendar = Calendar(Unit(model.frequency), model.interval, zone, times, weekdays, month_days)
    days = ", ".join([*(WEEKDAYS[day] for day in weekdays), *(str(day) for day in month_days)])
    words = every + (f" on {days}" if days else "")
    if times:
        words += f" at {', '.join(f'{moment:%H:%M}' for moment in times[:6])}{', …' if len(times) > 6 else ''}"
    return ReadTrigger(Trigger(calendar, *bounds), zone, words)
