"""The controller's decisions, driven through whole sweeps without storage."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropsweep.decisions import Limits, Standing, decide, num_out, open_shards
from dropsweep.names import SHARD_SIZE, JobKey
from dropsweep.records import Best, JobRecord, Retried, Retries, TrialSummary
from dropsweep.states import JobReason, JobState, TrialReason, TrialState, Wish

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
    assert (again.record, list(again.dispatch)) == (first, [])
    assert again.by_standing == {Standing.WAITING: [0, 1, 2, 3]}


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


def standings(record: JobRecord, trials: dict[int, TrialSummary], at: datetime = NOW) -> dict[int, Standing]:
    found = decide(record, listed(record, trials), at, Limits(claim_timeout_s=60, window=256)).by_standing
    return {trial: standing for standing, group in found.items() for trial in group}


def test_each_trial_of_a_running_job_stands_as_its_record_and_the_requests_say() -> None:
    record = replace(
        decide(job(12, 12), {}, NOW).record,
        requests={3: Wish.CANCEL, 4: Wish.PAUSE, 5: Wish.PAUSE, 6: Wish.CANCEL, 7: Wish.CANCEL},
        retries=Retries(2, 1, {9: 2}),
    )
    trials = {
        1: TrialSummary(1, TrialReason.CLAIMED, 1, modified=NOW - timedelta(seconds=61)),
        2: TrialSummary(2, TrialReason.CLAIMED, 1, modified=NOW - timedelta(seconds=63)),
        5: TrialSummary(5, TrialReason.CLAIMED, 1, modified=NOW),
        6: TrialSummary(6, TrialReason.CLAIMED, 1, modified=NOW),
        7: TrialSummary(7, TrialReason.CLAIMED, 1, modified=NOW - timedelta(seconds=90)),
        8: TrialSummary(8, TrialReason.EXIT_CODE, 1, round=0),
        9: TrialSummary(9, TrialReason.EXIT_CODE, 1, round=1),
        10: TrialSummary(10, TrialReason.EXIT_CODE, 1, round=1),
        11: TrialSummary(11, TrialReason.PAUSED, 1),
    }
    assert standings(record, trials) == {
        0: Standing.WAITING,
        1: Standing.RUNNING,  # within the slack
        2: Standing.STALE,
        3: Standing.CANCEL,
        4: Standing.RESTING,
        5: Standing.RUNNING,
        6: Standing.RUNNING,  # its worker ends it
        7: Standing.CANCEL,
        8: Standing.REQUEUE,
        9: Standing.REQUEUE,
        10: Standing.SETTLED,
        11: Standing.REQUEUE,
    }


def test_a_paused_job_dispatches_nothing_and_its_time_stands_still() -> None:
    record = decide(job(8, timeout_s=60.0), {}, NOW).record
    record = record.moved(JobReason.PAUSE_REQUESTED, paused=NOW + timedelta(seconds=10))
    trials = {0: done(0), 1: TrialSummary(1, TrialReason.CLAIMED, 1), 2: TrialSummary(2, TrialReason.PAUSED, 1)}
    late = decide(record, listed(record, trials), NOW + timedelta(hours=9))
    assert (late.record.state, list(late.dispatch)) == (JobState.PAUSED, [])
    assert standings(record, trials) == {
        0: Standing.SETTLED,
        1: Standing.RUNNING,
        2: Standing.RESTING,
        3: Standing.RESTING,
    }
    silent = {1: TrialSummary(1, TrialReason.CLAIMED, 1, modified=NOW - timedelta(seconds=90))}
    assert standings(record, silent)[1] is Standing.RESTING
    resumed = record.moved(JobReason.RESUMED, paused=None, idle_s=8 * 3600.0)
    soon = NOW + timedelta(hours=8, seconds=59)
    assert decide(resumed, listed(resumed, trials), soon).record.state is JobState.RUNNING
    assert decide(resumed, listed(resumed, trials), soon + timedelta(seconds=1)).record.state is JobState.CANCELLING


def test_what_is_owed_stays_owed_while_more_is_dispatched() -> None:
    record = decide(job(8), {}, NOW).record.moved(JobReason.RESUMED)
    decision = decide(record, listed(record, {0: done(0)}), NOW)
    assert (list(decision.dispatch), decision.record.reason) == ([4], JobReason.RESUMED)


def test_a_paused_trial_makes_room_for_another_one() -> None:
    record = replace(decide(job(8), {}, NOW).record, requests={1: Wish.PAUSE})
    assert list(decide(record, listed(record, {}), NOW).dispatch) == [4]


def test_a_job_paused_with_nothing_left_to_do_ends() -> None:
    record = decide(job(2), {}, NOW).record.moved(JobReason.PAUSE_REQUESTED, paused=NOW)
    later = NOW + timedelta(hours=3)
    ended = decide(record, listed(record, {0: done(0, 1.0), 1: done(1, 2.0)}), later)
    assert (ended.is_ended, ended.record.state, ended.record.paused) == (True, JobState.COMPLETED, None)
    assert ended.record.spent_s(later) == 0


def test_a_retried_job_lists_closed_shards_anew_and_ends_with_the_new_result() -> None:
    record = decide(job(1_001, 1_001), {}, NOW).record
    trials = {k: done(k, float(k), TrialReason.EXIT_CODE if k == 7 else TrialReason.SUCCEEDED) for k in range(1_001)}
    ended = decide(record, listed(record, trials), NOW)
    assert (ended.is_ended, open_shards(ended.record)) == (True, [])
    asked = replace(ended.record, retries=ended.record.retries.asked(None)).reopened()
    asked = asked.moved(JobReason.RETRY_REQUESTED, finished=None)
    again = decide(asked, listed(asked, trials), NOW)
    assert (again.is_ended, again.trials(Standing.REQUEUE)) == (False, [7])
    trials[7] = TrialSummary(7, TrialReason.EXIT_CODE, 2, round=1)
    over = decide(again.record, listed(again.record, trials), NOW)
    assert over.is_ended
    assert over.record.counts == {TrialState.COMPLETED: 1_000, TrialState.FAILED: 1}


def test_requests_that_have_been_met_are_forgotten() -> None:
    record = replace(
        decide(job(4), {}, NOW).record, requests={0: Wish.CANCEL, 1: Wish.CANCEL}, retries=Retries(1, 0, {2: 1})
    )
    trials = {0: done(0, reason=TrialReason.TRIAL_CANCELLED), 2: TrialSummary(2, TrialReason.EXIT_CODE, 2, round=1)}
    after = decide(record, listed(record, trials), NOW).record
    assert (after.requests, after.retries) == ({1: Wish.CANCEL}, Retries(1, 0, {}))


def test_the_deployment_s_window_bounds_that_of_the_job() -> None:
    assert list(decide(job(100, 50), {}, NOW, Limits(60, window=7)).dispatch) == list(range(7))


def test_a_job_whose_trials_all_ended_in_time_is_not_timed_out_by_a_late_look() -> None:
    record = decide(job(2, timeout_s=60.0), {}, NOW).record
    late = decide(record, listed(record, {0: done(0, 1.0), 1: done(1, 2.0)}), NOW + timedelta(hours=1))
    assert (late.is_ended, late.record.state) == (True, JobState.COMPLETED)


def test_what_is_queued_anew_keeps_to_the_window_and_goes_before_new_trials() -> None:
    record = replace(decide(job(8, window=5), {}, NOW).record, retries=Retries(1, 1))
    failed = {k: TrialSummary(k, TrialReason.EXIT_CODE, 1) for k in range(3)}
    first = decide(record, listed(record, failed), NOW)
    assert (list(first.requeue), list(first.dispatch)) == ([0, 1, 2], [])
    narrow = replace(record, window=3)
    second = decide(narrow, listed(narrow, failed), NOW)
    assert (list(second.requeue), list(second.dispatch)) == ([0], [])
    wide = replace(record, window=6)
    assert list(decide(wide, listed(wide, failed), NOW).dispatch) == [5]


def test_a_failed_trial_whose_retry_is_due_is_not_settled_while_its_job_is_cancelled() -> None:
    record = replace(decide(job(1), {}, NOW).record, retries=Retries(1, 1)).moved(JobReason.CANCEL_REQUESTED)
    due = {0: TrialSummary(0, TrialReason.EXIT_CODE, 1)}
    assert decide(record, listed(record, due), NOW).trials(Standing.CANCEL) == [0]
    met = {0: TrialSummary(0, TrialReason.EXIT_CODE, 1, round=1)}
    assert decide(record, listed(record, met), NOW).is_ended


def granted(num_granted: int) -> Limits:
    return Limits(60, window=256, granted=num_granted)


def test_no_more_trials_are_out_than_the_job_is_granted() -> None:
    first = decide(job(8), {}, NOW, granted(3))
    assert (list(first.dispatch), num_out(first.record)) == ([0, 1, 2], 3)
    trials = {0: done(0), 1: TrialSummary(1, TrialReason.CLAIMED, 1)}
    assert list(decide(first.record, listed(first.record, trials), NOW, granted(3)).dispatch) == [3]
    assert list(decide(first.record, listed(first.record, trials), NOW, granted(0)).dispatch) == []
    assert list(decide(first.record, listed(first.record, trials), NOW, granted(99)).dispatch) == [3, 4]


def test_a_job_that_is_granted_nothing_stays_as_it_is() -> None:
    assert decide(job(8), {}, NOW, granted(0)).record == job(8)


def test_trials_that_were_paused_before_a_worker_began_them_are_still_out() -> None:
    record = replace(decide(job(8), {}, NOW).record, requests={1: Wish.PAUSE})
    trials = {0: TrialSummary(0, TrialReason.PAUSED, 1), 2: done(2)}
    decision = decide(record, listed(record, trials), NOW, granted(2))
    assert num_out(decision.record) == 2  # trial 1, which waits, and trial 3
    assert (list(decision.requeue), list(decision.dispatch)) == ([], [])
    more = decide(record, listed(record, trials), NOW, granted(3))
    assert (list(more.requeue), list(more.dispatch)) == ([0], [])


def test_trials_that_were_tried_again_stay_counted_when_their_shard_is_closed() -> None:
    record = job(SHARD_SIZE + 2, next_trial=SHARD_SIZE + 2)
    trials = {k: done(k) for k in range(SHARD_SIZE)}
    trials[3] = replace(done(3), num_retries=2)
    trials[SHARD_SIZE] = TrialSummary(SHARD_SIZE, TrialReason.RETRYING, 1, runs_alone=True)
    record = decide(record, listed(record, trials), NOW).record
    assert (record.closed_retried, record.retried) == (Retried(1, 0), Retried(2, 1))
    again = decide(record, listed(record, trials), NOW).record
    assert (again.closed_retried, again.retried) == (Retried(1, 0), Retried(2, 1))
    assert record.reopened().closed_retried == Retried()
