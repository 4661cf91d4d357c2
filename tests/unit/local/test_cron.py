"""Six-field schedules."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropsweep.errors import ConfigError
from local.host.cron import Schedule


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("0 */5 * * * *", "2026-01-01 00:00:00", "2026-01-01 00:05:00"),
        ("0 */5 * * * *", "2026-01-01 23:57:13", "2026-01-02 00:00:00"),
        ("* * * * * *", "2026-12-31 23:59:59", "2027-01-01 00:00:00"),
        ("30 59 23 31 12 *", "2026-12-31 23:59:30", "2027-12-31 23:59:30"),
        ("0 0 9 * * MON-FRI", "2026-11-20 09:00:00", "2026-11-23 09:00:00"),
        ("0 0 0 29 feb *", "2096-03-01 00:00:00", "2104-02-29 00:00:00"),
        # Both day fields must fit: the next Friday the 13th.
        ("0 0 0 13 * 5", "2026-03-14 00:00:00", "2026-11-13 00:00:00"),
        ("0 10,20/20,55 8-10/2 * * *", "2026-01-01 08:41:00", "2026-01-01 08:55:00"),
    ],
)
def test_the_next_time_follows_the_fields(schedule: str, after: str, expected: str) -> None:
    assert Schedule.parse(schedule).next_after(_at(after)) == _at(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* * * * *",
        "60 * * * * *",
        "* * * * 13 *",
        "* * * 0 * *",
        "* * * * * 7",
        "*/0 * * * * *",
        "*/-1 * * * * *",
        "5-1 * * * * *",
    ],
)
def test_what_is_no_schedule_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(ConfigError, match=r"Correct it|Write for example"):
        Schedule.parse(text)


def test_a_day_that_never_comes_is_refused() -> None:
    with pytest.raises(ConfigError, match="never comes"):
        Schedule.parse("0 0 0 30 2 *").next_after(_at("2026-01-01"))


_fields = st.tuples(*(st.one_of(st.just("*"), st.integers(0, most).map(str)) for most in (59, 59, 23)))


@given(_fields, st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_no_fitting_second_lies_between_a_moment_and_the_next_time(fields: tuple[str, ...], moment: datetime) -> None:
    found = Schedule.parse(" ".join([*fields, "*", "*", "*"])).next_after(moment)

    def fits(at: datetime) -> bool:
        values = (at.second, at.minute, at.hour)
        return all(field in ("*", str(value)) for field, value in zip(fields, values, strict=True))

    assert fits(found)
    assert timedelta() < found - moment <= timedelta(days=1)
    # A fitting second that were closer would lie in the same hour as, or an hour or minute before, the one found.
    for step in (timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)):
        earlier = found - step
        assert not (earlier > moment and fits(earlier))
