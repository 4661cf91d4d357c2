"""Settling: few hints for many trials, none of them late, and no message that goes before its hint."""

import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import HTTPPolicy
from azure.core.rest import HttpRequest, HttpResponse

from dropsweep.messages import AdvanceMessage, TrialMessage
from dropsweep.names import JobKey, trials_queue
from dropsweep.states import TrialState
from dropsweep.storage import Message, Store
from dropsweep_trainer.messages.settling import Settler
from dropsweep_trainer.worker.worker import Worker
from tests.emulator.deployment import REPORT_X, Deployment, sweep, until
from tests.emulator.faults import ERROR, Faults, Gate

NEVER_S = 1e6


class Written(HTTPPolicy[HttpRequest, HttpResponse]):
    """Notes what was sent to and deleted from queues, in the order of the answers."""

    def __init__(self) -> None:
        super().__init__()
        self.hints: list[AdvanceMessage] = []
        self.order: list[str] = []

    def send(self, request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, HttpResponse]:
        answer = self.next.send(request)
        asked = request.http_request
        queue = urlsplit(asked.url).path.split("/")[2]
        if asked.method == "POST" and queue == "advance":
            text = str(asked.content).partition("<MessageText>")[2].partition("</MessageText>")[0]
            self.hints.append(AdvanceMessage.from_text(text))
            self.order.append("hint")
        elif asked.method == "DELETE":
            self.order.append("delete")
        return answer


@pytest.fixture
def written() -> Written:
    return Written()


@pytest.fixture
def watched(deployment: Deployment, written: Written) -> Store:
    return Store.connect(deployment.settings.storage, written)


@pytest.fixture
def is_dry() -> threading.Event:
    return threading.Event()


@pytest.fixture
def settler(watched: Store, is_dry: threading.Event) -> Iterator[Settler]:
    """One that settles again only when no message waits, or at its end."""
    settler = Settler(watched, is_dry.is_set, interval_s=NEVER_S)
    yield settler
    settler.finish()


@pytest.fixture
def received(deployment: Deployment, key: JobKey) -> Callable[[int], Message]:
    def receive(trial: int) -> Message:
        queue = trials_queue(deployment.cluster)
        deployment.store.queues.send(queue, TrialMessage(key, trial).to_text())
        [message] = deployment.store.queues.receive(queue, visibility_s=60)
        return message

    return receive


def test_the_first_settles_at_once_and_those_that_follow_together(
    settler: Settler, written: Written, is_dry: threading.Event, key: JobKey, received: Callable[[int], Message]
) -> None:
    settler.settle(key, 0, received(0))
    until(lambda: written.order == ["hint", "delete"])
    for trial in range(1, 8):
        settler.settle(key, trial, received(trial))
    settler.hurry()
    assert written.order == ["hint", "delete"]
    is_dry.set()
    settler.hurry()
    until(lambda: len(written.order) == 10)
    assert written.order == ["hint", "delete", "hint", *["delete"] * 7]
    assert [hint.trials for hint in written.hints] == [(0,), (1, 2, 3, 4, 5, 6, 7)]


def test_while_no_message_waits_what_comes_settles_at_once(
    settler: Settler, written: Written, is_dry: threading.Event, key: JobKey, received: Callable[[int], Message]
) -> None:
    is_dry.set()
    for trial in range(3):
        settler.settle(key, trial, received(trial))
        until(lambda trial=trial: len(written.order) == 2 * trial + 2)  # type: ignore[misc]
    assert [hint.trials for hint in written.hints] == [(0,), (1,), (2,)]


def test_the_end_settles_what_is_left(
    watched: Store, written: Written, key: JobKey, received: Callable[[int], Message]
) -> None:
    settler = Settler(watched, interval_s=NEVER_S)
    for trial in range(5):
        settler.settle(key, trial, received(trial))
    settler.finish()
    assert sorted(trial for hint in written.hints for trial in hint.trials) == [0, 1, 2, 3, 4]
    assert written.order.count("delete") == 5


def test_each_job_gets_a_hint_of_its_own_and_one_that_is_to_look_in_any_case_names_no_trial(
    settler: Settler, written: Written, is_dry: threading.Event, key: JobKey, received: Callable[[int], Message]
) -> None:
    settler.settle(key, 0, received(0))
    until(lambda: len(written.order) == 2)
    other = JobKey(key.workspace, key.experiment, "other-0123456789")
    for job, trial in ((key, 1), (other, 2), (key, None), (other, 3)):
        settler.settle(job, trial, received(9))
    is_dry.set()
    settler.hurry()
    until(lambda: len(written.order) == 8)
    assert {hint.job: hint.trials for hint in written.hints[1:]} == {key: (), other: (2, 3)}


def test_a_message_that_cannot_be_deleted_does_not_keep_the_others(
    deployment: Deployment, key: JobKey, received: Callable[[int], Message]
) -> None:
    messages = [received(trial) for trial in range(4)]
    fails = Faults(lambda _, request: ERROR if request.method == "DELETE" and messages[1].id in request.url else None)
    settler = Settler(Store.connect(deployment.settings.storage, fails, patience_s=0.0), interval_s=NEVER_S)
    for trial, message in enumerate(messages):
        settler.settle(key, trial, message)
    settler.finish()
    assert deployment.store.queues.count(trials_queue(deployment.cluster)) == 1


def test_what_waits_settles_as_soon_as_a_slot_finds_no_message(
    deployment: Deployment, in_background: Callable[[Worker], threading.Thread]
) -> None:
    queue, first, go = trials_queue(deployment.cluster), deployment.work / "first", deployment.work / "go"
    # The look that will find nothing waits until there is something to settle.
    gate = Gate(lambda request: "numofmessages" in request.url and go.exists())
    worker = deployment.worker(idle_s=None, store=Store.connect(deployment.settings.storage, gate))
    worker._handler._settler._interval_s = NEVER_S
    key = deployment.drop(sweep(f"mkdir {first} || until [ -e {go} ]; do sleep 0.1; done; {REPORT_X}", 2))
    deployment.look(key)
    in_background(worker)
    until(lambda: deployment.store.queues.count(queue) == 1)
    until(lambda: TrialState.RUNNING in (deployment.state(key, trial) for trial in range(2)))
    go.touch()
    until(lambda: len(worker._handler._settler._waiting) == 1)
    until(lambda: gate.num_come > 0)
    gate.open()
    until(lambda: deployment.store.queues.count(queue) == 0)
