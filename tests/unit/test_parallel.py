"""A few tasks at a time: in order, never too many, and none is left behind."""

import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from dropsweep.storage import in_order
from dropsweep.storage.parallel import NUM_PARALLEL


def give(number: int) -> int:
    return number


def test_results_come_in_the_order_of_the_tasks_however_long_each_takes() -> None:
    last_is_done = threading.Event()

    def first() -> int:
        assert last_is_done.wait(60)
        return 0

    def last() -> int:
        last_is_done.set()
        return NUM_PARALLEL - 1

    tasks = [first, *(partial(give, number) for number in range(1, NUM_PARALLEL - 1)), last]
    assert list(in_order(tasks)) == list(range(NUM_PARALLEL))


def test_a_task_is_taken_only_when_its_turn_is_near() -> None:
    num_taken = 0

    def tasks() -> Iterator[Callable[[], int]]:
        nonlocal num_taken
        for number in range(100):
            num_taken += 1
            yield partial(give, number)

    for num_done, result in enumerate(in_order(tasks()), 1):
        assert result == num_done - 1
        assert num_taken <= num_done + NUM_PARALLEL


def test_an_error_ends_it_all_and_those_that_had_begun_have_ended() -> None:
    running: set[int] = set()
    num_begun = 0

    def run(number: int) -> None:
        nonlocal num_begun
        num_begun += 1
        running.add(number)
        try:
            if number == 3:
                raise ZeroDivisionError
        finally:
            running.remove(number)

    with pytest.raises(ZeroDivisionError):
        list(in_order(partial(run, number) for number in range(1000)))
    assert running == set()
    assert num_begun <= 3 + 2 * NUM_PARALLEL


def test_a_check_ends_the_wait_for_a_task() -> None:
    may_end = threading.Event()

    def check() -> None:
        may_end.set()
        raise InterruptedError

    with pytest.raises(InterruptedError):
        list(in_order([lambda: may_end.wait(60)], check))


def test_whoever_stops_listening_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    results = in_order(partial(give, number) for number in range(100))
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
