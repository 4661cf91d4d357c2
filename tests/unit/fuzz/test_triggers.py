"""Whatever a trigger says, it is refused with a reason, or its due times come in order and cost little."""

import json
import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fuzz.mutations import SCALARS, bounded
from tests.unit.fuzz.readers import READERS

_MAX_S = 3.0
"""Of processor time, for all looks at one schedule together; the slowest take a tenth of it."""
FIELDS = st.sampled_from(
    [
        *(
            "*",
            "0",
            "59",
            "60",
            "-1",
            "1-5",
            "5-1",
            "*/7",
            "*/0",
            "*/100000",
            "0/5",
            "1,2,3",
            "1,,2",
            ",",
            "-",
            "/",
            "?",
        ),
        *(
            "L",
            "LW",
            "W",
            "15W",
            "1#5",
            "5L",
            "MON",
            "mon-fri",
            "JAN",
            "FEB-NOV/2",
            "29",
            "30",
            "31",
            "7",
            "8",
            "٣",
            "1e3",
        ),
        *("0-59/1", "*-*", "1-2-3", "1/2/3", "**", "9" * 5000, "@daily", "%", "\t", "R"),
    ]
)
EXPRESSIONS = (
    st.lists(FIELDS, min_size=5, max_size=5).map(" ".join)
    | st.lists(FIELDS, max_size=8).map(" ".join)
    | st.text("0123456789*/,-LW#?ABCDEFGHIJKMNOPRSTUVY @", max_size=40)
    | st.sampled_from(["0 0 30 2 *", "0 0 29 2 *", "0 0 31 2,4,6,9,11 *", "* * * * *", "0 0 29 2 1#5", "59 23 31 12 7"])
)
TIMES = st.datetimes().map(str) | st.sampled_from(
    [
        *("2026-01-01", "2026-01-01T00:00", "2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
        *("2026-03-29T02:30:00", "2026-10-25T02:30:00", "1900-01-01T00:00:00+23:59", "2026-01-01T00:00:00-99:00"),
        *("2026-02-30", "20260101", "2026-W01-1", "now", "", "1e9", "2026-01-01T24:00:00", "2026-06-30T23:59:60Z"),
    ]
)
ZONES = st.sampled_from(
    [
        *(
            "UTC",
            "Europe/Berlin",
            "Australia/Lord_Howe",
            "America/Los_Angeles",
            "Pacific Standard Time",
            "Asia/Kolkata",
        ),
        *(
            "Pacific/Apia",
            "Africa/Casablanca",
            "Etc/GMT+12",
            "../../etc/passwd",
            "/etc/localtime",
            "UTC\0",
            "",
            "europe",
        ),
        *("Nowhere/Else", ".", "posixrules", "x" * 5000, "Europe", "right/UTC"),
    ]
)
NUMBERS = st.integers(-2, 70) | st.sampled_from([10**6, 10**6 + 1, 10**12, 10**30])
LISTED = NUMBERS | st.lists(NUMBERS, max_size=4) | st.just([*range(60)]) | st.just([*range(24)]) | SCALARS
DAYS = st.sampled_from(["monday", "Sunday", "mon", "", "monday, friday"])


def some(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=keys)


PATTERNS = some(hours=LISTED, minutes=LISTED, week_days=DAYS | st.lists(DAYS, max_size=8), month_days=LISTED) | SCALARS
TRIGGERS = st.builds(
    lambda first, more: {**first, **more},
    st.fixed_dictionaries({"type": st.just("cron"), "expression": EXPRESSIONS | SCALARS})
    | st.fixed_dictionaries(
        {
            "type": st.just("recurrence"),
            "frequency": st.sampled_from(["minute", "hour", "day", "week", "month", "year"]),
            "interval": NUMBERS,
        }
    ),
    some(start_time=TIMES, end_time=TIMES, time_zone=ZONES, schedule=PATTERNS),
)


@bounded(300)
@given(TRIGGERS, st.sampled_from(["latest", "all", "none"]))
def test_no_trigger_makes_a_schedule_raise_or_take_long(trigger: dict[str, Any], catch_up: str) -> None:
    body = json.dumps({"trigger": trigger, "catch_up": catch_up, "create_job": "code/a.yaml"}).encode()
    began = time.process_time()
    problems = [*READERS["schedule, JSON"].read(body)]
    assert time.process_time() - began < _MAX_S
    assert all(problem.rule and problem.remedy for problem in problems)
