"""A worker of a cluster that has used its node-hours of the month starts nothing more, and goes."""

import pytest

from dropsweep.names import RUNS, JobKey, trials_queue
from dropsweep.states import JobState, TrialReason
from dropsweep.steps.cancel import cancel
from dropsweep.steps.register import register
from tests.emulator.deployment import REPORT_X, Deployment, command, sweep, until
from tests.emulator.trainer.conftest import Nodes, exit_status


def use_hours(deployment: Deployment, hours: float) -> None:
    """Has a node live for so long, by its own clock, and leave."""
    now_s = 0.0
    node = register(deployment.store, deployment.cluster, "gone", num_slots=1, beat_s=30.0, clock=lambda: now_s)
    now_s = hours * 3600
    node.leave()


@pytest.fixture
def key(deployment: Deployment, nodes: Nodes) -> JobKey:
    """A job of three trials whose messages were sent before its cluster had used its two hours."""
    nodes.describe(monthly_node_hours=2.0)
    key = deployment.drop(sweep(REPORT_X, 3))
    deployment.look(key)
    return key


def counts(deployment: Deployment) -> tuple[int, int]:
    """How many messages there are, and how many of them can be seen."""
    queue = trials_queue(deployment.cluster)
    return deployment.store.queues.count(queue), deployment.store.queues.num_visible(queue)


def test_no_trial_starts_once_the_hours_are_used_and_scalers_see_nothing(deployment: Deployment, key: JobKey) -> None:
    use_hours(deployment, 2.0)
    deployment.worker().run()
    assert counts(deployment) == (0, 0)
    assert [deployment.store.blobs.head(RUNS, key.trial(trial)) for trial in range(3)] == [None] * 3


def test_trials_start_as_long_as_hours_are_left(deployment: Deployment, key: JobKey) -> None:
    use_hours(deployment, 1.9)
    deployment.worker().run()
    assert deployment.look(key).state is JobState.COMPLETED


def test_a_trial_that_runs_goes_on_when_the_hours_are_used_meanwhile(deployment: Deployment, nodes: Nodes) -> None:
    nodes.describe(monthly_node_hours=2.0, idle_time_before_scale_down_s=0.5)
    key = deployment.drop(command(f"touch {deployment.work}/started; sleep 3"))
    deployment.look(key)
    process = nodes.start("only", "--scaled")
    until((deployment.work / "started").exists)
    use_hours(deployment, 3.0)
    assert exit_status(process)[0] == 0
    assert deployment.trial(key, 0).reason is TrialReason.SUCCEEDED


def test_a_trial_that_is_to_be_cancelled_needs_no_hours(deployment: Deployment, key: JobKey) -> None:
    use_hours(deployment, 2.0)
    cancel(deployment.store, key)
    deployment.worker().run()
    assert counts(deployment) == (0, 0)
    assert deployment.look(key).state is JobState.CANCELLED


def test_a_scaled_worker_whose_cluster_has_no_hours_left_goes_without_its_setup(
    deployment: Deployment, nodes: Nodes, key: JobKey
) -> None:
    use_hours(deployment, 2.0)
    nodes.describe(setup_command=f"touch {deployment.work}/setup-ran", slots_per_node=2)
    assert exit_status(nodes.start("first", "--scaled"))[0] == 0
    assert counts(deployment) == (0, 0)
    assert not (deployment.work / "setup-ran").exists()
    assert "has used its 2 node-hours" in nodes.log("first")
