"""Queue operations under trouble: nothing is lost; what an answer that was lost may cost is a copy, or a delay."""

from collections.abc import Callable
from typing import Any

import pytest

from dropsweep.settings import Settings
from dropsweep.storage import Message, Queues, Store
from tests.emulator.faults import APPLIED, LOST_ANSWER, NOT_APPLIED, UNREACHABLE, FastClock, Fault, Faults
from tests.emulator.leaping import LeapingClock


@pytest.fixture
def queue(store: Store, workspace: str) -> str:
    store.queues.create_queue(workspace)
    return workspace


def received(store: Store, queue: str, text: str = "a", visibility_s: float = 30) -> Message:
    store.queues.send(queue, text)
    [message] = store.queues.receive(queue, visibility_s=visibility_s)
    return message


def texts(store: Store, queue: str) -> list[str]:
    return sorted(message.text for message in store.queues.receive(queue, visibility_s=30, max_messages=32))


OPERATIONS: dict[str, Callable[[Queues, Message], Any]] = {
    "send": lambda queues, message: queues.send(message.queue, "b"),
    "receive": lambda queues, message: [
        found.text for found in queues.receive(message.queue, visibility_s=1, max_messages=32)
    ],
    "renew": lambda queues, message: queues.renew(message, visibility_s=60) is not None,
    "release": lambda queues, message: queues.release(message),
    "delete": lambda queues, message: queues.delete(message),
    "count": lambda queues, message: queues.count(message.queue),
    "create_queue": lambda queues, message: queues.create_queue(message.queue),
}
BURST = 3


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_trouble_before_the_service_leaves_no_trace(
    settings: Settings, store: Store, queue: str, operation: Callable[[Queues, Message], Any]
) -> None:
    calm = operation(store.queues, received(store, queue)), store.queues.count(queue), texts(store, queue)
    # A renewal is repeated for ten seconds of the sixty that it asks for: it has no time for all of them.
    trouble = NOT_APPLIED[:3] if operation is OPERATIONS["renew"] else NOT_APPLIED
    other = f"{queue}-b"
    store.queues.create_queue(other)
    faults = Faults(lambda number, _: trouble[number] if number < len(trouble) else None)
    troubled = Store.connect(settings.storage, faults, clock=FastClock())
    outcome = operation(troubled.queues, received(store, other))
    assert (outcome, store.queues.count(other), texts(store, other)) == calm
    assert faults.num_spoilt == len(trouble)


@pytest.mark.parametrize("fault", APPLIED, ids=str)
@pytest.mark.parametrize("name", ["delete", "count", "create_queue"])
def test_what_may_be_done_twice_ends_as_if_done_once(
    settings: Settings, store: Store, queue: str, name: str, fault: Fault
) -> None:
    message = received(store, queue)
    faults = Faults(lambda number, _: fault if number < BURST else None)
    OPERATIONS[name](Store.connect(settings.storage, faults, clock=FastClock()).queues, message)
    assert faults.num_spoilt == BURST
    assert store.queues.count(queue) == (0 if name == "delete" else 1)


@pytest.mark.parametrize("fault", APPLIED, ids=str)
def test_a_message_whose_sending_was_not_confirmed_is_there_at_least_once(
    settings: Settings, store: Store, queue: str, fault: Fault
) -> None:
    faults = Faults(lambda number, _: fault if number == 0 else None)
    Store.connect(settings.storage, faults, clock=FastClock()).queues.send(queue, "a")
    assert texts(store, queue) == ["a", "a"]


@pytest.mark.parametrize("fault", APPLIED, ids=str)
def test_messages_whose_delivery_was_lost_come_again(
    settings: Settings, store: Store, queue: str, service_clock: LeapingClock, fault: Fault
) -> None:
    store.queues.send(queue, "a")
    faults = Faults(lambda number, _: fault if number == 0 else None)
    assert Store.connect(settings.storage, faults, clock=FastClock()).queues.receive(queue, visibility_s=60) == []
    assert store.queues.receive(queue, visibility_s=30) == []
    service_clock.leap(60)
    [message] = store.queues.receive(queue, visibility_s=30)
    assert (message.text, message.dequeue_count) == ("a", 2)


@pytest.mark.parametrize("fault", APPLIED, ids=str)
def test_a_renewal_that_was_not_confirmed_gives_the_message_away_at_its_time(
    settings: Settings, store: Store, queue: str, service_clock: LeapingClock, fault: Fault
) -> None:
    message = received(store, queue, visibility_s=600)
    faults = Faults(lambda number, _: fault if number == 0 else None)
    troubled = Store.connect(settings.storage, faults, clock=FastClock())
    assert troubled.queues.renew(message, visibility_s=60) is None
    assert store.queues.receive(queue, visibility_s=30) == []
    store.queues.delete(message)  # its receipt is superseded: this deletes nothing
    service_clock.leap(60)
    assert texts(store, queue) == ["a"]


@pytest.mark.parametrize("fault", APPLIED, ids=str)
def test_a_release_that_was_not_confirmed_has_released(
    settings: Settings, store: Store, queue: str, fault: Fault
) -> None:
    message = received(store, queue)
    faults = Faults(lambda number, _: fault if number < BURST else None)
    Store.connect(settings.storage, faults, clock=FastClock()).queues.release(message)
    assert texts(store, queue) == ["a"]


def test_a_renewal_is_given_up_in_time_for_the_next(settings: Settings, store: Store, queue: str) -> None:
    message = received(store, queue)
    clock = FastClock()
    troubled = Store.connect(settings.storage, Faults(lambda *_: UNREACHABLE), clock=clock)
    with pytest.raises(Exception, match="renewing"):
        troubled.queues.renew(message, visibility_s=60)
    assert clock.now_s() == pytest.approx(10)


def test_a_lost_answer_costs_one_more_request(settings: Settings, store: Store, queue: str) -> None:
    message = received(store, queue)
    faults = Faults(lambda number, _: LOST_ANSWER if number == 0 else None)
    Store.connect(settings.storage, faults, clock=FastClock()).queues.delete(message)
    assert faults.num_requests == 2
