"""Messages that come several at a time: whose turn they are, and how others get those that wait for too long."""

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import pytest
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import HTTPPolicy
from azure.core.rest import HttpRequest, HttpResponse

from dropsweep.names import CODE, JobKey, Priority, trials_queue
from dropsweep.states import JobState, TrialReason, TrialState
from dropsweep.storage import Message, Store
from dropsweep_trainer.messages.pace import Pace
from dropsweep_trainer.messages.receiving import HELD_S, WAITS_S, Receiver
from dropsweep_trainer.worker import worker as worker_module
from dropsweep_trainer.worker.worker import Worker
from tests.emulator.deployment import REPORT_X, Deployment, sweep, until
from tests.emulator.faults import ERROR, Faults

VISIBILITY_S = 60.0


class Brought(HTTPPolicy[HttpRequest, HttpResponse]):
    """Notes how many messages each look brought that brought any."""

    def __init__(self) -> None:
        super().__init__()
        self.nums: list[int] = []

    def send(self, request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, HttpResponse]:
        answer = self.next.send(request)
        if request.http_request.method == "GET" and "numofmessages" in request.http_request.url:
            answer.http_response.read()
            if num := answer.http_response.content.count(b"<PopReceipt>"):
                self.nums.append(num)
        return answer


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0


class SixAtOnce(Pace):
    """As if trials were so short on any machine."""

    @property
    def num_at_once(self) -> int:
        return 6


class InNoTime(Pace):
    """As if whatever a slot did had taken no time at all."""

    def note(self, job: JobKey, seconds: float) -> None:
        super().note(job, 0.0)


@pytest.fixture
def brought() -> Brought:
    return Brought()


@pytest.fixture
def watched(deployment: Deployment, brought: Brought) -> Store:
    return Store.connect(deployment.settings.storage, brought)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def receiver(deployment: Deployment, watched: Store, clock: Clock) -> Receiver:
    return Receiver(watched, deployment.cluster, visibility_s=VISIBILITY_S, now_s=lambda: clock.now_s)


def send(deployment: Deployment, *texts: str, priority: Priority = Priority.NORMAL) -> None:
    for text in texts:
        deployment.store.queues.send(trials_queue(deployment.cluster, priority), text)


def num_visible(deployment: Deployment) -> int:
    return deployment.store.queues.num_visible(trials_queue(deployment.cluster))


def text(message: Message | None) -> str:
    return message.text if message else ""


def hasty(deployment: Deployment, store: Store | None = None, **options: float | None) -> Worker:
    """A worker whose slots take six messages at once, which stay hidden unless it gives them back."""
    deployment.settings = replace(deployment.settings, claim_timeout_s=600.0)
    worker = deployment.worker(store=store, **options)  # type: ignore[arg-type]
    worker._handler.pace = SixAtOnce()
    return worker


def test_what_one_request_brought_is_handed_out_one_by_one_in_its_order(
    deployment: Deployment, receiver: Receiver, brought: Brought
) -> None:
    send(deployment, *"abcdefgh")
    assert "".join(text(receiver.receive(5)) for _ in range(5)) == "abcde"
    assert brought.nums == [5]
    assert num_visible(deployment) == 3
    assert "".join(text(receiver.receive(5)) for _ in range(4)) == "fgh"
    assert brought.nums == [5, 3]


def test_a_message_of_high_priority_comes_before_those_that_wait_here(
    deployment: Deployment, receiver: Receiver, clock: Clock
) -> None:
    for _ in WAITS_S:  # idle for so long that looks are a second apart
        receiver.receive()
        clock.now_s += WAITS_S[-1]
    send(deployment, *"abc")
    assert text(receiver.receive(3)) == "a"
    send(deployment, "urgent", priority=Priority.HIGH)
    assert text(receiver.receive(3)) == "b"
    clock.now_s += WAITS_S[-1]
    assert [text(receiver.receive(3)) for _ in range(2)] == ["urgent", "c"]


