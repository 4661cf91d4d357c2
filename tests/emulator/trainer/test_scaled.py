"""Workers that a scaler started: they come for work, and go when there is none. Real processes."""

import signal
import threading
import time

import pytest

from dropsweep.messages import TrialMessage
from dropsweep.names import ADVANCE_QUEUE, RUNS, trials_queue, trials_queues
from dropsweep.states import JobState, NodeState, TrialReason, TrialState
from tests.emulator.deployment import REPORT_X, Deployment, sweep, until
from tests.emulator.trainer.conftest import Nodes, exit_status


def waits_for(deployment: Deployment, name: str) -> str:
    """A command that ends once the file of that name is in the folder of the deployment's workers."""
    return f"until [ -e {deployment.work}/{name} ]; do sleep 0.1; done"


def test_a_surplus_worker_ends_with_status_zero(nodes: Nodes) -> None:
    times = []
    for number in range(3):
        status, seconds = exit_status(nodes.start(f"surplus-{number}", "--scaled"))
        assert status == 0, nodes.log(f"surplus-{number}")
        times.append(seconds)
    print(f"a surplus worker ended {', '.join(f'{seconds:.2f}' for seconds in times)} s after its start")
    assert {node.state for node in nodes.records} == {NodeState.LEFT}


def test_of_five_workers_for_one_message_one_runs_it_and_four_end(deployment: Deployment, nodes: Nodes) -> None:
    nodes.describe(idle_time_before_scale_down_s=1.0)
    key = deployment.drop(sweep(f"echo ran >> {deployment.work}/ran; {waits_for(deployment, 'go')}; {REPORT_X}", 1))
    deployment.look(key)
    names = [f"worker-{number}" for number in range(5)]
    processes = [nodes.start(name, "--scaled") for name in names]
    until(lambda: sum(process.poll() is None for process in processes) == 1)
    (deployment.work / "go").touch()
    assert deployment.finish(key).state is JobState.COMPLETED
    assert [exit_status(process)[0] for process in processes] == [0] * 5
    assert (deployment.work / "ran").read_text() == "ran\n"
    assert sum("starts in slot" in nodes.log(name) for name in names) == 1
    assert [node.state for node in nodes.records] == [NodeState.LEFT] * 5


def test_a_scaled_worker_runs_all_that_there_is_waits_its_idle_time_and_ends(
    deployment: Deployment, nodes: Nodes
) -> None:
    nodes.describe(idle_time_before_scale_down_s=2.0)
    key = deployment.drop(sweep(f"echo ran >> {deployment.work}/ran; {REPORT_X}", 3))
    deployment.look(key)
    process = nodes.start("only", "--scaled")
    job = deployment.finish(key)
    assert (job.state, job.counts[TrialState.COMPLETED]) == (JobState.COMPLETED, 3)
    assert exit_status(process)[0] == 0
    [node] = nodes.records
    assert (node.state, node.num_slots, node.num_busy) == (NodeState.LEFT, 1, 0)
    commits = [deployment.store.blobs.head(RUNS, key.trial(trial)) for trial in range(3)]
    assert (node.seen - max(head.modified for head in commits if head)).total_seconds() >= 2
    assert (deployment.work / "ran").read_text() == "ran\n" * 3


def test_work_that_comes_within_the_idle_time_keeps_a_scaled_worker(deployment: Deployment, nodes: Nodes) -> None:
    nodes.describe(idle_time_before_scale_down_s=60.0)
    first = deployment.drop(sweep(REPORT_X, 1), "e/first.json")
    deployment.look(first)
    process = nodes.start("only", "--scaled")
    deployment.finish(first)
    second = deployment.drop(sweep(REPORT_X, 1), "e/second.json")
    deployment.look(second)
    assert deployment.finish(second).state is JobState.COMPLETED
    assert process.poll() is None
    assert {deployment.trial(key, 0).worker for key in (first, second)} == {deployment.trial(first, 0).worker}


def test_as_many_idle_workers_stay_as_the_cluster_is_to_have_at_least(deployment: Deployment, nodes: Nodes) -> None:
    nodes.describe(min_instances=2, idle_time_before_scale_down_s=1.0)
    processes = [nodes.start(f"worker-{number}", "--scaled") for number in range(4)]
    until(lambda: sum(process.poll() is None for process in processes) == 2)
    time.sleep(3 * 0.5 * 3)
    assert [status for process in processes if (status := process.poll()) is not None] == [0, 0]
    assert nodes.living() == 2


