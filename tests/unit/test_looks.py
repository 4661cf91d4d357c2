"""How hints that come in crowds cost one pass together."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from dropsweep.messages import AdvanceMessage
from dropsweep.names import JobKey
from dropsweep.records import JobRecord
from dropsweep.states import JobReason
from dropsweep.steps.advance import LastLooks
from dropsweep.storage import Clock

KEY = JobKey("w", "e", "job-0123456789")
JOB = JobRecord(
    KEY, "sweep", JobReason.DISPATCHING, "job", num_trials=100, created=datetime(2026, 1, 1, tzinfo=UTC), next_trial=10
)
LONG_S = 60.0


class TurnedClock(Clock):
    """Stands still until somebody turns it on; a wait ends when it was told to end, and never by itself."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        self.is_waiting = threading.Event()

    def now_s(self) -> float:
        return self.now

    def wait(self, seconds: float, stopping: threading.Event | None) -> None:
        self.waits.append(seconds)
        self.is_waiting.set()
        assert stopping is not None
        assert stopping.wait(LONG_S)


class HastyClock(TurnedClock):
    """Is at the end of a wait at once, or breaks it off."""

    is_broken = False

    def wait(self, seconds: float, stopping: threading.Event | None) -> None:
        if self.is_broken:
            raise InterruptedError
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as made:
        yield made


def hint(*trials: int, is_alarm: bool = False) -> AdvanceMessage:
    return AdvanceMessage(KEY, trials, is_alarm)


def visit(
    looks: LastLooks,
    clock: TurnedClock,
    message: AdvanceMessage,
    *,
    cost_s: float = 0.0,
    out: range = range(0),
    finals: frozenset[int] = frozenset(),
    job: JobRecord = JOB,
    is_repeat: bool = False,
) -> bool:
    """Takes a turn; True when it passed over the job, which took `cost_s` and saw so much."""
    with looks.turn(message, is_repeat=is_repeat) as is_needed:
        if is_needed:
            clock.now += cost_s
            looks.remember(job, finals, frozenset(out))
    return is_needed


def resting(pool: ThreadPoolExecutor, looks: LastLooks, clock: TurnedClock, *trials: int) -> Future[bool]:
    """Has a hint of these trials wait for its turn, after a pass that left ten trials out."""
    visit(looks, clock, hint(), cost_s=0.1, out=range(10))
    waiting = pool.submit(visit, looks, clock, hint(*trials))
    assert clock.is_waiting.wait(LONG_S)
    return waiting


def test_the_first_hint_looks_at_once() -> None:
    clock = HastyClock()
    assert visit(LastLooks(clock=clock), clock, hint(0))
    assert clock.waits == []


def test_while_one_hint_waits_for_its_pass_the_others_rely_on_it(pool: ThreadPoolExecutor) -> None:
    clock = TurnedClock()
    looks = LastLooks(clock=clock)
    waiting = resting(pool, looks, clock, 1)
    assert not visit(looks, clock, hint(2))
    assert not visit(looks, clock, hint(3))
    assert not waiting.done()
    assert not visit(looks, clock, hint(*range(10)))  # all that were out: nothing is worth waiting for any more
    assert waiting.result(LONG_S)


def test_what_others_rely_on_is_looked_at_although_its_own_trials_were_seen_meanwhile(
    pool: ThreadPoolExecutor,
) -> None:
    clock = TurnedClock()
    looks = LastLooks(clock=clock)
    waiting = resting(pool, looks, clock, 1)
    assert not visit(looks, clock, hint(2))
    looks.remember(JOB, frozenset({1}), frozenset(range(2, 10)))
    assert not visit(looks, clock, hint(*range(2, 10)))
    assert waiting.result(LONG_S)


def test_a_hint_whose_trials_were_seen_while_it_waited_passes_over_nothing(pool: ThreadPoolExecutor) -> None:
    clock = TurnedClock()
    looks = LastLooks(clock=clock)
    waiting = resting(pool, looks, clock, 1)
    looks.remember(JOB, frozenset(range(10)), frozenset())
    assert not visit(looks, clock, hint(1))
    assert not waiting.result(LONG_S)


def test_nobody_relies_on_a_pass_that_has_begun() -> None:
    clock = HastyClock()
    looks = LastLooks(clock=clock)
    began, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        with looks.turn(hint(1), is_repeat=False) as is_needed:
            assert is_needed
            began.set()
            assert go_on.wait(LONG_S)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(slow)
        assert began.wait(LONG_S)
        second = pool.submit(visit, looks, clock, hint(2))
        go_on.set()
        first.result(LONG_S)
        assert second.result(LONG_S)


@pytest.mark.parametrize(("cost_s", "rest_s"), [(0.01, 0.49), (0.02, 0.98), (3.0, 2.0)])
def test_a_pass_is_followed_by_a_rest_of_49_times_its_length_and_two_seconds_at_most(
    cost_s: float, rest_s: float
) -> None:
    clock = HastyClock()
    looks = LastLooks(clock=clock)
    visit(looks, clock, hint(), cost_s=cost_s, out=range(10))
    clock.now += 0.25
    assert visit(looks, clock, hint(1), out=range(10))
    assert clock.waits == [pytest.approx(rest_s - 0.25)]


