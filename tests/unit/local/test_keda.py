"""How many trainers are started at one look at the queues."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.keda import num_to_start


def start(*lengths: int, target: int = 1, unfinished: int = 0, pending: int = 0, least: int = 0, most: int = 4) -> int:
    return num_to_start(
        lengths,
        target=target,
        num_unfinished=unfinished,
        num_pending=pending,
        min_replicas=least,
        max_replicas=most,
    )


def test_without_messages_nothing_is_started() -> None:
    assert start(0, 0, 0) == 0
    assert start() == 0
    assert start(0, unfinished=3) == 0


def test_one_trainer_is_started_for_each_message_up_to_the_most() -> None:
    assert [start(0, waiting, 0) for waiting in (1, 2, 4, 5, 400)] == [1, 2, 4, 4, 4]


def test_the_longest_queue_counts_alone() -> None:
    assert start(2, 1, 2) == 2
    assert start(0, 1, 3) == 3


def test_a_trainer_of_several_slots_is_started_for_as_many_messages_rounded_up() -> None:
    assert [start(waiting, target=2) for waiting in (1, 2, 3, 4, 5)] == [1, 1, 2, 2, 3]


def test_who_runs_has_its_messages_and_others_are_started_for_those_that_wait() -> None:
    assert start(1, unfinished=2) == 1
    assert start(3, unfinished=2) == 2
    assert start(1, unfinished=4) == 0


def test_a_trainer_that_is_only_starting_is_meant_for_a_message_already() -> None:
    assert start(1, unfinished=1, pending=1) == 0
    assert start(2, unfinished=1, pending=1) == 1
    assert start(1, unfinished=2, pending=2) == 0
    # Nearly full: pending ones are taken off before the comparison with the most (KEDA 2.19).
    assert start(3, unfinished=2, pending=2) == 1


def test_the_fewest_are_there_without_messages_and_before_anything_else() -> None:
    assert start(0, least=2) == 2
    assert start(9, unfinished=1, least=2) == 1
    assert start(0, unfinished=2, least=2) == 0


def test_the_fewest_stand_apart_from_those_that_come_and_go() -> None:
    assert start(1, unfinished=2, least=2) == 1
    assert start(9, unfinished=2, least=2) == 2
    assert start(9, unfinished=4, least=2) == 0
    assert start(9, unfinished=4, least=4) == 0


def test_no_more_than_the_most_are_there_when_the_fewest_are_said_to_be_more() -> None:
    assert start(9, least=6, most=4) == 4
    assert start(9, unfinished=4, least=6, most=4) == 0


COUNT = st.integers(0, 50)


@given(
    lengths=st.lists(COUNT, min_size=3, max_size=3), target=st.integers(1, 8), least=COUNT, most=COUNT, data=st.data()
)
def test_never_more_than_the_most_and_never_more_than_there_are_messages(
    lengths: list[int], target: int, least: int, most: int, data: st.DataObject
) -> None:
    unfinished = data.draw(st.integers(0, most))
    pending = data.draw(st.integers(0, unfinished))
    count = start(*lengths, target=target, unfinished=unfinished, pending=pending, least=least, most=most)
    assert 0 <= count <= most - unfinished
    if unfinished >= min(least, most):
        assert count <= math.ceil(max(lengths) / target)


@given(waiting=st.integers(1, 20), target=st.integers(1, 4), least=st.integers(0, 3), most=st.integers(1, 12))
def test_as_long_as_messages_wait_and_there_is_room_somebody_comes(
    waiting: int, target: int, least: int, most: int
) -> None:
    """Every trainer takes its messages and stays busy; the rest wait until all are taken or the cluster is full."""
    unfinished = 0
    for _ in range(waiting + 2):
        count = start(waiting, target=target, unfinished=unfinished, least=least, most=most)
        unfinished += count
        waiting = max(0, waiting - count * target)
    assert waiting == 0 or unfinished == most


@pytest.mark.parametrize("target", [1, 3])
def test_looks_that_come_faster_than_trainers_start_start_no_more_than_one_look_would(target: int) -> None:
    unfinished = 0
    for _ in range(10):
        unfinished += start(5, target=target, unfinished=unfinished, pending=unfinished, most=20)
    assert unfinished == math.ceil(5 / target)