def test_a_worker_that_no_scaler_started_stays_without_work(nodes: Nodes) -> None:
    nodes.describe(idle_time_before_scale_down_s=0.1)
    process = nodes.start("fixed")
    until(lambda: [node.state for node in nodes.records] == [NodeState.IDLE])
    time.sleep(1.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert exit_status(process)[0] == 0
    assert [node.state for node in nodes.records] == [NodeState.LEFT]


def test_exit_when_idle_goes_before_the_cluster_s_idle_time(deployment: Deployment, nodes: Nodes) -> None:
    nodes.describe(idle_time_before_scale_down_s=600.0)
    key = deployment.drop(sweep(REPORT_X, 1))
    deployment.look(key)
    process = nodes.start("only", "--scaled", "--exit-when-idle", "0.5")
    assert exit_status(process)[0] == 0
    assert deployment.finish(key).state is JobState.COMPLETED


def test_one_busy_slot_keeps_the_others_of_its_worker(deployment: Deployment, nodes: Nodes) -> None:
    nodes.describe(idle_time_before_scale_down_s=1.0, slots_per_node=3)
    long = deployment.drop(sweep(f"{waits_for(deployment, 'go')}; {REPORT_X}", 1), "e/long.json")
    deployment.look(long)
    process = nodes.start("only", "--scaled")
    until(lambda: deployment.store.blobs.head("runs", long.trial(0)) is not None)
    time.sleep(3)
    short = deployment.drop(sweep(REPORT_X, 2), "e/short.json")
    deployment.look(short)
    assert deployment.finish(short).state is JobState.COMPLETED
    assert not deployment.look(long).state.is_final
    assert nodes.records[0].num_slots == 3
    (deployment.work / "go").touch()
    assert exit_status(process)[0] == 0
    assert deployment.finish(long).state is JobState.COMPLETED


def test_a_node_is_shown_running_while_it_runs_and_leaving_while_it_gives_back(
    deployment: Deployment, nodes: Nodes
) -> None:
    key = deployment.drop(sweep("trap '' TERM; while :; do sleep 0.1; done", 1))
    deployment.look(key)
    # A beat each 9 s, and the first one that tells of a trial has just come: not the next one tells of the leaving.
    slow = {"DROPSWEEP_HEARTBEAT_S": "3", "DROPSWEEP_CLAIM_TIMEOUT_S": "9", "DROPSWEEP_GRACE_S": "6"}
    process = nodes.start("only", "--scaled", **slow)
    until(lambda: [(node.state, node.num_busy) for node in nodes.records] == [(NodeState.RUNNING, 1)])
    process.send_signal(signal.SIGTERM)
    until(lambda: [node.state for node in nodes.records] != [NodeState.RUNNING])
    assert [node.state for node in nodes.records] == [NodeState.LEAVING]
    assert exit_status(process)[0] == 0
    assert [(node.state, node.num_busy) for node in nodes.records] == [(NodeState.LEFT, 0)]


def test_a_cluster_that_the_deployment_does_not_have_is_refused(deployment: Deployment, nodes: Nodes) -> None:
    process = nodes.start("stray", DROPSWEEP_CLUSTERS="gpu,cpu")
    assert exit_status(process)[0] == 2
    assert "must be one of gpu, cpu" in nodes.log("stray")


def test_a_worker_takes_work_although_the_queues_of_other_priorities_are_missing(
    deployment: Deployment, nodes: Nodes
) -> None:
    high, _, low = trials_queues(deployment.cluster)
    for queue in (high, low):
        deployment.store.queues._queue(queue).delete_queue()
    key = deployment.drop(sweep(REPORT_X, 1))
    deployment.look(key)
    process = nodes.start("only", "--scaled", "--exit-when-idle", "0.5")
    assert exit_status(process)[0] == 0
    assert deployment.finish(key).state is JobState.COMPLETED
    assert nodes.log("only").count(f"queue {high} does not exist") == 1


@pytest.mark.parametrize("number", range(3))
def test_sigterm_ends_an_idle_worker(nodes: Nodes, number: int) -> None:
    process = nodes.start("fixed")
    until(lambda: nodes.living() == 1)
    time.sleep(0.2 * number)
    process.send_signal(signal.SIGTERM)
    assert exit_status(process)[0] == 0


def test_the_hint_of_a_trial_that_a_leaving_worker_ran_is_sent(deployment: Deployment, nodes: Nodes) -> None:
    key = deployment.drop(sweep(REPORT_X, 1))
    deployment.look(key)
    before = deployment.store.queues.count(ADVANCE_QUEUE)
    assert exit_status(nodes.start("only", "--scaled", "--exit-when-idle", "0"))[0] == 0
    assert deployment.store.queues.count(ADVANCE_QUEUE) > before


def test_doubled_messages_of_a_trial_that_runs_elsewhere_do_not_keep_a_worker(
    deployment: Deployment, nodes: Nodes
) -> None:
    nodes.describe(idle_time_before_scale_down_s=3.0)
    long = deployment.drop(sweep("sleep 600", 1), "e/long.json")
    deployment.look(long)
    nodes.start("holder")
    until(lambda: deployment.store.blobs.head("runs", long.trial(0)) is not None)
    short = deployment.drop(sweep(REPORT_X, 1), "e/short.json")
    deployment.look(short)
    process = nodes.start("idle", "--scaled")
    until(lambda: deployment.look(short).state.is_final)
    done = threading.Event()

    def double() -> None:
        while not done.wait(0.5):
            deployment.store.queues.send(trials_queue(deployment.cluster), TrialMessage(long, 0).to_text())

    doubling = threading.Thread(target=double)
    doubling.start()
    try:
        assert exit_status(process)[0] == 0
    finally:
        done.set()
        doubling.join()
    assert not deployment.look(long).state.is_final


def test_a_worker_that_cannot_look_into_its_queue_leaves_after_its_idle_time(
    deployment: Deployment, nodes: Nodes
) -> None:
    nodes.describe(idle_time_before_scale_down_s=6.0, min_instances=1)
    deployment.store.queues._queue(trials_queue(deployment.cluster)).delete_queue()
    began = time.monotonic()
    assert exit_status(nodes.start("only", "--scaled"))[0] == 0
    assert time.monotonic() - began > 6
    assert [node.state for node in nodes.records] == [NodeState.LEFT]


def test_a_worker_leaves_after_the_time_that_it_was_given_but_runs_its_trial_to_the_end(
    deployment: Deployment, nodes: Nodes
) -> None:
    nodes.describe(min_instances=1)
    key = deployment.drop(
        sweep(f"touch {deployment.work}/started; {waits_for(deployment, 'go')}; {REPORT_X}", 1), "e/first.json"
    )
    deployment.look(key)
    process = nodes.start("only", "--scaled", "--leave-after", "8")
    until((deployment.work / "started").exists)
    until(lambda: [node.state for node in nodes.records] == [NodeState.LEAVING])
    later = deployment.drop(sweep(REPORT_X, 1), "e/second.json")
    deployment.look(later)
    (deployment.work / "go").touch()
    assert exit_status(process)[0] == 0
    assert deployment.trial(key, 0).reason is TrialReason.SUCCEEDED
    assert deployment.store.queues.num_visible(trials_queue(deployment.cluster)) == 1
    assert [node.state for node in nodes.records] == [NodeState.LEFT]


def test_an_idle_worker_leaves_after_the_time_that_it_was_given(nodes: Nodes) -> None:
    assert exit_status(nodes.start("only", "--leave-after", "2"))[0] == 0


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_a_time_after_which_no_worker_can_leave_is_refused(nodes: Nodes, seconds: str) -> None:
    assert exit_status(nodes.start("only", f"--leave-after={seconds}"))[0] == 2
    assert "--leave-after" in nodes.log("only")


def test_the_node_that_comes_for_one_that_died_stays_in_its_place(nodes: Nodes) -> None:
    # A beat each 9 s: for long after its death the first one counts as living.
    slow = {"DROPSWEEP_HEARTBEAT_S": "3", "DROPSWEEP_CLAIM_TIMEOUT_S": "9"}
    nodes.describe(min_instances=1, idle_time_before_scale_down_s=0.0)
    first = nodes.start("first", "--scaled", **slow)
    until(lambda: [node.state for node in nodes.records] == [NodeState.IDLE])
    first.kill()
    first.wait()
    time.sleep(1.1)
    second = nodes.start("second", "--scaled", **slow)
    until(lambda: nodes.living() == 2)
    time.sleep(12)
    assert second.poll() is None
