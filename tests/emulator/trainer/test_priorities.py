"""The order in which a worker takes the work of its cluster, and what looking for it costs."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import pairwise

import pytest
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import HTTPPolicy
from azure.core.rest import HttpRequest, HttpResponse

from dropsweep.errors import NotFoundError
from dropsweep.messages import TrialMessage
from dropsweep.names import BURIED, RUNS, JobKey, Priority, trials_queue, trials_queues
from dropsweep.states import JobState
from dropsweep.storage import Message, Store
from dropsweep_trainer.messages.receiving import WAITS_S, Receiver
from dropsweep_trainer.worker.worker import Worker
from tests.emulator.deployment import REPORT_X, Deployment, sweep, until

Start = Callable[[Worker], threading.Thread]


class Looks(HTTPPolicy[HttpRequest, HttpResponse]):
    """Counts the looks into each queue, and notes the moment of each."""

    def __init__(self) -> None:
        super().__init__()
        self.by_queue: Counter[str] = Counter()
        self.moments_s: dict[str, list[float]] = defaultdict(list)

    def waits_s(self, queue: str) -> list[float]:
        """The seconds between each look into a queue and the one before."""
        return [later - earlier for earlier, later in pairwise(self.moments_s[queue])]

    def send(self, request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, HttpResponse]:
        if request.http_request.method == "GET" and "/messages" in request.http_request.url:
            queue = request.http_request.url.split("/messages")[0].rpartition("/")[2]
            self.by_queue[queue] += 1
            self.moments_s[queue].append(time.monotonic())
        return self.next.send(request)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0


@pytest.fixture
def looks() -> Looks:
    return Looks()


@pytest.fixture
def watched(deployment: Deployment, looks: Looks) -> Store:
    return Store.connect(deployment.settings.storage, looks)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def receiver(deployment: Deployment, watched: Store, clock: Clock) -> Receiver:
    return Receiver(watched, deployment.cluster, visibility_s=60.0, now_s=lambda: clock.now_s)


def send(deployment: Deployment, text: str, priority: Priority = Priority.NORMAL) -> None:
    deployment.store.queues.send(trials_queue(deployment.cluster, priority), text)


def text(message: Message | None) -> str:
    return message.text if message else ""


def prioritised(
    deployment: Deployment, name: str, priority: str, command: str = REPORT_X, num_trials: int = 1
) -> JobKey:
    document = sweep(command, num_trials, queue_settings={"priority": priority})
    key = deployment.drop(document, f"e/{name}.json")
    deployment.look(key)
    return key


def test_messages_of_high_priority_come_first_and_those_of_low_priority_last(
    deployment: Deployment, receiver: Receiver
) -> None:
    for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH):
        for number in (1, 2):
            send(deployment, f"{priority} {number}", priority)
    taken = [text(receiver.receive()) for _ in range(6)]
    assert [message.split()[0] for message in taken] == ["high", "high", "normal", "normal", "low", "low"]
    assert receiver.receive() is None


def test_a_message_of_high_priority_is_seen_at_most_a_second_late(
    deployment: Deployment, receiver: Receiver, clock: Clock
) -> None:
    for _ in WAITS_S:  # idle for so long that looks are a second apart
        receiver.receive()
        clock.now_s += 1.0
    for number in range(3):
        send(deployment, f"normal {number}")
    assert text(receiver.receive()).startswith("normal")
    send(deployment, "urgent", Priority.HIGH)
    clock.now_s += WAITS_S[-1] - 0.01
    assert text(receiver.receive()).startswith("normal")
    clock.now_s += 0.01
    assert text(receiver.receive()) == "urgent"
    assert text(receiver.receive()).startswith("normal")


def test_queues_that_are_empty_are_looked_into_once_a_second_while_others_have_work(
    deployment: Deployment, receiver: Receiver, looks: Looks, clock: Clock
) -> None:
    for _ in WAITS_S:
        receiver.receive()
        clock.now_s += 1.0
    for number in range(100):
        send(deployment, str(number))
    looks.by_queue.clear()
    while receiver.receive():
        clock.now_s += 0.05
    high, normal, low = trials_queues(deployment.cluster)
    assert looks.by_queue[normal] == 101
    assert looks.by_queue[high] <= 6
    assert looks.by_queue[low] == 1


def test_a_queue_that_was_found_empty_is_looked_into_again_soon_and_then_ever_less_often(
    receiver: Receiver, looks: Looks, clock: Clock, deployment: Deployment
) -> None:
    times: list[float] = []
    normal = trials_queue(deployment.cluster)
    for _ in range(1500):
        before = looks.by_queue[normal]
        receiver.receive()
        if looks.by_queue[normal] > before:
            times.append(clock.now_s)
        clock.now_s = round(clock.now_s + 0.01, 2)
    waits = [round(later - earlier, 2) for earlier, later in pairwise(times)]
    assert waits[: len(WAITS_S)] == pytest.approx(WAITS_S, abs=0.011)
    assert set(waits[len(WAITS_S) :]) <= {1.0, 1.01}


def test_every_queue_counts_as_empty_only_after_a_look_of_its_own(
    deployment: Deployment, receiver: Receiver, clock: Clock
) -> None:
    assert not receiver.are_empty_since(0.0)
    receiver.receive()
    assert receiver.are_empty_since(0.0)
    clock.now_s = 5.0
    assert not receiver.are_empty_since(5.0)
    send(deployment, "late", Priority.LOW)
    assert text(receiver.receive()) == "late"
    assert not receiver.are_empty_since(5.0)
    receiver.receive()
    assert receiver.are_empty_since(5.0)


def test_a_cluster_without_any_queue_is_not_taken_for_an_idle_one(watched: Store) -> None:
    with pytest.raises(NotFoundError):
        Receiver(watched, "nowhere", visibility_s=60.0).receive()


def test_a_queue_that_does_not_exist_is_asked_for_once_a_minute(
    deployment: Deployment, receiver: Receiver, looks: Looks, clock: Clock
) -> None:
    high, normal, _ = trials_queues(deployment.cluster)
    deployment.store.queues._queue(high).delete_queue()
    for _ in range(60):
        receiver.receive()
        clock.now_s += 1.0
    assert (looks.by_queue[high], looks.by_queue[normal]) == (1, 60)
    deployment.store.queues.create_queue(high)
    send(deployment, "urgent", Priority.HIGH)
    assert text(receiver.receive()) == "urgent"


def test_jobs_run_in_the_order_of_their_priorities(deployment: Deployment) -> None:
    order = deployment.work / "order"
    keys = [
        prioritised(deployment, name, name, f"echo {name} >> {order}; {REPORT_X}", 2)
        for name in ("low", "normal", "high")
    ]
    deployment.worker().run()
    assert order.read_text().split() == ["high", "high", "normal", "normal", "low", "low"]
    assert {deployment.look(key).state for key in keys} == {JobState.COMPLETED}


def test_a_job_of_high_priority_is_next_while_others_run(deployment: Deployment, in_background: Start) -> None:
    order, go = deployment.work / "order", deployment.work / "go"
    command = f"echo normal >> {order}; until [ -e {go} ]; do sleep 0.1; done; {REPORT_X}"
    normal = prioritised(deployment, "normal", "normal", command, 5)
    worker = deployment.worker(idle_s=2.0)
    thread = in_background(worker)
    until(order.exists)
    high = prioritised(deployment, "high", "high", f"echo high >> {order}; {REPORT_X}")
    time.sleep(WAITS_S[-1])  # so that the worker does not rely on its last look any more
    go.touch()
    thread.join(60)
    assert deployment.look(high).state is JobState.COMPLETED
    assert deployment.look(normal).state is JobState.COMPLETED
    assert order.read_text().split()[:3].count("high") == 1


@pytest.mark.parametrize("priority", Priority)
def test_a_message_that_cannot_be_read_is_buried_under_the_name_of_its_queue(
    deployment: Deployment, priority: Priority
) -> None:
    queue = trials_queue(deployment.cluster, priority)
    deployment.store.queues.send(queue, "not ours")
    deployment.worker().run()
    assert deployment.store.queues.count(queue) == 0
    assert len(list(deployment.store.blobs.list(RUNS, f"{BURIED}{queue}/"))) == 1


def test_a_trial_that_is_given_back_keeps_its_priority(deployment: Deployment, in_background: Start) -> None:
    key = prioritised(deployment, "high", "high", "sleep 600")
    worker = deployment.worker(idle_s=None)
    thread = in_background(worker)
    until(lambda: deployment.store.blobs.head(RUNS, key.trial(0)) is not None)
    worker.stopping.set()
    thread.join(60)
    [message] = deployment.store.queues.receive(trials_queue(deployment.cluster, Priority.HIGH), visibility_s=30)
    assert TrialMessage.from_text(message.text) == TrialMessage(key, 0)


def test_many_slots_look_no_oftener_than_one(
    deployment: Deployment, watched: Store, looks: Looks, in_background: Start
) -> None:
    num_slots, queues = 8, trials_queues(deployment.cluster)
    worker = deployment.worker(num_slots=num_slots, idle_s=None, store=watched)
    thread = in_background(worker)
    until(lambda: all(sum(wait_s >= WAITS_S[-1] for wait_s in looks.waits_s(queue)) >= 4 for queue in queues))
    worker.stopping.set()
    thread.join(60)
    for queue in queues:
        num_short = sum(wait_s < WAITS_S[-1] for wait_s in looks.waits_s(queue))
        assert num_short < num_slots + len(WAITS_S), "at first each slot may look, and then come the short waits"
