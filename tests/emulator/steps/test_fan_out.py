"""What a pass of advance asks of storage, and holds, when many trials have ended or many passes come at once."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from dropsweep.messages import AdvanceMessage, TrialMessage
from dropsweep.names import RUNS, SHARD_SIZE, JobKey
from dropsweep.records import JobRecord, TrialRecord
from dropsweep.states import JobReason, TrialReason, TrialState
from dropsweep.steps._policies import Policies
from dropsweep.steps.advance import LastLooks, Outlook, advance
from dropsweep.storage import Clock, Store, Tally
from tests.emulator.deployment import Deployment, sweep
from tests.emulator.faults import Died, Fault, Faults

WINDOW = 8
DEATH = Fault("the process dies", False, Died)


def sent(deployment: Deployment) -> list[int]:
    """Takes every message of the deployment's trial queue off it and returns whose they were."""
    found: list[int] = []
    while batch := deployment.store.queues.receive(f"trials-{deployment.cluster}", visibility_s=600, max_messages=32):
        found += [TrialMessage.from_text(message.text).trial for message in batch]
    return sorted(found)


def finish(deployment: Deployment, key: JobKey, trials: range) -> None:
    """Writes the final records of trials, as workers would."""

    def write(trial: int) -> None:
        record = TrialRecord(key, trial, 1, TrialReason.SUCCEEDED, {"x": trial}, metric=0.5, finished=datetime.now(UTC))
        assert deployment.store.blobs.create(RUNS, key.trial(trial), record.to_json(), record.to_metadata())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, trials))


def with_finished(deployment: Deployment, num_finished: int) -> JobKey:
    """Makes a job of which so many trials are final, in closed shards, and a window more is out."""
    document = sweep(
        "exit 1", 1, limits={"max_concurrent_trials": WINDOW, "max_total_trials": num_finished + 5 * WINDOW}
    )
    document |= {
        "search_space": {"x": {"type": "uniform", "min_value": 0, "max_value": 1}},
        "sampling_algorithm": "random",
    }
    key = deployment.drop(document, f"e/{num_finished}.json")
    blob = deployment.store.blobs.read(RUNS, key.record)
    assert blob is not None
    job = JobRecord.from_json(blob.body).moved(JobReason.DISPATCHING, started=blob.served)
    job = replace(
        job,
        next_trial=num_finished + WINDOW,
        closed_below=num_finished // SHARD_SIZE,
        closed_counts={TrialState.COMPLETED: num_finished},
    )
    assert deployment.store.blobs.replace(RUNS, key.record, job.to_json(), blob.etag, job.to_metadata())
    return key


def informed(deployment: Deployment) -> LastLooks:
    """Returns the memory of a process that knows no job and looks for no policy files any more."""
    policies = Policies(max_age_s=1e9)
    policies.names(deployment.store)
    return LastLooks(policies=policies)


def operations_of_a_pass(deployment: Deployment, key: JobKey) -> dict[str, int]:
    tally, looks = Tally(), informed(deployment)
    advance(Store.connect(deployment.settings.storage, tally), deployment.settings, AdvanceMessage(key), looks)
    return tally.by_kind()


def test_a_pass_asks_for_no_more_however_many_trials_have_ended(deployment: Deployment) -> None:
    for num_finished in (1_000, 100_000):
        key = with_finished(deployment, num_finished)
        finish(deployment, key, range(num_finished, num_finished + 3))
        assert operations_of_a_pass(deployment, key) == {"GET": 1, "GET list": 1, "PUT": 1, "POST": 3}
        assert operations_of_a_pass(deployment, key) == {"GET": 1, "GET list": 1}
        assert deployment.job(key).counts == {TrialState.QUEUED: WINDOW, TrialState.COMPLETED: num_finished + 3}
    first, second = 1_000 + WINDOW, 100_000 + WINDOW
    assert sent(deployment) == [*range(first, first + 3), *range(second, second + 3)]