def test_no_rest_is_left_when_it_is_over() -> None:
    clock = HastyClock()
    looks = LastLooks(clock=clock)
    visit(looks, clock, hint(), cost_s=0.01, out=range(10))
    clock.now += 0.5
    assert visit(looks, clock, hint(1))
    assert clock.waits == []


@pytest.mark.parametrize(
    ("next_trial", "told", "rests"), [(10, 4, True), (10, 5, False), (100, 5, True), (100, 9, True), (100, 10, False)]
)
def test_who_dispatches_more_rests_until_half_is_told_of_and_who_cannot_until_all_is(
    next_trial: int, told: int, rests: bool
) -> None:
    clock = HastyClock()
    looks = LastLooks(clock=clock)
    visit(looks, clock, hint(), cost_s=0.1, out=range(10), job=replace(JOB, next_trial=next_trial))
    assert visit(looks, clock, hint(*range(told)))
    assert bool(clock.waits) is rests


def test_what_was_told_during_a_pass_that_did_not_see_it_counts_for_the_next_one() -> None:
    clock = HastyClock()
    all_out = replace(JOB, next_trial=JOB.num_trials)
    looks = LastLooks(clock=clock)
    visit(looks, clock, hint(), cost_s=0.1, out=range(2), job=all_out)
    with looks.turn(hint(0), is_repeat=False) as is_needed:
        assert is_needed
        clock.now += 0.1
        looks.remember(all_out, frozenset(), frozenset(range(2)))  # it read too soon
    num_waits = len(clock.waits)
    assert visit(looks, clock, hint(1))
    assert len(clock.waits) == num_waits


@pytest.mark.parametrize("urgent", ["no trial named", "alarm", "repeat"])
def test_an_urgent_hint_takes_no_rest_and_ends_that_of_another(pool: ThreadPoolExecutor, urgent: str) -> None:
    clock = TurnedClock()
    looks = LastLooks(clock=clock)
    waiting = resting(pool, looks, clock, 1)
    message = {"no trial named": hint(), "alarm": hint(2, is_alarm=True), "repeat": hint(2)}[urgent]
    assert visit(looks, clock, message, is_repeat=urgent == "repeat")
    assert waiting.result(LONG_S)
    assert len(clock.waits) == 1


def test_a_pass_that_failed_leaves_nothing_to_rely_on() -> None:
    clock = HastyClock()
    looks = LastLooks(clock=clock)

    def fail() -> None:
        with looks.turn(hint(1), is_repeat=False):
            raise ConnectionError

    with pytest.raises(ConnectionError):
        fail()
    assert visit(looks, clock, hint(1))


def test_a_hint_that_was_ended_while_it_waited_leaves_nothing_to_rely_on() -> None:
    clock = HastyClock()
    looks = LastLooks(clock=clock)
    visit(looks, clock, hint(), cost_s=0.1, out=range(10))
    clock.is_broken = True
    with pytest.raises(InterruptedError):
        visit(looks, clock, hint(1))
    clock.is_broken = False
    assert visit(looks, clock, hint(2))


def test_two_hints_rest_at_once_of_whatever_jobs_and_further_ones_pass_at_once(pool: ThreadPoolExecutor) -> None:
    clock = TurnedClock()
    looks = LastLooks(clock=clock)
    keys = [replace(KEY, experiment=name) for name in "abcd"]
    for key in keys:
        visit(looks, clock, AdvanceMessage(key), cost_s=0.1, out=range(10), job=replace(JOB, key=key))
    resting = []
    for key in keys[:2]:
        clock.is_waiting.clear()
        resting.append(pool.submit(visit, looks, clock, AdvanceMessage(key, (1,))))
        assert clock.is_waiting.wait(LONG_S)
    for key in keys[2:]:
        assert pool.submit(visit, looks, clock, AdvanceMessage(key, (1,))).result(LONG_S)
    assert [waiting.done() for waiting in resting] == [False, False]
    for key in keys[:2]:
        assert visit(looks, clock, AdvanceMessage(key))
    assert all(waiting.result(LONG_S) for waiting in resting)
    assert len(clock.waits) == 2


def test_a_rest_that_is_over_or_broken_off_leaves_its_place_to_others() -> None:
    clock = HastyClock()
    looks = LastLooks(clock=clock)
    visit(looks, clock, hint(), cost_s=0.1, out=range(10))
    for trial in range(3):
        clock.is_broken = True
        with pytest.raises(InterruptedError):
            visit(looks, clock, hint(trial))
    clock.is_broken = False
    assert visit(looks, clock, hint(3))
    assert len(clock.waits) == 1


def test_a_hint_that_tells_nothing_new_does_not_wait() -> None:
    clock = HastyClock()
    looks = LastLooks(clock=clock)
    visit(looks, clock, hint(), cost_s=0.1, out=range(10), finals=frozenset({20, 21}))
    assert not visit(looks, clock, hint(20, 21))
    assert clock.waits == []


def test_what_is_known_of_the_job_visited_longest_ago_goes_first() -> None:
    clock = HastyClock()
    looks = LastLooks(2, clock=clock)
    for name in ("a", "b", "c"):
        key = replace(KEY, experiment=name)
        with looks.turn(AdvanceMessage(key), is_repeat=False):
            looks.remember(replace(JOB, key=key), frozenset({1}))
    seen = [looks.has_seen(AdvanceMessage(replace(KEY, experiment=name), (1,))) for name in ("a", "b", "c")]
    assert seen == [False, True, True]
