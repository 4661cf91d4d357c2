from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dropsweep.page.data import TrialRow
from dropsweep.page.timeline import lanes, time_ticks

ORIGIN = datetime(2026, 3, 1, tzinfo=UTC)
LAST = ORIGIN + timedelta(seconds=2000)

stays = st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 300)), min_size=1, max_size=60)


def rows_of(stays: list[tuple[int, int]]) -> list[TrialRow]:
    return [
        TrialRow(
            trial=trial,
            state="completed",
            started=ORIGIN + timedelta(seconds=start),
            finished=ORIGIN + timedelta(seconds=start + length),
        )
        for trial, (start, length) in enumerate(stays)
    ]


@given(stays)
def test_trials_on_one_lane_never_overlap(stays: list[tuple[int, int]]) -> None:
    placed = lanes(rows_of(stays), ORIGIN, LAST)
    for lane in {stay.lane for stay in placed}:
        ends = [(stay.start_s, stay.end_s) for stay in placed if stay.lane == lane]
        assert all(before[1] <= after[0] for before, after in pairwise(ends))


@given(stays)
def test_there_are_as_many_lanes_as_trials_ran_at_once(stays: list[tuple[int, int]]) -> None:
    placed = lanes(rows_of(stays), ORIGIN, LAST)
    busiest = max(sum(s.start_s <= stay.start_s < s.end_s for s in placed) for stay in placed)
    assert len({stay.lane for stay in placed}) == busiest


def test_trial_without_an_end_runs_until_the_last_known_moment() -> None:
    row = TrialRow(trial=0, state="running", started=ORIGIN + timedelta(seconds=10))
    (stay,) = lanes([row], ORIGIN, LAST)
    assert (stay.start_s, stay.end_s) == (10.0, 2000.0)


@given(st.floats(1e-3, 1e9))
def test_time_axis_has_a_handful_of_ticks(span_s: float) -> None:
    ticks = time_ticks(span_s)
    assert 1 <= len(ticks) <= 10
    assert all(0 <= tick.at <= 1 + 1e-9 for tick in ticks)


def test_time_axis_counts_in_the_unit_of_its_length() -> None:
    assert [tick.label for tick in time_ticks(60)] == ["0", "10", "20", "30", "40", "50", "60"]
    assert [tick.label for tick in time_ticks(200)][:3] == ["0:00", "0:30", "1:00"]
    assert [tick.label for tick in time_ticks(4 * 3600)][:3] == ["0:00", "0:30", "1:00"]
    assert [tick.label for tick in time_ticks(5 * 86400)] == ["0", "1", "2", "3", "4", "5"]
