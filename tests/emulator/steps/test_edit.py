import pytest

from dropsweep.errors import DropsweepError
from dropsweep.names import trials_queue
from dropsweep.states import JobState, TrialReason, TrialState
from dropsweep.steps.edit import edit
from tests.emulator.deployment import REPORT_X, Deployment, command, sweep, until


def test_more_trials_and_more_at_once_are_dispatched_after_an_edit(deployment: Deployment) -> None:
    key = deployment.drop(sweep(REPORT_X, 6, limits={"max_total_trials": 2, "max_concurrent_trials": 1}))
    assert deployment.look(key).next_trial == 1
    edit(deployment.store, key, max_total_trials=5, max_concurrent_trials=3)
    assert deployment.look(key).next_trial == 3
    assert deployment.store.queues.count(trials_queue(deployment.cluster)) == 3
    assert deployment.run(key).counts == {TrialState.COMPLETED: 5}


def test_a_trial_s_new_limit_reaches_the_worker_that_runs_it(deployment: Deployment, in_background: object) -> None:
    key = deployment.drop(sweep("sleep 60", 1))
    deployment.look(key)
    in_background(deployment.worker(idle_s=None))  # type: ignore[operator]
    until(lambda: deployment.state(key, 0) is TrialState.RUNNING)
    edit(deployment.store, key, trial_timeout_s=1)
    until(lambda: deployment.trial(key, 0).reason is TrialReason.TRIAL_TIMEOUT)


def test_a_new_timeout_counts_from_the_job_s_start(deployment: Deployment) -> None:
    key = deployment.drop(sweep(REPORT_X, 2, limits={"timeout": 3600}))
    deployment.look(key)
    edit(deployment.store, key, timeout_s=1)
    until(lambda: deployment.look(key).state is JobState.CANCELLED)


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"max_total_trials": 1}, "2 trials have been dispatched"),
        ({"max_total_trials": 7}, "from 1 to 6"),
        ({"max_concurrent_trials": 0}, "max_concurrent_trials is 0"),
        ({"timeout_s": 0}, "timeout is 0"),
        ({}, "name at least one"),
    ],
)
def test_an_impossible_limit_changes_nothing(deployment: Deployment, limits: dict[str, int], told: str) -> None:
    key = deployment.drop(sweep(REPORT_X, 6, limits={"max_concurrent_trials": 2}))
    before = deployment.look(key)
    with pytest.raises(DropsweepError, match=told):
        edit(deployment.store, key, **limits)
    assert deployment.job(key) == before


def test_a_command_has_no_limits_of_a_sweep_and_an_ended_job_none_at_all(deployment: Deployment) -> None:
    key = deployment.drop(command("true"))
    with pytest.raises(DropsweepError, match="limit of sweeps"):
        edit(deployment.store, key, max_concurrent_trials=2)
    deployment.run(key)
    with pytest.raises(DropsweepError, match="has ended"):
        edit(deployment.store, key, timeout_s=60)
