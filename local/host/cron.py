"""Six-field NCRONTAB expressions, the schedules of timer triggers.

Source: the NCrontab library that Azure Functions uses. Fields are second, minute, hour, day of month, month, day of
week (0 or SUN is Sunday); each is `*`, a number or name, a range `a-b`, either with a step `/n`, or a list of these.
A day must fit both day fields, unlike in Unix cron.
"""

import itertools
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Self

from dropsweep.errors import ConfigError

_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FIELDS: Final = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)
_MAX_DAYS: Final = 366 * 8 + 2
"""29 February comes at least every eight years."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The values that each field allows, ascending."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads an expression.

        Raises:
            ConfigError: when it is none.
        """
        fields = text.split()
        if len(fields) != len(_FIELDS):
            raise ConfigError(
                f"the schedule {text!r} has {len(fields)} fields: it must have six, second first. "
                "Write for example '0 */5 * * * *' for every five minutes"
            )
        return cls(*(_values(field, *rule, text) for field, rule in zip(fields, _FIELDS, strict=True)))

    def next_after(self, moment: datetime) -> datetime:
        """Returns the first time later than `moment`, in UTC.

        Raises:
            ConfigError: when there is no such day, as 30 February.
        """
        start = moment.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
        for offset in range(_MAX_DAYS):
            day = start.date() + timedelta(days=offset)
            if self._has_day(day):
                earliest = start.time() if offset == 0 else time()
                for hour, minute, second in itertools.product(self.hours, self.minutes, self.seconds):
                    if (at := time(hour, minute, second)) >= earliest:
                        return datetime.combine(day, at, UTC)
        raise ConfigError(f"the schedule {self} names a day that never comes. Correct its days or months")

    def _has_day(self, day: date) -> bool:
        return day.day in self.days and day.month in self.months and day.isoweekday() % 7 in self.weekdays


def _values(field: str, name: str, least: int, most: int, words: tuple[str, ...], text: str) -> tuple[int, ...]:
    found: set[int] = set()
    try:
        for part in field.split(","):
            span, has_step, step = part.partition("/")
            first, has_end, last = span.partition("-")
            if span == "*":
                low, high = least, most
            else:
                low = _number(first, least, words)
                high = _number(last, least, words) if has_end else (most if has_step else low)
            stride = int(step) if has_step else 1
            if not least <= low <= high <= most or stride < 1:
                raise ValueError
            found.update(range(low, high + 1, stride))
    except ValueError:
        raise ConfigError(
            f"the schedule {text!r} has {field!r} as {name}: it must be *, or {least} to {most}, a range a-b, "
            "a step /n, or a list of these. Correct it"
        ) from None
    return tuple(sorted(found))


def _number(text: str, least: int, words: tuple[str, ...]) -> int:
    return words.index(text.upper()) + least if text.upper() in words else int(text)
