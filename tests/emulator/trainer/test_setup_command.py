"""What a cluster file asks of each node: a setup command before the first trial, shared folders. Real processes."""

import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dropsweep.clusters import Cluster, Mount
from dropsweep.messages import TrialMessage
from dropsweep.names import RUNS, JobKey, trials_queue
from dropsweep.nodes import read_node
from dropsweep.states import JobState, NodeState, TrialReason, TrialState
from dropsweep_trainer.sharing.slots import Slot
from dropsweep_trainer.worker.preparing import run_setup
from dropsweep_trainer.worker.worker import Worker
from tests.emulator.deployment import REPORT_X, Deployment, sweep, until
from tests.emulator.trainer.conftest import Nodes, exit_status

TOOL = """cd "$DROPSWEEP_SETUP/bin" && printf '#!/bin/sh\\necho from the tool\\n' > tool && chmod +x tool"""
MODULE = """echo 'said = "from the module"' > "$DROPSWEEP_SETUP/python/prepared.py" """


def dropped(deployment: Deployment, command: str = REPORT_X, num_trials: int = 1, name: str = "job") -> JobKey:
    key = deployment.drop(sweep(command, num_trials), f"e/{name}.json")
    deployment.look(key)
    return key


def num_visible(deployment: Deployment) -> int:
    return len(deployment.store.queues._queue(trials_queue(deployment.cluster)).peek_messages(max_messages=32))


def test_what_the_setup_command_made_is_there_for_every_trial_and_it_ran_once(
    deployment: Deployment, nodes: Nodes
) -> None:
    nodes.describe(
        setup_command=f"echo ran >> {deployment.work}/setup-ran; {TOOL}; {MODULE}", idle_time_before_scale_down_s=0.0
    )
    use = "tool; python -c 'import prepared; print(prepared.said)'"
    key = dropped(deployment, f"{use}; {REPORT_X}", 3)
    assert exit_status(nodes.start("only", "--scaled"))[0] == 0
    assert deployment.finish(key).state is JobState.COMPLETED
    for trial in range(3):
        assert deployment.text(key.stdout(trial, 1)).splitlines()[:2] == ["from the tool", "from the module"]
    assert (deployment.work / "setup-ran").read_text() == "ran\n"


def test_trials_and_the_setup_command_are_told_where_the_mounts_are(deployment: Deployment, nodes: Nodes) -> None:
    share = deployment.work / "share"
    share.mkdir()
    nodes.describe(
        mounts=(Mount("data-sets", "datasets", str(share)),),
        setup_command="echo prepared > $DROPSWEEP_MOUNT_DATA_SETS/by-setup",
        idle_time_before_scale_down_s=0.0,
    )
    key = dropped(deployment, f'cat "$DROPSWEEP_MOUNT_DATA_SETS/by-setup"; {REPORT_X}')
    assert exit_status(nodes.start("only", "--scaled"))[0] == 0
    assert deployment.finish(key).state is JobState.COMPLETED
    assert deployment.text(key.stdout(0, 1)) == "prepared\n"


def test_a_node_whose_setup_fails_is_unusable_tells_why_and_hides_its_message(
    deployment: Deployment, nodes: Nodes
) -> None:
    nodes.describe(setup_command="echo first line; echo no such package: tärch >&2; exit 7")
    key = dropped(deployment)
    assert exit_status(nodes.start("only", "--scaled"))[0] == 3
    log = nodes.log("only")
    assert "setup: first line" in log
    assert "setup: no such package: tärch" in log
    [node] = nodes.records
    assert (node.state, node.num_busy) == (NodeState.UNUSABLE, 0)
    assert node.message.startswith(f"setup_command of cluster {deployment.cluster} ended with exit code 7: ")
    assert node.message.endswith("no such package: tärch\n")
    record = read_node(deployment.store, node.cluster, node.month, node.node)
    assert record is not None
    assert record.message == node.message
    # Nobody starts another node for it at once.
    assert num_visible(deployment) == 0
    assert deployment.store.queues.count(trials_queue(deployment.cluster)) == 1
    assert deployment.store.blobs.head(RUNS, key.trial(0)) is None


