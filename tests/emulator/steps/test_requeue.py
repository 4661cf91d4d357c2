from dataclasses import replace
from datetime import UTC, datetime

import pytest

from dropsweep.errors import StorageCorrupt
from dropsweep.names import RUNS, JobKey
from dropsweep.records import JobRecord, Retries, TrialRecord
from dropsweep.states import JobReason, TrialReason, TrialState, Wish
from dropsweep.steps.attempt import Claim, FinalTrial, claim
from dropsweep.steps.requeue import cancel_unheld, requeue
from dropsweep.storage import Store
from tests.emulator.leaping import LeapingClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def job(key: JobKey) -> JobRecord:
    return JobRecord(key, "sweep", JobReason.DISPATCHING, "job", 3, NOW)


def try_claim(store: Store, key: JobKey) -> object:
    return claim(store, key, 0, {"x": 1}, worker="w", claim_timeout_s=60.0, max_lost_workers=3)


def record(store: Store, key: JobKey) -> TrialRecord:
    blob = store.blobs.read(RUNS, key.trial(0))
    assert blob is not None
    return TrialRecord.from_json(blob.body)


def cancel(store: Store, job: JobRecord, *, timeout_s: float = 60.0) -> bool:
    return cancel_unheld(store, job, 0, NOW, claim_timeout_s=timeout_s)


def test_an_unclaimed_trial_can_be_cancelled_which_bars_later_claims(store: Store, job: JobRecord) -> None:
    assert cancel(store, job)
    assert cancel(store, job)
    assert try_claim(store, job.key) == FinalTrial(TrialState.CANCELLED)
    assert record(store, job.key).reason is TrialReason.JOB_CANCELLED


def test_a_running_trial_is_not_cancelled_over_its_worker_s_head(store: Store, job: JobRecord) -> None:
    assert isinstance(try_claim(store, job.key), Claim)
    assert not cancel(store, job)
    assert record(store, job.key).state is TrialState.RUNNING


def test_a_trial_whose_worker_went_silent_is_cancelled_for_it(
    store: Store, job: JobRecord, service_clock: LeapingClock
) -> None:
    claimed = try_claim(store, job.key)
    assert isinstance(claimed, Claim)
    claimed.asked_at -= 40.0  # as if it were so long ago
    claimed.beat(metric=None, step=None, metrics={})
    silent = replace(job, requests={0: Wish.CANCEL})
    assert not cancel(store, silent, timeout_s=30.0)
    service_clock.leap(60)
    assert cancel(store, silent, timeout_s=30.0)
    assert record(store, job.key).reason is TrialReason.TRIAL_CANCELLED
    assert record(store, job.key).ran_s >= 40.0  # up to its last heartbeat


def test_a_silent_trial_whose_heartbeat_tells_a_damaged_time_is_corrupt(
    store: Store, job: JobRecord, service_clock: LeapingClock
) -> None:
    assert isinstance(try_claim(store, job.key), Claim)
    head = store.blobs.head(RUNS, job.key.trial(0))
    assert head is not None
    assert store.blobs.touch(RUNS, job.key.trial(0), head.etag, {**head.metadata, "ran_s": "nan"})
    service_clock.leap(60)
    with pytest.raises(StorageCorrupt, match="ran_s"):
        cancel(store, job, timeout_s=30.0)


def test_a_result_is_never_cancelled(store: Store, job: JobRecord) -> None:
    held = try_claim(store, job.key)
    assert isinstance(held, Claim)
    held.end(TrialReason.SUCCEEDED, "", metric=1.0)
    assert cancel(store, job)
    assert record(store, job.key).state is TrialState.COMPLETED


def test_a_failed_trial_is_queued_once_for_each_round(store: Store, job: JobRecord) -> None:
    held = try_claim(store, job.key)
    assert isinstance(held, Claim)
    held.end(TrialReason.EXIT_CODE, "exit code 1", exit_code=1)
    assert not requeue(store, job, 0)
    due = replace(job, retries=Retries(1, 1))
    assert requeue(store, due, 0)
    queued = record(store, job.key)
    assert (queued.state, queued.reason, queued.round) == (TrialState.QUEUED, TrialReason.RETRY_REQUESTED, 1)
    again = try_claim(store, job.key)
    assert isinstance(again, Claim)
    assert again.record.attempt == 2
    again.end(TrialReason.EXIT_CODE, "exit code 1", exit_code=1)
    assert not requeue(store, due, 0)
    assert record(store, job.key).state is TrialState.FAILED


def test_a_completed_trial_is_never_queued_again(store: Store, job: JobRecord) -> None:
    held = try_claim(store, job.key)
    assert isinstance(held, Claim)
    held.end(TrialReason.SUCCEEDED, "", metric=1.0)
    assert not requeue(store, replace(job, retries=Retries(1, 1)), 0)
    assert record(store, job.key).state is TrialState.COMPLETED


def test_a_late_pass_cannot_queue_a_failed_trial_of_a_cancelled_job(store: Store, job: JobRecord) -> None:
    held = try_claim(store, job.key)
    assert isinstance(held, Claim)
    held.end(TrialReason.EXIT_CODE, "exit code 1", exit_code=1)
    due = replace(job, retries=Retries(1, 1))
    assert cancel(store, due)
    assert not requeue(store, due, 0)
    final = record(store, job.key)
    assert (final.state, final.reason, final.round) == (TrialState.FAILED, TrialReason.EXIT_CODE, 1)
