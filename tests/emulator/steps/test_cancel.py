import threading
from collections.abc import Callable

import pytest

from dropsweep.errors import NotFoundError
from dropsweep.names import JobKey
from dropsweep.states import JobReason, JobState, TrialReason
from dropsweep.steps._change import Change, Left
from dropsweep.steps.cancel import cancel
from dropsweep_trainer.worker.worker import Worker
from tests.emulator.deployment import Deployment, sweep, until

Start = Callable[[Worker], threading.Thread]


def test_cancelling_stops_running_trials_and_ends_the_job(deployment: Deployment, in_background: Start) -> None:
    key = deployment.drop(sweep("echo up; sleep 600", 6, limits={"max_concurrent_trials": 3}))
    deployment.look(key)
    in_background(deployment.worker(num_slots=2, idle_s=None))
    until(lambda: sum(deployment.store.blobs.head("runs", key.trial(k)) is not None for k in range(3)) == 2)
    assert cancel(deployment.store, key).record.state is JobState.CANCELLING
    until(lambda: deployment.look(key).state.is_final)
    job = deployment.job(key)
    assert (job.state, job.reason) == (JobState.CANCELLED, JobReason.CANCELLED_BY_REQUEST)
    assert [deployment.trial(key, k).reason for k in range(3)] == [TrialReason.JOB_CANCELLED] * 3
    assert job.next_trial == 3
    assert deployment.text(key.report).startswith("<!")


def test_cancelling_a_final_job_changes_nothing(deployment: Deployment) -> None:
    key = deployment.drop(sweep("exit 1", 1))
    ended = deployment.run(key)
    assert cancel(deployment.store, key) == Change(ended, Left.HAS_ENDED)
    assert deployment.job(key) == ended


def test_cancelling_twice_is_cancelling_once(deployment: Deployment) -> None:
    key = deployment.drop(sweep("exit 1", 3))
    done = cancel(deployment.store, key)
    assert done.left is None
    assert cancel(deployment.store, key) == Change(done.record, Left.IS_CANCELLING)
    assert deployment.look(key).state is JobState.CANCELLED


def test_cancelling_what_does_not_exist_says_so(deployment: Deployment, key: JobKey) -> None:
    with pytest.raises(NotFoundError, match=key.path):
        cancel(deployment.store, key)
