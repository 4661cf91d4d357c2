"""How fast checkpoints go up: the rate is kept, evenly shared, and lifted at a trial's end."""

import threading
import time
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropsweep_trainer.checkpoints import rate as rate_module
from dropsweep_trainer.checkpoints.rate import Account, Rate, Turn, Turns

RATE = 1000.0


def go_on() -> None:
    """Raises nothing."""


def next_turn(turns: Turns, now_s: float, waiting: dict[int, Turn]) -> tuple[int, float]:
    """Lets time go on until one of those who wait has its turn; returns who, and when."""
    while True:
        soonest_s = float("inf")
        for who, turn in waiting.items():
            left_s = turns.left_s(turn, now_s)
            if left_s == 0.0:
                del waiting[who]
                return who, now_s
            soonest_s = min(soonest_s, left_s)
        now_s += soonest_s


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5000), st.floats(0, 10)), min_size=1, max_size=30))
def test_in_no_span_more_is_sent_than_the_rate_allows_but_for_a_second_s_worth_and_one_piece(
    wishes: list[tuple[int, int, float]],
) -> None:
    turns, accounts, now_s = Turns(RATE), [Account() for _ in range(4)], 100.0
    sent: list[tuple[float, int]] = []
    for who, num_bytes, pause_s in wishes:
        now_s += pause_s
        turn = turns.enter(accounts[who], num_bytes)
        _, now_s = next_turn(turns, now_s, {who: turn})
        sent.append((now_s, num_bytes))
    for first in range(len(sent)):
        for last in range(first, len(sent)):
            span_s = sent[last][0] - sent[first][0]
            in_span = sum(num_bytes for _, num_bytes in sent[first:last])  # the last one begins at the span's end
            assert in_span <= RATE * (span_s + 1.0) + sent[first][1] + 1e-3


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=5))
def test_those_who_always_wait_are_given_the_same_number_of_bytes_whatever_the_size_of_their_pieces(
    pieces: list[int],
) -> None:
    turns, accounts, now_s = Turns(RATE), [Account() for _ in pieces], 0.0
    given_bytes = [0] * len(pieces)
    waiting: dict[int, Turn] = {who: turns.enter(accounts[who], piece) for who, piece in enumerate(pieces)}
    for _ in range(200):
        who, now_s = next_turn(turns, now_s, waiting)
        given_bytes[who] += pieces[who]
        waiting[who] = turns.enter(accounts[who], pieces[who])
        assert max(given_bytes) - min(given_bytes) <= 2 * max(pieces)


def test_who_was_silent_has_saved_nothing_up() -> None:
    turns, busy, silent, now_s = Turns(RATE), Account(), Account(), 0.0
    for _ in range(50):
        _, now_s = next_turn(turns, now_s, {0: turns.enter(busy, 100)})
    waiting: dict[int, Turn] = {0: turns.enter(busy, 100), 1: turns.enter(silent, 100)}
    order = []
    for _ in range(6):
        who, now_s = next_turn(turns, now_s, waiting)
        order.append(who)
        waiting[who] = turns.enter((busy, silent)[who], 100)
    assert sorted(order) == [0, 0, 0, 1, 1, 1]


def test_a_turn_that_is_given_up_is_nobody_s_and_the_next_one_comes() -> None:
    turns = Turns(RATE)
    first, second = turns.enter(Account(), 10**9), turns.enter(Account(), 10)
    assert turns.left_s(second, 0.0) > 0
    turns.leave(first)
    assert turns.left_s(second, 0.0) == 0.0


def test_without_a_rate_nobody_waits() -> None:
    Rate().share().wait(10**15, pytest.fail)


def test_a_check_ends_the_wait_and_gives_the_turn_up() -> None:
    rate = Rate(1.0, now_s=lambda: 0.0)  # a clock that stands still: without the check it would wait for ever
    first, second, third = rate.share(), rate.share(), rate.share()
    first.wait(10**9, go_on)
    for share in (second, third):
        with pytest.raises(InterruptedError):
            share.wait(1, _interrupt)


def test_a_share_that_is_lifted_while_somebody_waits_lets_it_go_on() -> None:
    rate = Rate(1.0, now_s=lambda: 0.0)
    share, other = rate.share(), rate.share()
    share.wait(10**9, go_on)
    asked = count()
    waiter = threading.Thread(target=share.wait, args=(10**9, lambda: next(asked)))
    waiter.start()
    share.lift()
    waiter.join(60)
    assert not waiter.is_alive()
    share.wait(10**9, pytest.fail)
    with pytest.raises(InterruptedError):
        other.wait(1, _interrupt)


def test_who_becomes_the_first_of_those_who_wait_is_woken_at_once() -> None:
    turns = Turns(RATE)
    first, second, third, fourth = (turns.enter(Account(), 1) for _ in range(4))
    second.woken.set()
    assert turns.left_s(second, 0.0) == float("inf")
    assert not second.woken.is_set()
    assert turns.left_s(first, 0.0) == 0.0
    assert (second.woken.is_set(), third.woken.is_set()) == (True, False)
    turns.leave(second)
    assert (third.woken.is_set(), fourth.woken.is_set()) == (True, False)


def test_those_who_wait_get_on_one_after_the_other_without_looking_from_time_to_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rate_module, "_LOOK_S", threading.TIMEOUT_MAX)
    now_s = 0.0
    rate = Rate(1.0, now_s=lambda: now_s)
    rate.share().wait(10**8, go_on)
    shares = [rate.share() for _ in range(4)]
    threads = [threading.Thread(target=share.wait, args=(0, go_on), daemon=True) for share in shares]
    for num_waiting, thread in enumerate(threads, 1):
        thread.start()
        _wait_for(rate, num_waiting)
    now_s = 1e9
    shares[0].lift()  # wakes the first one, whose turn has come; that wakes the second one, and so on
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def _wait_for(rate: Rate, num_waiting: int) -> None:
    """Returns once so many wait."""
    deadline_s = time.monotonic() + 60
    while rate.num_waiting < num_waiting:
        assert time.monotonic() < deadline_s
        time.sleep(0.001)


def _interrupt() -> None:
    raise InterruptedError
