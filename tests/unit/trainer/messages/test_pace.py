"""How many messages a slot takes at once, by how long the last trials took."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropsweep.names import JobKey
from dropsweep_trainer.messages.pace import AHEAD_S, MAX_AT_ONCE, Pace

SHORT = JobKey("team", "search", "short")
LONG = JobKey("team", "search", "long")


def pace_of(*seconds: float) -> Pace:
    pace = Pace()
    for lasted_s in seconds:
        pace.note(SHORT, lasted_s)
    return pace


def test_one_is_taken_before_any_trial_has_run() -> None:
    assert Pace().num_at_once == 1


def test_one_is_taken_after_a_moment_without_work() -> None:
    pace = pace_of(*[0.01] * 5)
    pace.forget()
    assert pace.num_at_once == 1
    pace.note(SHORT, 0.01)
    assert pace.num_at_once == 30


def test_of_jobs_that_take_turns_the_one_with_the_longest_trials_decides_until_it_is_over() -> None:
    pace = pace_of(*[0.01] * 4)
    pace.note(LONG, 0.6)
    assert pace.num_at_once == 1
    for _ in range(4):
        pace.note(SHORT, 0.01)
        assert pace.num_at_once == 1
    pace.note(SHORT, 0.01)
    assert pace.num_at_once == 30


@pytest.mark.parametrize(("lasted_s", "num"), [(0.029, 10), (0.09, 3), (0.29, 1), (0.31, 1), (3600.0, 1), (0.0, 32)])
def test_as_many_are_taken_as_begin_soon(lasted_s: float, num: int) -> None:
    assert pace_of(*[lasted_s] * 5).num_at_once == num


def test_one_trial_that_took_longer_changes_nothing() -> None:
    assert pace_of(5.0, 0.04, 0.04, 0.04).num_at_once == pace_of(0.04, 0.04, 0.04).num_at_once == 7


def test_trials_that_have_become_longer_are_soon_taken_one_by_one() -> None:
    assert pace_of(*[0.01] * 1000, 5.0, 5.0, 5.0).num_at_once == 1


@given(st.lists(st.floats(0.0, 1e6), min_size=1))
def test_what_is_taken_begins_soon_or_is_a_single_one(seconds: list[float]) -> None:
    num = pace_of(*seconds).num_at_once
    last = sorted(seconds[-5:])
    middle = len(last) // 2
    typical_s = last[middle] if len(last) % 2 else (last[middle - 1] + last[middle]) / 2
    assert 1 <= num <= MAX_AT_ONCE
    assert num == 1 or num * typical_s <= AHEAD_S * 1.000001
