import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from azure.core.rest import HttpRequest

from dropsweep.errors import NotFoundError
from dropsweep.messages import AdvanceMessage, TrialMessage
from dropsweep.names import RUNS, JobKey
from dropsweep.records import JobRecord, TrialRecord
from dropsweep.states import JobReason, JobState, TrialReason, TrialState
from dropsweep.steps.advance import LastLooks, advance
from dropsweep.steps.cancel import cancel
from dropsweep.steps.pause import pause, resume
from dropsweep.storage import Store, Tally
from tests.emulator.deployment import REPORT_X, Deployment, sweep
from tests.emulator.faults import Faults
from tests.emulator.leaping import LeapingClock


def waiting_trials(deployment: Deployment) -> list[int]:
    """Takes every message of the deployment's trial queue off it and returns whose they were."""
    found: list[int] = []
    while batch := deployment.store.queues.receive(f"trials-{deployment.cluster}", visibility_s=60, max_messages=32):
        found += [TrialMessage.from_text(message.text).trial for message in batch]
    return sorted(found)


def finish(deployment: Deployment, key: JobKey, trials: range, metric: float = 0.5) -> None:
    """Writes the final records of trials, as workers would."""

    def write(trial: int) -> None:
        record = TrialRecord(
            key, trial, 1, TrialReason.SUCCEEDED, {"x": trial}, metric=metric, finished=datetime.now(UTC)
        )
        assert deployment.store.blobs.create(RUNS, key.trial(trial), record.to_json(), record.to_metadata())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, trials))


def test_no_more_than_max_concurrent_trials_are_out(deployment: Deployment) -> None:
    key = deployment.drop(sweep("exit 1", 9, limits={"max_concurrent_trials": 3}))
    deployment.look(key)
    deployment.look(key)
    assert waiting_trials(deployment) == [0, 1, 2]
    finish(deployment, key, range(2))
    deployment.look(key)
    assert waiting_trials(deployment) == [3, 4]


def test_eight_advances_at_once_dispatch_each_trial_once(deployment: Deployment) -> None:
    key = deployment.drop(sweep("exit 1", 40))
    barrier = threading.Barrier(8)

    def race(_: int) -> None:
        barrier.wait()
        advance(
            deployment.store, deployment.settings, AdvanceMessage(key), LastLooks()
        )  # each as if in a process of its own

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(race, range(8)))
    assert waiting_trials(deployment) == list(range(40))
    assert deployment.job(key).next_trial == 40


def test_a_pass_that_died_before_it_sent_its_messages_is_made_good_by_the_repeat(deployment: Deployment) -> None:
    key = deployment.drop(sweep("exit 1", 4))
    deployment.look(key)
    assert waiting_trials(deployment) == [0, 1, 2, 3]  # and now they are lost
    finish(deployment, key, range(1))
    deployment.look(key)
    assert waiting_trials(deployment) == []
    deployment.look(key, is_repeat=True)
    assert waiting_trials(deployment) == [1, 2, 3]


def test_a_hint_that_tells_nothing_new_costs_no_storage_operation(deployment: Deployment) -> None:
    key = deployment.drop(sweep("exit 1", 4))
    finish(deployment, key, range(2))
    tally = Tally()
    store = Store.connect(deployment.settings.storage, tally)
    looks = LastLooks()
    advance(store, deployment.settings, AdvanceMessage(key), looks)  # dispatches, before it has a shard to list
    advance(store, deployment.settings, AdvanceMessage(key, (0,)), looks)
    before = tally.total
    advance(store, deployment.settings, AdvanceMessage(key, (0, 1)), looks)
    assert tally.total == before
    advance(store, deployment.settings, AdvanceMessage(key, (0, 2)), looks)
    assert tally.total > before


def test_a_closed_shard_is_not_listed_again(deployment: Deployment) -> None:
    key = deployment.drop(sweep("exit 1", 1_500, limits={"max_concurrent_trials": 1_000}))
    store = deployment.store
    blob = store.blobs.read(RUNS, key.record)
    assert blob is not None
    job = JobRecord.from_json(blob.body).moved(JobReason.DISPATCHING, next_trial=1_200, started=blob.served, window=300)
    assert store.blobs.replace(RUNS, key.record, job.to_json(), blob.etag, job.to_metadata())
    finish(deployment, key, range(1_000))
    deployment.settings = replace(deployment.settings, dispatch_window=300)
    assert deployment.look(key).closed_below == 1
    tally = Tally()
    looks = LastLooks(policies=deployment.looks.policies)  # a process that has looked for policy files just now
    advance(Store.connect(deployment.settings.storage, tally), deployment.settings, AdvanceMessage(key), looks)
    assert tally.by_kind() == {"GET": 1, "GET list": 1}
    assert deployment.job(key).counts == {TrialState.COMPLETED: 1_000, TrialState.QUEUED: 300}


