from dataclasses import replace
from datetime import timedelta

import pytest

from dropsweep.errors import DropsweepError
from dropsweep.names import LIVE, RUNS
from dropsweep.states import JobReason, JobState, TrialReason, TrialState
from dropsweep.steps._change import Change, Left
from dropsweep.steps.cancel import cancel
from dropsweep.steps.retry import retry
from tests.emulator.deployment import REPORT_X, Deployment, command, sweep

FAIL_ONCE = REPORT_X + '; test ${{search_space.x}} -ne 1 || test "$DROPSWEEP_ATTEMPT" -gt 1'
"""Of the trials the second fails in its first attempt."""


def test_a_retry_runs_the_failed_trials_alone_and_writes_the_results_anew(deployment: Deployment) -> None:
    key = deployment.drop(sweep(FAIL_ONCE, 3))
    before = deployment.run(key)
    assert before.counts == {TrialState.COMPLETED: 2, TrialState.FAILED: 1}
    deployment.store.blobs.delete(RUNS, key.marker)
    assert retry(deployment.store, key).record.reason is JobReason.RETRY_REQUESTED
    assert deployment.store.blobs.head(RUNS, key.marker)
    after = deployment.run(key)
    assert (after.state, after.counts) == (JobState.COMPLETED, {TrialState.COMPLETED: 3})
    assert [deployment.trial(key, trial).attempt for trial in range(3)] == [1, 2, 1]
    assert "failed" not in deployment.text(key.results)
    assert retry(deployment.store, key) == Change(after, Left.NONE_HAS_FAILED)


def test_one_failed_trial_can_be_retried_of_several(deployment: Deployment) -> None:
    key = deployment.drop(sweep("exit 3", 3))
    assert deployment.run(key).state is JobState.FAILED
    retry(deployment.store, key, 2)
    assert deployment.run(key).counts == {TrialState.FAILED: 3}
    assert [deployment.trial(key, trial).attempt for trial in range(3)] == [1, 1, 2]
    retry(deployment.store, key, 2)
    deployment.run(key)
    assert [deployment.trial(key, trial).attempt for trial in range(3)] == [1, 1, 3]


def test_a_retry_on_a_hint_that_was_seen_before_is_not_overlooked(deployment: Deployment) -> None:
    key = deployment.drop(sweep("exit 3", 2, limits={"max_concurrent_trials": 1}))
    deployment.run(key)  # deployment.looks remembers both as final
    retry(deployment.store, key)
    deployment.look(key)
    for _ in range(2):
        deployment.worker().run()
        deployment.deliver_hints()
    assert deployment.job(key).state is JobState.FAILED
    assert [deployment.trial(key, trial).attempt for trial in (0, 1)] == [2, 2]


def test_what_cannot_be_retried_is_refused_with_a_remedy(deployment: Deployment) -> None:
    completed = deployment.drop(sweep(REPORT_X, 1))
    deployment.run(completed)
    with pytest.raises(DropsweepError, match="only a failed trial"):
        retry(deployment.store, completed, 0)
    cancelled = deployment.drop(sweep(REPORT_X, 1), "e/other.json")
    cancel(deployment.store, cancelled)
    deployment.look(cancelled)
    with pytest.raises(DropsweepError, match="Submit its file again"):
        retry(deployment.store, cancelled)


def test_the_timeout_begins_anew_with_a_retry(deployment: Deployment) -> None:
    key = deployment.drop(command("exit 1", limits={"timeout": 600}))
    ended = deployment.run(key)
    assert ended.started is not None
    long_ago = replace(ended, started=ended.started - timedelta(seconds=599))
    head = deployment.store.blobs.head(RUNS, key.record)
    assert head is not None
    deployment.store.blobs.replace(RUNS, key.record, long_ago.to_json(), head.etag, long_ago.to_metadata())
    job = retry(deployment.store, key).record
    assert job.finished is None
    assert job.spent_s(ended.started + timedelta(seconds=5)) <= 5


def test_a_command_that_fails_is_tried_again_as_often_as_the_job_asks(deployment: Deployment) -> None:
    key = deployment.drop(command("exit 75", retry_settings={"max_retries": 2, "exit_codes": [75]}))
    job = deployment.run(key)
    final = deployment.trial(key, 0)
    assert (job.state, final.reason, final.exit_code) == (JobState.FAILED, TrialReason.EXIT_CODE, 75)
    assert (final.attempt, final.num_retries, final.num_lost) == (3, 2, 0)


def test_another_exit_code_than_the_job_names_is_the_user_s(deployment: Deployment) -> None:
    key = deployment.drop(command("exit 1", retry_settings={"max_retries": 2, "exit_codes": [75, 137]}))
    deployment.run(key)
    assert deployment.trial(key, 0).attempt == 1


def test_a_death_by_sigkill_is_137_for_the_job(deployment: Deployment) -> None:
    key = deployment.drop(command("kill -9 $$", retry_settings={"max_retries": 1, "exit_codes": [137]}))
    deployment.run(key)
    final = deployment.trial(key, 0)
    assert (final.attempt, final.reason) == (2, TrialReason.SIGNAL)


def test_a_live_job_has_a_marker_below_no_workspace_s_name(deployment: Deployment) -> None:
    key = deployment.drop(sweep(REPORT_X, 1))
    assert key.path in {blob.name.removeprefix(LIVE) for blob in deployment.store.blobs.list(RUNS, LIVE)}