def test_what_waits_here_too_long_goes_back_and_comes_to_others(
    deployment: Deployment, receiver: Receiver, clock: Clock
) -> None:
    send(deployment, *"abcd")
    assert text(receiver.receive(3)) == "a"
    clock.now_s += HELD_S / 2
    assert text(receiver.receive(3)) == "b"
    receiver.release(older_than_s=HELD_S)
    assert num_visible(deployment) == 1
    clock.now_s += HELD_S
    receiver.release(older_than_s=HELD_S)
    assert num_visible(deployment) == 2
    other = Receiver(deployment.store, deployment.cluster, visibility_s=VISIBILITY_S)
    assert {text(other.receive()) for _ in range(2)} == {"c", "d"}
    assert receiver.receive() is None


def test_everything_that_waits_here_goes_back_at_the_end(deployment: Deployment, receiver: Receiver) -> None:
    send(deployment, *"abcd")
    assert text(receiver.receive(4)) == "a"
    receiver.release()
    assert num_visible(deployment) == 3


def test_what_others_can_see_by_now_is_not_handed_out(deployment: Deployment, receiver: Receiver, clock: Clock) -> None:
    send(deployment, *"abc")
    assert text(receiver.receive(3)) == "a"
    clock.now_s += VISIBILITY_S
    assert receiver.receive() is None


def test_a_queue_is_neither_dry_nor_empty_while_something_of_it_waits_here(
    deployment: Deployment, receiver: Receiver, clock: Clock
) -> None:
    assert not receiver.is_dry
    receiver.receive()
    assert receiver.is_dry
    began_s = clock.now_s
    send(deployment, *"ab")
    clock.now_s += WAITS_S[0]
    assert text(receiver.receive(2)) == "a"
    assert not receiver.is_dry
    assert not receiver.are_empty_since(began_s)
    assert text(receiver.receive(2)) == "b"
    assert receiver.receive(2) is None
    assert receiver.is_dry
    assert receiver.are_empty_since(began_s)


def test_when_one_cannot_go_back_the_others_are_not_tried_one_after_the_other(
    deployment: Deployment, clock: Clock
) -> None:
    fails = Faults(lambda _, request: ERROR if request.method == "PUT" else None)
    store = Store.connect(deployment.settings.storage, fails, patience_s=0.0)
    receiver = Receiver(store, deployment.cluster, visibility_s=VISIBILITY_S, now_s=lambda: clock.now_s)
    send(deployment, *"abcdef")
    receiver.receive(6)
    receiver.release()
    assert fails.num_spoilt == 1
    assert receiver.receive() is None


def test_a_worker_with_short_trials_asks_once_for_many_of_them(
    deployment: Deployment, watched: Store, brought: Brought
) -> None:
    key = deployment.drop(sweep(REPORT_X, 12))
    deployment.look(key)
    hasty(deployment, watched).run()
    job = deployment.look(key)
    assert (job.state, job.counts) == (JobState.COMPLETED, {TrialState.COMPLETED: 12})
    assert {deployment.trial(key, trial).attempt for trial in range(12)} == {1}
    assert brought.nums == [6, 6]
    assert deployment.store.queues.count(trials_queue(deployment.cluster)) == 0


def test_a_worker_whose_trials_are_not_short_takes_no_more_than_it_begins(
    deployment: Deployment, watched: Store, brought: Brought
) -> None:
    key = deployment.drop(sweep(f"sleep 0.4; {REPORT_X}", 4))
    deployment.look(key)
    deployment.worker(store=watched).run()
    assert deployment.look(key).state is JobState.COMPLETED
    assert brought.nums == [1, 1, 1, 1]