def test_the_message_of_a_node_whose_setup_failed_comes_again_after_a_while(
    deployment: Deployment, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dropsweep_trainer.worker.worker.SETUP_RETRY_S", 5.0)
    cluster = nodes.describe(setup_command="exit 7")
    dropped(deployment)
    worker = Worker(
        deployment.store,
        replace(deployment.settings, claim_timeout_s=600.0),
        name="only",
        cluster=cluster,
        slots=[Slot()],
        work=deployment.work / "only",
        exit_when_idle_s=0.0,
        is_scaled=True,
    )
    assert worker.run().state is NodeState.UNUSABLE
    assert num_visible(deployment) == 0
    until(lambda: num_visible(deployment) == 1)


def test_a_setup_that_does_not_end_is_ended_and_has_failed(tmp_path: Path) -> None:
    cluster = Cluster("slow", setup_command=f"echo $$ > {tmp_path}/pid; echo so far; sleep 600")
    why = run_setup(cluster, tmp_path / "setup", {}, stopping=threading.Event(), grace_s=0.5, limit_s=3.0)
    assert why.startswith("setup_command of cluster slow had not ended after 3 s: ")
    assert why.endswith("so far\n")
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


def test_a_setup_whose_output_cannot_be_read_is_ended(deployment: Deployment, nodes: Nodes) -> None:
    nodes.describe(setup_command=f"rm ../setup.txt; echo $$ > {deployment.work}/pid; sleep 600")
    dropped(deployment)
    assert exit_status(nodes.start("only", "--scaled"))[0] == 3
    [node] = nodes.records
    assert "could not be run: " in node.message
    assert not Path(f"/proc/{(deployment.work / 'pid').read_text().strip()}").exists()


def test_no_setup_is_run_for_doubled_messages_of_trials_that_have_ended_or_run_elsewhere(
    deployment: Deployment, nodes: Nodes
) -> None:
    key = dropped(deployment, f"test ${{{{search_space.x}}}} = 0 || sleep 600; {REPORT_X}", 2)
    nodes.start("first", "--slots", "2")
    until(lambda: deployment.store.blobs.head(RUNS, key.trial(0)) is not None)
    until(lambda: deployment.trial(key, 0).state.is_final)
    until(lambda: deployment.store.blobs.head(RUNS, key.trial(1)) is not None)
    nodes.describe(setup_command=f"touch {deployment.work}/setup-ran")
    for trial in (0, 1):
        deployment.store.queues.send(trials_queue(deployment.cluster), TrialMessage(key, trial).to_text())
    assert exit_status(nodes.start("second", "--scaled"))[0] == 0
    assert not (deployment.work / "setup-ran").exists()
    assert deployment.trial(key, 1).state is TrialState.RUNNING
    # That of the trial that runs comes again, should its worker die; the other one is gone, beside the worker's own.
    assert deployment.store.queues.count(trials_queue(deployment.cluster)) == 2


def test_a_long_output_of_a_setup_that_fails_is_told_from_its_end(deployment: Deployment, nodes: Nodes) -> None:
    nodes.describe(setup_command="seq 1 20000; kill -SEGV $$")
    dropped(deployment)
    assert exit_status(nodes.start("only", "--scaled"))[0] == 3
    [node] = nodes.records
    assert "ended with SIGSEGV" in node.message
    assert node.message.endswith("\n19999\n20000\n")
    assert len(node.message) < 2000


def test_sigterm_ends_a_setup_that_hangs_and_the_message_is_free_at_once(deployment: Deployment, nodes: Nodes) -> None:
    nodes.describe(setup_command=f"echo $$ > {deployment.work}/pid; sleep 600")
    dropped(deployment)
    process = nodes.start("only", "--scaled")
    until(lambda: [node.state for node in nodes.records] == [NodeState.PREPARING])
    until((deployment.work / "pid").exists)
    time.sleep(0.5)
    assert num_visible(deployment) == 0
    process.send_signal(signal.SIGTERM)
    assert exit_status(process)[0] == 0
    assert [node.state for node in nodes.records] == [NodeState.LEFT]
    assert num_visible(deployment) == 1
    assert not Path(f"/proc/{(deployment.work / 'pid').read_text().strip()}").exists()


def test_no_scaler_sees_a_message_while_its_node_is_being_prepared(deployment: Deployment, nodes: Nodes) -> None:
    prepared = deployment.work / "prepared"
    setup = f"until [ -e {prepared} ]; do sleep 0.1; done"
    nodes.describe(setup_command=setup, idle_time_before_scale_down_s=0.0, slots_per_node=2)
    key = dropped(deployment, num_trials=3)
    process = nodes.start("only", "--scaled")
    until(lambda: num_visible(deployment) == 1)
    # Longer than the claim timeout, for which a message is hidden at first.
    end = time.monotonic() + deployment.settings.claim_timeout_s + 2
    while time.monotonic() < end:
        assert num_visible(deployment) == 1
        time.sleep(0.1)
    prepared.touch()
    assert exit_status(process)[0] == 0
    assert deployment.finish(key).state is JobState.COMPLETED
    assert [deployment.trial(key, trial).attempt for trial in range(3)] == [1, 1, 1]


def test_a_surplus_worker_ends_without_running_the_setup_command(deployment: Deployment, nodes: Nodes) -> None:
    nodes.describe(setup_command=f"touch {deployment.work}/setup-ran")
    assert exit_status(nodes.start("surplus", "--scaled"))[0] == 0
    assert not (deployment.work / "setup-ran").exists()


def test_a_node_that_a_cluster_is_to_have_at_least_is_prepared_before_there_is_work(
    deployment: Deployment, nodes: Nodes
) -> None:
    nodes.describe(setup_command=f"touch {deployment.work}/setup-ran", min_instances=1)
    process = nodes.start("only", "--scaled")
    until(lambda: [node.state for node in nodes.records] == [NodeState.IDLE])
    assert (deployment.work / "setup-ran").exists()
    key = dropped(deployment)
    assert deployment.finish(key).state is JobState.COMPLETED
    assert process.poll() is None


def test_the_setup_command_sees_no_credential(deployment: Deployment, nodes: Nodes, connection_string: str) -> None:
    nodes.describe(setup_command=f"mktemp; env > {deployment.work}/seen", idle_time_before_scale_down_s=0.0)
    dropped(deployment)
    assert exit_status(nodes.start("only", "--scaled"))[0] == 0
    seen = (deployment.work / "seen").read_text()
    [work] = [line.partition("=")[2] for line in seen.splitlines() if line.startswith("DROPSWEEP_SETUP=")]
    assert {f"HOME={work}/home", f"TMPDIR={work}/tmp"} <= set(seen.splitlines())
    assert f"setup: {work}/tmp/" in nodes.log("only")
    assert "AccountKey" not in seen
    assert "DROPSWEEP_STORAGE" not in seen


def test_what_the_setup_left_behind_goes_with_the_worker(deployment: Deployment, nodes: Nodes) -> None:
    nodes.describe(
        setup_command=f"mkdir shut; touch shut/x; chmod 0 shut; sleep 600 & echo $! > {deployment.work}/pid",
        idle_time_before_scale_down_s=0.0,
    )
    key = dropped(deployment)
    assert exit_status(nodes.start("only", "--scaled"))[0] == 0
    assert deployment.finish(key).state is JobState.COMPLETED
    assert not list((deployment.work / "only").glob("worker-*"))
    state = Path(f"/proc/{(deployment.work / 'pid').read_text().strip()}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_worker_that_is_stopped_just_after_its_setup_gives_back_what_it_kept(
    deployment: Deployment, nodes: Nodes
) -> None:
    nodes.describe(setup_command="sleep 1", slots_per_node=1)
    key = dropped(deployment, "sleep 600")
    process = nodes.start("only", "--scaled")
    until(lambda: "attempt 1 starts" in nodes.log("only"))
    process.send_signal(signal.SIGTERM)
    assert exit_status(process)[0] == 0
    assert deployment.trial(key, 0).reason is TrialReason.PREEMPTED
    until(lambda: num_visible(deployment) == 1)
