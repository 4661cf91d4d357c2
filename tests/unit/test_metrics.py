import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropsweep.metrics import Latest, is_usable, parse, parse_line


def test_a_flat_line_gives_its_step_and_values() -> None:
    point = parse_line(b'{"step": 3, "accuracy": 0.97, "loss": 1, "time": 1764000000.5, "note": "warm"}')
    assert point is not None
    assert point.step == 3.0
    assert point.values == {"accuracy": 0.97, "loss": 1.0}


def test_the_numbers_that_json_lacks_come_as_strings() -> None:
    point = parse_line(b'{"a": "NaN", "b": "Infinity", "c": "-Infinity"}')
    assert point is not None
    assert math.isnan(point.values["a"])
    assert (point.values["b"], point.values["c"]) == (math.inf, -math.inf)


@pytest.mark.parametrize(
    "line", [b"", b"epoch 3", b"[1]", b"{}", b'{"step": 1}', b'{"a": "b"}', b"\xff", b"[" * 99_999]
)
def test_a_line_without_a_number_is_no_point(line: bytes) -> None:
    assert parse_line(line) is None


@given(st.binary(max_size=300))
def test_no_bytes_make_the_reader_raise(data: bytes) -> None:
    parse(data.split(b"\n"))


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.floats(allow_nan=False, allow_infinity=False), min_size=1)))
def test_the_latest_value_of_each_metric_wins(rows: list[dict[str, float]]) -> None:
    latest = Latest()
    expected: dict[str, float] = {}
    for row in rows:
        latest.add(json.dumps(row).encode())
        expected |= row
    assert latest.values == expected
    assert (latest.num_lines, latest.num_unreadable) == (len(rows), 0)


def test_unreadable_lines_are_counted_and_empty_ones_are_not() -> None:
    latest = Latest()
    for line in (b"", b"  ", b"oops", b'{"a": 1}'):
        latest.add(line)
    assert (latest.num_lines, latest.num_unreadable, latest.values) == (2, 1, {"a": 1.0})


def test_only_finite_numbers_can_be_ranked() -> None:
    assert is_usable(0.0)
    assert not any(is_usable(value) for value in (None, math.nan, math.inf, -math.inf))