def test_a_worker_that_had_nothing_to_do_takes_one_however_short_trials_were_before(
    deployment: Deployment, in_background: Callable[[Worker], threading.Thread]
) -> None:
    worker = deployment.worker(idle_s=None)
    worker._handler.pace = InNoTime()
    in_background(worker)
    key = deployment.drop(sweep(REPORT_X, 3), "e/short.json")
    until(lambda: deployment.look(key).state.is_final)
    until(lambda: worker._handler.pace.num_at_once == 1)
    go_on = deployment.work / "go-on"
    key = deployment.drop(sweep(f"until [ -e {go_on} ]; do sleep 0.1; done; {REPORT_X}", 4), "e/long.json")
    deployment.look(key)
    until(lambda: TrialState.RUNNING in (deployment.state(key, trial) for trial in range(4)))
    assert num_visible(deployment) == 3
    go_on.touch()
    until(lambda: deployment.look(key).state.is_final)


def test_trials_that_were_never_started_say_nothing_of_how_long_trials_take(
    deployment: Deployment, watched: Store, brought: Brought
) -> None:
    deployment.store.blobs.put(CODE, f"{deployment.workspace}/src/outputs", b"a file where a folder must be")
    document = sweep(REPORT_X, 4)
    document["trial"]["code"] = f"{deployment.workspace}/src"
    key = deployment.drop(document)
    deployment.look(key)
    worker = deployment.worker(store=watched)
    worker._handler.pace = InNoTime()
    worker.run()
    assert {deployment.trial(key, trial).reason for trial in range(4)} == {TrialReason.STAGING_FAILED}
    assert brought.nums == [1, 1, 1, 1]


def test_a_trial_that_lasts_leaves_what_waits_behind_it_to_others(
    deployment: Deployment, in_background: Callable[[Worker], threading.Thread]
) -> None:
    first, done = deployment.work / "first", deployment.work / "done"
    # The first one of all waits for a sign.
    command = f"if mkdir {first}; then until [ -e {done} ]; do sleep 0.1; done; fi; {REPORT_X}"
    key = deployment.drop(sweep(command, 6))
    deployment.look(key)
    in_background(hasty(deployment, idle_s=None))
    until(lambda: first.exists() and num_visible(deployment) == 5)
    deployment.worker(name="other").run()
    states = Counter(deployment.state(key, trial) for trial in range(6))
    assert states == {TrialState.COMPLETED: 5, TrialState.RUNNING: 1}
    done.touch()
    until(lambda: deployment.look(key).state.is_final)
    assert {deployment.trial(key, trial).attempt for trial in range(6)} == {1}


def test_a_worker_with_a_trial_that_is_to_be_alone_gives_back_what_it_has_not_begun(
    deployment: Deployment, in_background: Callable[[Worker], threading.Thread], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "HELD_S", 600.0)
    go_on = deployment.work / "go-on"
    key = deployment.drop(sweep(f"until [ -e {go_on} ]; do sleep 0.1; done; {REPORT_X}", 6))
    deployment.look(key)
    worker = hasty(deployment, idle_s=None)
    in_background(worker)
    until(lambda: TrialState.RUNNING in (deployment.state(key, trial) for trial in range(6)))
    assert num_visible(deployment) == 0
    gate = worker._handler.gate
    with ExitStack() as stack:
        waits = threading.Thread(target=lambda: stack.enter_context(gate.passing(is_alone=True)))
        waits.start()
        until(lambda: num_visible(deployment) == 5)
        go_on.touch()
        waits.join()


def test_a_worker_that_is_stopped_gives_back_what_it_has_not_begun(
    deployment: Deployment, in_background: Callable[[Worker], threading.Thread]
) -> None:
    key = deployment.drop(sweep("sleep 600", 6))
    deployment.look(key)
    worker = hasty(deployment, idle_s=None)
    thread = in_background(worker)
    until(lambda: TrialState.RUNNING in (deployment.state(key, trial) for trial in range(6)))
    worker.stopping.set()
    thread.join(60)
    assert num_visible(deployment) == 6
    assert [deployment.state(key, trial) for trial in range(6)] == [TrialState.QUEUED] * 6