def test_a_hint_for_a_job_that_is_gone_is_told(deployment: Deployment, key: JobKey) -> None:
    with pytest.raises(NotFoundError, match="no such job"):
        advance(deployment.store, deployment.settings, AdvanceMessage(key), LastLooks())


def test_a_job_past_its_timeout_is_cancelled_and_nobody_can_claim_its_trials(
    deployment: Deployment, service_clock: LeapingClock
) -> None:
    key = deployment.drop(sweep(REPORT_X, 4, limits={"timeout": 30, "max_concurrent_trials": 2}))
    for _ in range(2):
        assert deployment.look(key).state is JobState.RUNNING
    service_clock.leap(60)
    job = deployment.look(key)
    assert (job.state, job.reason) == (JobState.CANCELLED, JobReason.CANCELLED_BY_TIMEOUT)
    assert "2 cancelled, 2 never dispatched" in job.message
    deployment.worker().run()
    assert deployment.trial(key, 0).reason is TrialReason.JOB_CANCELLED


def test_an_alarm_that_rings_too_early_sets_the_next_one(deployment: Deployment) -> None:
    key = deployment.drop(sweep("exit 1", 2, limits={"timeout": 3_000}))
    deployment.look(key)
    before = deployment.store.queues.count("advance")
    advance(deployment.store, deployment.settings, AdvanceMessage(key, is_alarm=True), LastLooks())
    assert deployment.store.queues.count("advance") == before + 1
    advance(deployment.store, deployment.settings, AdvanceMessage(key), LastLooks())
    assert deployment.store.queues.count("advance") == before + 1


def test_a_job_with_a_timeout_leaves_itself_a_hint_for_that_time(deployment: Deployment) -> None:
    before = deployment.store.queues.count("advance")
    key = deployment.drop(sweep("exit 1", 2, limits={"timeout": 3_000}))
    deployment.look(key)
    assert deployment.store.queues.count("advance") == before + 2  # that of accept, and the delayed one


def test_trials_taken_by_a_pass_that_also_cancels_one_get_their_messages(deployment: Deployment) -> None:
    key = deployment.drop(sweep(REPORT_X, 6, limits={"max_concurrent_trials": 3}))
    deployment.look(key)
    assert waiting_trials(deployment) == [0, 1, 2]
    finish(deployment, key, [0])
    cancel(deployment.store, key, 2)
    deployment.look(key)
    assert waiting_trials(deployment) == [3, 4]


def test_what_is_owed_is_sent_once_however_often_the_record_changes_meanwhile(deployment: Deployment) -> None:
    key = deployment.drop(sweep(REPORT_X, 5))
    deployment.look(key)
    waiting_trials(deployment)
    pause(deployment.store, key)
    resume(deployment.store, key)
    store = deployment.store
    num_changes = 3

    def change(number: int, request: HttpRequest) -> None:
        """Changes the job's record just before the write that would say that nothing is owed."""
        nonlocal num_changes
        if request.method == "PUT" and request.url.split("?")[0].endswith("job.json") and num_changes:
            num_changes -= 1
            blob = store.blobs.read(RUNS, key.record)
            assert blob is not None
            assert store.blobs.replace(RUNS, key.record, blob.body, blob.etag, blob.metadata)

    contested = Store.connect(deployment.settings.storage, Faults(change))
    advance(contested, deployment.settings, AdvanceMessage(key), LastLooks())
    assert num_changes == 0
    assert waiting_trials(deployment) == [0, 1, 2, 3, 4]
    assert deployment.job(key).reason is JobReason.DISPATCHING


def test_a_hint_for_a_trial_that_an_edit_added_to_a_closed_shard_is_looked_at(deployment: Deployment) -> None:
    key = deployment.drop(sweep(REPORT_X, 4, limits={"max_total_trials": 3, "max_concurrent_trials": 2}))
    looks = LastLooks()
    job = replace(deployment.job(key), next_trial=3, closed=(0,))
    looks.remember(job, frozenset())
    assert looks.has_seen(AdvanceMessage(key, (2,)))
    assert not looks.has_seen(AdvanceMessage(key, (3,)))


def test_a_job_s_end_lists_its_records_once(deployment: Deployment) -> None:
    key = deployment.drop(sweep("exit 1", 3))
    deployment.look(key)
    finish(deployment, key, range(3))
    tally = Tally()
    deployment.store = Store.connect(deployment.settings.storage, tally)
    assert deployment.look(key).state is JobState.COMPLETED
    assert tally.by_kind()["GET list"] == 1
    assert deployment.text(key.results).count("succeeded") == 3
