import threading
from collections.abc import Callable

import pytest

from dropsweep.errors import NotFoundError
from dropsweep.names import trials_queue
from dropsweep.states import JobReason, JobState, TrialReason, TrialState
from dropsweep.steps._change import Change, Left
from dropsweep.steps.cancel import cancel
from dropsweep.steps.pause import pause, resume
from dropsweep_trainer.worker.worker import Worker
from tests.emulator.deployment import ENDS_WHEN_RESUMED, REPORT_X, Deployment, sweep, until

Start = Callable[[Worker], threading.Thread]


def held(num: int) -> str:
    """A script whose first trials go on until they have been paused and resumed; the others end at once."""
    return f"[ ${{{{search_space.x}}}} -lt {num} ] || {{ {REPORT_X}; exit; }}\n{ENDS_WHEN_RESUMED}"


def test_a_paused_job_makes_way_with_its_checkpoints_and_goes_on_from_them(
    deployment: Deployment, in_background: Start
) -> None:
    key = deployment.drop(sweep(held(2), 3, limits={"max_concurrent_trials": 2}))
    deployment.look(key)
    in_background(deployment.worker(num_slots=2, idle_s=None))
    until(lambda: deployment.has_manifest(key, 0) and deployment.has_manifest(key, 1))
    assert pause(deployment.store, key).record.state is JobState.PAUSED
    until(lambda: all(deployment.trial(key, trial).state is TrialState.PAUSED for trial in (0, 1)))
    until(lambda: deployment.store.queues.count(trials_queue(deployment.cluster)) == 0)
    paused = deployment.look(key)
    assert (paused.state, paused.next_trial) == (JobState.PAUSED, 2)
    assert resume(deployment.store, key).record.reason is JobReason.RESUMED
    job = deployment.finish(key)
    assert (job.state, job.counts) == (JobState.COMPLETED, {TrialState.COMPLETED: 3})
    for trial in (0, 1):
        final = deployment.trial(key, trial)
        assert (final.attempt, final.num_lost) == (2, 0)
        assert final.resumed_from.startswith("0001-")


def test_a_job_resumed_twice_or_paused_twice_is_as_after_once(deployment: Deployment) -> None:
    key = deployment.drop(sweep(REPORT_X, 2))
    deployment.look(key)
    paused = pause(deployment.store, key)
    assert paused.left is None
    assert pause(deployment.store, key) == Change(paused.record, Left.IS_PAUSED)
    assert resume(deployment.store, key).record.reason is JobReason.RESUMED
    running = deployment.look(key)
    assert running.reason is JobReason.DISPATCHING
    assert resume(deployment.store, key) == Change(running, Left.IS_NOT_PAUSED)


def test_messages_that_were_thrown_away_during_a_pause_are_sent_anew(deployment: Deployment) -> None:
    key = deployment.drop(sweep(REPORT_X, 3))
    deployment.look(key)
    pause(deployment.store, key)
    deployment.worker().run()
    assert deployment.store.queues.count(trials_queue(deployment.cluster)) == 0
    resume(deployment.store, key)
    assert deployment.run(key).state is JobState.COMPLETED
    assert [deployment.trial(key, trial).attempt for trial in range(3)] == [1, 1, 1]


def test_one_trial_can_be_paused_while_the_others_go_on(deployment: Deployment, in_background: Start) -> None:
    key = deployment.drop(sweep(held(1), 2, limits={"max_concurrent_trials": 1}))
    deployment.look(key)
    in_background(deployment.worker(idle_s=None))
    until(lambda: deployment.has_manifest(key, 0))
    pause(deployment.store, key, 0)
    until(lambda: deployment.trial(key, 0).state is TrialState.PAUSED)
    deployment.look(key)
    until(lambda: deployment.state(key, 1) is TrialState.COMPLETED)
    job = deployment.look(key)
    assert (job.state, job.counts) == (JobState.RUNNING, {TrialState.PAUSED: 1, TrialState.COMPLETED: 1})
    resume(deployment.store, key, 0)
    assert deployment.finish(key).state is JobState.COMPLETED
    assert deployment.trial(key, 0).attempt == 2


def test_a_trial_that_is_resumed_before_it_was_paused_goes_on(deployment: Deployment, in_background: Start) -> None:
    key = deployment.drop(sweep(ENDS_WHEN_RESUMED, 1))
    deployment.look(key)
    in_background(deployment.worker(idle_s=None))
    until(lambda: deployment.has_manifest(key, 0))
    pause(deployment.store, key, 0)
    until(lambda: deployment.trial(key, 0).state is TrialState.PAUSED)
    # As if advance had looked at the resumption before the worker wrote the pause.
    resume(deployment.store, key, 0)
    assert deployment.look(key).reason is JobReason.DISPATCHING
    assert deployment.finish(key).state is JobState.COMPLETED


def test_a_paused_job_can_be_cancelled_and_one_that_has_ended_stays_as_it_is(deployment: Deployment) -> None:
    key = deployment.drop(sweep(REPORT_X, 2))
    deployment.look(key)
    pause(deployment.store, key)
    cancel(deployment.store, key)
    assert deployment.look(key).state is JobState.CANCELLED
    assert deployment.trial(key, 0).reason is TrialReason.JOB_CANCELLED
    for act in (pause, resume, cancel):
        assert act(deployment.store, key) == Change(deployment.job(key), Left.HAS_ENDED)


@pytest.mark.parametrize("trial", [-1, 2])
def test_a_trial_that_does_not_exist_cannot_be_paused(deployment: Deployment, trial: int) -> None:
    key = deployment.drop(sweep(REPORT_X, 2))
    with pytest.raises(NotFoundError, match="counted from 0"):
        pause(deployment.store, key, trial)