def test_two_passes_at_once_send_each_message_once_and_ask_for_little_more_than_one(deployment: Deployment) -> None:
    key = with_finished(deployment, 1_000)
    finish(deployment, key, range(1_000, 1_000 + WINDOW))
    barrier = threading.Barrier(2)

    def race(_: int) -> Counter[str]:
        tally, looks = Tally(), informed(deployment)  # each as if in a process of its own
        store = Store.connect(deployment.settings.storage, tally)
        barrier.wait()
        advance(store, deployment.settings, AdvanceMessage(key), looks)
        return Counter(tally.by_kind())

    with ThreadPoolExecutor(2) as pool:
        asked = sum(pool.map(race, range(2)), Counter())
    assert sent(deployment) == list(range(1_000 + WINDOW, 1_000 + 2 * WINDOW))
    assert asked.pop("POST") == WINDOW
    # One reads, lists and writes. The other one does too, loses, looks whose the record is, and reads and lists again.
    assert asked.total() <= 9


def test_a_crowd_of_hints_costs_one_pass(deployment: Deployment) -> None:
    key = deployment.drop(sweep("exit 1", 41, limits={"max_concurrent_trials": 41}))
    tally = Tally()
    store = Store.connect(deployment.settings.storage, tally)
    looks = informed(deployment)
    advance(store, deployment.settings, AdvanceMessage(key), looks)
    barrier = threading.Barrier(20)

    def end(number: int) -> Outlook | None:
        """Ends two trials and hints at them, as a worker does."""
        trials = range(2 * number, 2 * number + 2)
        finish(deployment, key, trials)
        barrier.wait()
        return advance(store, deployment.settings, AdvanceMessage(key, tuple(trials)), looks)

    before = Counter(tally.by_kind())
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(end, range(20)))
    # All records were there before the first hint came, so that its pass sees them.
    assert Counter(tally.by_kind()) - before == {"GET": 1, "GET list": 1, "PUT": 1}
    assert deployment.job(key).counts == {TrialState.QUEUED: 1, TrialState.COMPLETED: 40}


class RestingClock(Clock):
    """Goes on by a second with each look at it; a rest lasts until somebody ends it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.is_resting = threading.Event()

    def now_s(self) -> float:
        self.now += 1.0
        return self.now

    def wait(self, seconds: float, stopping: threading.Event | None) -> None:
        self.is_resting.set()
        assert stopping is not None
        assert stopping.wait(60)


def test_hints_that_relied_on_a_pass_that_died_are_made_good_by_the_repeat_of_its_message(
    deployment: Deployment,
) -> None:
    key = deployment.drop(sweep("exit 1", 8, limits={"max_concurrent_trials": 4}))
    clock, is_dying = RestingClock(), threading.Event()
    looks = LastLooks(clock=clock)
    store = Store.connect(deployment.settings.storage, Faults(lambda _, __: DEATH if is_dying.is_set() else None))
    advance(store, deployment.settings, AdvanceMessage(key), looks)
    finish(deployment, key, range(2))
    first, second = AdvanceMessage(key, (0,)), AdvanceMessage(key, (1,))
    is_dying.set()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(advance, store, deployment.settings, first, looks)
        assert clock.is_resting.wait(60)
        assert advance(store, deployment.settings, second, looks) is None  # and so its message is deleted
        with pytest.raises(Died):
            waiting.result(60)
    assert sent(deployment) == [0, 1, 2, 3]
    advance(deployment.store, deployment.settings, first, LastLooks(), is_repeat=True)
    assert deployment.job(key).counts == {TrialState.QUEUED: 4, TrialState.COMPLETED: 2}
    assert sent(deployment) == [2, 3, 4, 5]


@pytest.mark.parametrize("num_finished", [1_000, 100_000])
def test_what_is_kept_of_a_job_is_no_more_than_its_window_and_its_open_shards(
    deployment: Deployment, num_finished: int
) -> None:
    key = with_finished(deployment, num_finished)
    finish(deployment, key, range(num_finished, num_finished + 3))
    outlook = advance(deployment.store, deployment.settings, AdvanceMessage(key), deployment.looks)
    assert outlook is not None
    assert outlook.num_messages == WINDOW
    assert len(outlook.lacking) == WINDOW
    assert deployment.looks.num_kept == 3 + WINDOW
