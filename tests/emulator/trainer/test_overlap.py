"""What a trial left is kept while its slot runs the next one, and in its order: uploads, commit, settling."""

import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import HTTPPolicy
from azure.core.rest import HttpRequest, HttpResponse

from dropsweep.names import RUNS, JobKey, trials_queue
from dropsweep.records import TrialRecord
from dropsweep.states import JobState, NodeState, TrialReason, TrialState
from dropsweep.storage import Store
from dropsweep_trainer.processes.users import User
from dropsweep_trainer.sharing.slots import Slot
from dropsweep_trainer.worker.worker import Worker
from tests.emulator.deployment import REPORT_X, Deployment, sweep, until
from tests.emulator.faults import BUSY, Faults, Gate
from tests.emulator.trainer.isolated import UID, needs_root

Start = Callable[[Worker], threading.Thread]


class Order(HTTPPolicy[HttpRequest, HttpResponse]):
    """Notes what was written of trials, in the order in which the service had done it."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[str] = []

    def send(self, request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, HttpResponse]:
        asked = request.http_request
        path = unquote(urlsplit(asked.url).path)
        answer = self.next.send(request)
        if answer.http_response.status_code < 300 and asked.method in ("PUT", "DELETE"):
            state = asked.headers.get("x-ms-meta-state", "")
            if "/records/" in path and "comp=" not in asked.url:
                self.done.append(f"{state} {int(path[-12:-5])}")
            elif "/outputs/" in path:
                self.done.append(f"outputs {int(path.split('/trials/')[1][:7])}")
            elif asked.method == "DELETE":
                self.done.append("deleted")
            elif "/messages/" in path and asked.url.endswith("visibilitytimeout=0"):
                self.done.append("given back")
        return answer


@pytest.fixture
def order() -> Order:
    return Order()


class First:
    """Of the requests that upload outputs, those of the trial that was the first to; messages come in any order.

    Attributes:
        trial: which one that is, once it is known.
    """

    def __init__(self) -> None:
        self.trial: int | None = None

    def __call__(self, request: HttpRequest) -> bool:
        if request.method != "PUT" or "/outputs/" not in request.url:
            return False
        trial = int(request.url.partition("/trials/")[2][:7])
        self.trial = trial if self.trial is None else self.trial
        return trial == self.trial


@pytest.fixture
def first() -> First:
    return First()


@pytest.fixture
def gate(first: First) -> Gate:
    """Holds back the outputs of the first trial."""
    return Gate(first)


@pytest.fixture
def held(deployment: Deployment, order: Order, gate: Gate) -> Store:
    return Store.connect(deployment.settings.storage, order, gate)


def dropped(deployment: Deployment, ran: Path, num_trials: int, more: str = "", name: str = "job") -> JobKey:
    """A sweep whose trials tell in `ran` that they run, and leave outputs."""
    command = f"touch {ran}/{name}-${{{{search_space.x}}}}; echo x > outputs/x; {more} {REPORT_X}"
    key = deployment.drop(sweep(command, num_trials), f"e/{name}.json")
    deployment.look(key)
    return key


def with_user(deployment: Deployment, store: Store, work: Path) -> Worker:
    """A worker whose one slot runs its trials as another user."""
    return Worker(
        store,
        deployment.settings,
        name="worker",
        cluster=deployment.settings.clusters[0],
        slots=[Slot(user=User(UID, UID))],
        work=work / "work",
        exit_when_idle_s=0.5,
    )


def open_folder(work: Path) -> Path:
    folder = work / "ran"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def num_ran(ran: Path, name: str = "job") -> int:
    return len(list(ran.glob(f"{name}-*")))


def test_the_next_trial_runs_while_the_outputs_of_the_one_before_go_up_and_no_third_one(
    deployment: Deployment, held: Store, order: Order, gate: Gate, first: First, in_background: Start
) -> None:
    key = dropped(deployment, deployment.work, 3)
    thread = in_background(deployment.worker(store=held, idle_s=0.5))
    until(lambda: gate.num_come > 0 and num_ran(deployment.work) == 2)
    assert first.trial is not None
    assert deployment.state(key, first.trial) is TrialState.RUNNING
    gate.open()
    thread.join(60)
    job = deployment.look(key)
    assert (job.state, job.counts) == (JobState.COMPLETED, {TrialState.COMPLETED: 3})
    done = order.done
    running, completed = ([what for what in done if what.startswith(state)] for state in ("running", "completed"))
    assert done.index(running[1]) < done.index(completed[0]) < done.index(running[2])
    assert completed[0] == f"completed {first.trial}"
    for trial in range(3):
        assert done.index(f"outputs {trial}") < done.index(f"completed {trial}")
    for number in range(2):
        assert done.index(completed[number]) < done.index(completed[number + 1].replace("completed", "outputs"))
    deleted = [number for number, what in enumerate(done) if what == "deleted"]
    assert [done.index(what) < at for what, at in zip(completed, deleted, strict=True)] == [True] * 3


def test_the_claim_is_kept_alive_until_the_commit(
    deployment: Deployment, held: Store, gate: Gate, in_background: Start
) -> None:
    key = dropped(deployment, deployment.work, 1)
    in_background(deployment.worker(store=held, idle_s=None))
    until(lambda: gate.num_come > 0)
    begun = deployment.store.blobs.head(RUNS, key.trial(0))
    assert begun is not None

    def has_beaten() -> bool:
        now = deployment.store.blobs.head(RUNS, key.trial(0))
        return now is not None and now.etag != begun.etag

    until(has_beaten)
    gate.open()
    until(lambda: deployment.look(key).state.is_final)
    assert deployment.trial(key, 0).reason is TrialReason.SUCCEEDED


def test_a_worker_that_is_stopped_keeps_what_a_trial_left_and_gives_the_next_one_back(
    deployment: Deployment, held: Store, gate: Gate, first: First, in_background: Start
) -> None:
    key = dropped(deployment, deployment.work, 3, more=f"mkdir {deployment.work}/first || sleep 600;")
    worker = deployment.worker(store=held, idle_s=None)
    thread = in_background(worker)
    until(lambda: gate.num_come > 0 and num_ran(deployment.work) == 2)
    assert first.trial is not None
    worker.stopping.set()
    gate.open()
    thread.join(60)
    assert not thread.is_alive()
    kept = deployment.trial(key, first.trial)
    assert (kept.reason, kept.attempt) == (TrialReason.SUCCEEDED, 1)
    others = [deployment.store.blobs.read(RUNS, key.trial(trial)) for trial in range(3) if trial != first.trial]
    records = [TrialRecord.from_json(blob.body) for blob in others if blob is not None]
    assert [record.reason for record in records] == [TrialReason.PREEMPTED]
    queue = trials_queue(deployment.cluster)
    assert (deployment.store.queues.num_visible(queue), deployment.store.queues.count(queue)) == (2, 2)


def test_a_worker_that_is_stopped_keeps_both_at_once_what_is_going_up_and_what_its_last_trial_left(
    deployment: Deployment, held: Store, gate: Gate, first: First, in_background: Start
) -> None:
    key = dropped(deployment, deployment.work, 2, more=f"mkdir {deployment.work}/first || sleep 600;")
    worker = deployment.worker(store=held, idle_s=None)
    thread = in_background(worker)
    until(lambda: gate.num_come > 0 and num_ran(deployment.work) == 2)
    assert first.trial is not None
    worker.stopping.set()
    # The second one is given back while the first one's outputs are still going up.
    until(lambda: deployment.state(key, 1 - (first.trial or 0)) is TrialState.QUEUED)
    assert deployment.state(key, first.trial) is TrialState.RUNNING
    gate.open()
    thread.join(60)
    assert not thread.is_alive()
    reasons = {trial: deployment.trial(key, trial).reason for trial in range(2)}
    assert reasons == {first.trial: TrialReason.SUCCEEDED, 1 - first.trial: TrialReason.PREEMPTED}


def test_a_worker_does_not_leave_before_all_is_kept(
    deployment: Deployment, held: Store, gate: Gate, in_background: Start
) -> None:
    key = dropped(deployment, deployment.work, 1)
    worker = deployment.worker(store=held, idle_s=0.0)
    thread = in_background(worker)
    until(lambda: gate.num_come > 0 and worker._receiver.is_dry)
    assert worker.standing() == (NodeState.RUNNING, 1)
    gate.open()
    thread.join(60)
    assert deployment.look(key).state is JobState.COMPLETED
    assert deployment.store.queues.count(trials_queue(deployment.cluster)) == 0


def test_a_trial_that_cannot_be_kept_is_given_back_and_its_slot_rests(
    deployment: Deployment, first: First, in_background: Start
) -> None:
    faults = Faults(lambda _, request: BUSY if first(request) else None)
    store = Store.connect(deployment.settings.storage, faults, patience_s=0.0)
    key = dropped(deployment, deployment.work, 1)
    worker = deployment.worker(store=store, idle_s=None)
    thread = in_background(worker)
    until(lambda: faults.num_spoilt > 0)
    worker.stopping.set()  # one that goes on would try for ten minutes
    thread.join(60)
    given_back = deployment.trial(key, 0)
    assert (given_back.state, given_back.reason) == (TrialState.QUEUED, TrialReason.NODE_ERROR)
    assert worker._handler.rests.take_s(0) > 0


@needs_root
def test_a_trial_of_another_job_waits_until_what_its_user_s_trial_left_is_kept(
    deployment: Deployment, held: Store, order: Order, gate: Gate, in_background: Start, work: Path
) -> None:
    ran = open_folder(work)
    job = dropped(deployment, ran, 1)
    thread = in_background(with_user(deployment, held, work))
    until(lambda: gate.num_come > 0)
    other = dropped(deployment, ran, 1, name="other")
    until(lambda: "given back" in order.done)
    # It is given back unclaimed, so that another worker need not wait for it.
    assert order.done.count("running 0") == 1
    deployment.worker(name="elsewhere").run()
    assert deployment.trial(other, 0).reason is TrialReason.SUCCEEDED
    assert (num_ran(ran), num_ran(ran, "other")) == (1, 1)
    third = dropped(deployment, ran, 1, name="third")
    gate.open()
    thread.join(60)
    assert {deployment.look(key).state for key in (job, other, third)} == {JobState.COMPLETED}
    claims = [number for number, what in enumerate(order.done) if what == "running 0"]
    assert order.done.index("completed 0") < claims[1]


def test_a_worker_that_was_told_to_stop_claims_no_trial_that_had_to_wait_for_its_user_s_last_one(
    deployment: Deployment,
) -> None:
    key = dropped(deployment, deployment.work, 1)
    queue = trials_queue(deployment.cluster)
    (message,) = deployment.store.queues.receive(queue, visibility_s=600)
    worker = deployment.worker()
    worker.stopping.set()
    worker._handler.handle(0, Slot(user=User(UID, UID)), message)
    assert deployment.store.queues.num_visible(queue) == 1
    assert deployment.state(key, 0) is TrialState.QUEUED
    assert deployment.store.blobs.head(RUNS, key.trial(0)) is None


@needs_root
def test_a_trial_of_the_same_job_and_user_does_not_wait(
    deployment: Deployment, held: Store, gate: Gate, in_background: Start, work: Path
) -> None:
    ran = open_folder(work)
    key = dropped(deployment, ran, 2)
    thread = in_background(with_user(deployment, held, work))
    until(lambda: gate.num_come > 0 and num_ran(ran) == 2)
    gate.open()
    thread.join(60)
    assert deployment.look(key).state is JobState.COMPLETED
