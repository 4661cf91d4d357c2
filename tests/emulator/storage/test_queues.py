import uuid

import pytest

from dropsweep.errors import NotFoundError
from dropsweep.storage import Store


@pytest.fixture
def queue(store: Store) -> str:
    name = f"q-{uuid.uuid4().hex}"
    store.queues.create_queue(name)
    store.queues.create_queue(name)
    return name


def test_a_message_is_hidden_while_it_is_held_and_gone_once_it_is_deleted(store: Store, queue: str) -> None:
    store.queues.send(queue, 'plain "text" <&> é')
    [message] = store.queues.receive(queue, visibility_s=30)
    assert (message.text, message.dequeue_count) == ('plain "text" <&> é', 1)
    assert store.queues.receive(queue, visibility_s=30) == []
    assert store.queues.count(queue) == 1
    store.queues.delete(message)
    assert store.queues.count(queue) == 0


def test_a_released_message_comes_again_and_its_old_receipt_is_worth_nothing(store: Store, queue: str) -> None:
    store.queues.send(queue, "hint")
    [first] = store.queues.receive(queue, visibility_s=30)
    store.queues.release(first)
    [second] = store.queues.receive(queue, visibility_s=30)
    assert (second.id, second.dequeue_count) == (first.id, 2)
    assert store.queues.renew(first, visibility_s=30) is None
    store.queues.delete(first)
    assert store.queues.count(queue) == 1
    renewed = store.queues.renew(second, visibility_s=30)
    assert renewed is not None
    store.queues.delete(renewed)
    assert store.queues.count(queue) == 0
    assert store.queues.renew(renewed, visibility_s=30) is None


def test_many_messages_come_at_once_when_asked(store: Store, queue: str) -> None:
    for number in range(5):
        store.queues.send(queue, str(number))
    received = store.queues.receive(queue, visibility_s=30, max_messages=32)
    assert sorted(message.text for message in received) == ["0", "1", "2", "3", "4"]


def test_a_delayed_message_is_not_visible_yet(store: Store, queue: str) -> None:
    store.queues.send(queue, "later", delay_s=30)
    assert store.queues.receive(queue, visibility_s=30) == []
    store.queues.send(queue, "much later", delay_s=10**9)
    assert store.queues.count(queue) == 2


def test_a_missing_queue_is_told_by_name(store: Store) -> None:
    with pytest.raises(NotFoundError, match="no-such-queue"):
        store.queues.send("no-such-queue", "text")


def test_visible_messages_are_counted_without_those_that_are_held_until_more_are_there_than_the_service_shows(
    store: Store, queue: str
) -> None:
    assert store.queues.num_visible(queue) == 0
    for number in range(33):
        store.queues.send(queue, str(number))
    assert store.queues.num_visible(queue) == 33
    store.queues.receive(queue, visibility_s=30)
    assert store.queues.num_visible(queue) == 33
    store.queues.receive(queue, visibility_s=30)
    assert store.queues.num_visible(queue) == 31
    store.queues.receive(queue, visibility_s=30, max_messages=31)
    assert store.queues.num_visible(queue) == 0
    with pytest.raises(NotFoundError):
        store.queues.num_visible(f"{queue}-none")
