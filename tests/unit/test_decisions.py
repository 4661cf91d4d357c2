"""The controller's decisions, driven through whole sweeps without storage."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropsweep.decisions import decide, open_shards
from dropsweep.names import SHARD_SIZE, JobKey
from dropsweep.records import Best, JobRecord, TrialSummary
from dropsweep.states import JobReason, JobState, TrialReason, TrialState

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def job(num_trials: int, window: int = 4, **changes: object) -> JobRecord:
    return JobRecord(
        JobKey("w", "e", "j"), "sweep", JobReason.ACCEPTED, "j", num_trials, NOW, window, goal="maximize", **changes
    )  # type: ignore[arg-type]


def listed(record: JobRecord, trials: dict[int, TrialSummary]) -> dict[int, list[TrialSummary]]:
    return {
        shard: [trials[k] for k in range(shard * SHARD_SIZE, (shard + 1) * SHARD_SIZE) if k in trials]
        for shard in open_shards(record)
    }


def done(trial: int, metric: float | None = None, reason: TrialReason = TrialReason.SUCCEEDED) -> TrialSummary:
    return TrialSummary(trial, reason, 1, metric)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 2_600), st.integers(1, 300), st.integers(0, 2**32))
def test_a_sweep_dispatches_each_trial_once_holds_its_window_and_ends(num: int, window: int, seed: int) -> None:
    dice = random.Random(seed)
    record, trials, dispatched, running = job(num, window), {}, [], []
    metrics = {k: dice.random() for k in range(num)}
    for _ in range(100_000):
        decision = decide(record, listed(record, trials), NOW)
        record = decision.record
        dispatched += decision.dispatch
        running += decision.dispatch
        assert len(running) <= window
        if decision.is_ended:
            break
        for trial in dice.sample(running, dice.randint(1, len(running))):
            running.remove(trial)
            reason = TrialReason.EXIT_CODE if trial % 7 == 3 else TrialReason.SUCCEEDED
            trials[trial] = done(trial, metrics[trial], reason)
    assert record.state is JobState.COMPLETED
    assert dispatched == list(range(num))
    assert sum(record.counts.values()) == num
    completed = {k: metric for k, metric in metrics.items() if k % 7 != 3}
    assert record.best == Best(max(completed, key=completed.__getitem__), max(completed.values()))


def test_a_closed_shard_is_not_listed_again_and_stays_counted() -> None:
    record = job(3_000, 3_000)
    record = decide(record, {}, NOW).record
    assert open_shards(record) == [0, 1, 2]
    trials = {k: done(k, float(k)) for k in range(1_000, 2_000)}
    record = decide(record, listed(record, trials), NOW).record
    assert (open_shards(record), record.closed, record.closed_below) == ([0, 2], (1,), 0)
    trials |= {k: done(k, float(-k)) for k in range(1_000)}
    record = decide(record, listed(record, trials), NOW).record
    assert (open_shards(record), record.closed, record.closed_below) == ([2], (), 2)
    assert record.counts == {TrialState.COMPLETED: 2_000, TrialState.QUEUED: 1_000}
    assert record.best == Best(1_999, 1_999.0)


def test_a_look_at_unchanged_records_changes_nothing() -> None:
    first = decide(job(100), {}, NOW).record
    again = decide(first, listed(first, {}), NOW + timedelta(seconds=5))
    assert (again.record, list(again.dispatch), again.unclaimed) == (first, [], (0, 1, 2, 3))


def test_of_equal_metrics_the_lowest_trial_is_best() -> None:
    record = decide(job(3), {}, NOW).record
    trials = {k: done(k, 0.5) for k in (2, 0, 1)}
    assert decide(record, {0: [trials[2], trials[0], trials[1]]}, NOW).record.best == Best(0, 0.5)


def test_failed_trials_are_never_best_and_a_job_of_them_fails() -> None:
    record = decide(job(2), {}, NOW).record
    trials = {k: done(k, 0.9, TrialReason.EXIT_CODE) for k in range(2)}
    ended = decide(record, listed(record, trials), NOW)
    assert ended.is_ended
    assert (ended.record.state, ended.record.best) == (JobState.FAILED, None)


def test_a_job_past_its_timeout_starts_to_cancel() -> None:
    record = decide(job(8, timeout_s=60.0), {}, NOW).record
    assert decide(record, listed(record, {}), NOW + timedelta(seconds=59)).record.state is JobState.RUNNING
    late = decide(record, listed(record, {}), NOW + timedelta(seconds=60))
    assert (late.record.state, list(late.dispatch), late.is_ended) == (JobState.CANCELLING, [], False)
    trials = {k: done(k, reason=TrialReason.JOB_CANCELLED) for k in range(4)}
    ended = decide(late.record, listed(late.record, trials), NOW + timedelta(seconds=61))
    assert (ended.record.state, ended.record.reason) == (JobState.CANCELLED, JobReason.CANCELLED_BY_TIMEOUT)
    assert "4 never dispatched" in ended.record.message


def test_a_job_cancelled_before_its_first_trial_ends_at_once() -> None:
    record = job(8).moved(JobReason.CANCEL_REQUESTED)
    ended = decide(record, {}, NOW)
    assert (ended.is_ended, ended.record.reason) == (True, JobReason.CANCELLED_BY_REQUEST)


@pytest.mark.parametrize("state", [TrialReason.CLAIMED, TrialReason.PREEMPTED])
def test_a_cancelling_job_waits_for_trials_that_are_not_final(state: TrialReason) -> None:
    record = decide(job(2), {}, NOW).record.moved(JobReason.CANCEL_REQUESTED)
    trials = {0: done(0, 1.0), 1: done(1, reason=state)}
    assert not decide(record, listed(record, trials), NOW).is_ended
