"""What an examination says of clusters: nodes that failed or went silent, hours, full clusters, and unserved ones."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from azure.storage.queue import QueueServiceClient
from typer.testing import Result

from dropsweep.client.doctor.examination import Status, examine
from dropsweep.clusters import Cluster
from dropsweep.names import RUNS, Priority, month_of, node_record, trials_queue
from dropsweep.nodes import BUDGET
from dropsweep.records.node import NodeRecord
from dropsweep.settings import StorageSettings
from dropsweep.states import JobReason, NodeState, TrialReason
from dropsweep.storage import Store, Tally
from tests.emulator.doctor.conftest import MOMENT_S, Account

GPU = Cluster("gpu", monthly_node_hours=10, max_instances=2)


def node(account: Account, name: str, state: NodeState, cluster: str = "gpu", **changes: Any) -> None:
    now = account.clock.now()
    values: dict[str, Any] = {"num_slots": 1, "beat_s": 3600.0, "started": now, "seconds": 60} | changes
    month = month_of(now)
    record = NodeRecord(cluster=cluster, month=month, node=name, worker=name, state=state, **values)
    account.store.blobs.put(RUNS, node_record(cluster, month, name), record.to_json(), record.to_metadata())


@pytest.fixture
def served(account: Account) -> Account:
    """Functions that serve the cluster gpu beside local."""
    account.clock.pass_turn_of_month()
    account.store.prepare(("local", "gpu"))
    account.timer(clusters=[GPU.to_dict(), Cluster("local").to_dict()])
    return account


def test_of_a_cluster_that_is_well_its_nodes_and_hours_are_told(served: Account) -> None:
    node(served, "n-1", NodeState.RUNNING, seconds=3600)
    node(served, "n-2", NodeState.IDLE, seconds=1800)
    node(served, "n-3", NodeState.LEFT, seconds=1800)
    told = [found.message for found in served.told("clusters", Status.OK)]
    month = month_of(served.clock.now())
    assert told[0].startswith("gpu, local: as the functions' timer pass at ")
    assert told[1:] == [
        f"gpu: 1 running, 1 idle; 2.0 of 10 node-hours in {month}",
        f"local: no node; 0.0 node-hours in {month}",
    ]
    assert served.told("clusters", Status.WARNING) == served.told("clusters", Status.ERROR) == []


def test_unusable_nodes_are_told_with_the_end_of_what_the_latest_said(served: Account) -> None:
    earlier = served.clock.now() - timedelta(minutes=1)
    node(served, "n-1", NodeState.UNUSABLE, message="setup command: exit code 1\nno space left\n")
    [found] = served.told("clusters", Status.ERROR)
    assert found.message.startswith("gpu: 1 node unusable in the last 1 h 00 min, the latest ")
    assert found.message.endswith(" ago: no space left")
    assert "dropsweep cluster show gpu" in found.remedy
    node(served, "n-2", NodeState.PREPARING, started=earlier)
    assert served.told("clusters", Status.ERROR), "that one may fail as well"
    node(served, "n-2", NodeState.IDLE, started=earlier)
    assert served.told("clusters", Status.ERROR) == []
    [found] = served.told("clusters", Status.WARNING)
    assert found.message.startswith("gpu: 1 node unusable")
    served.age()
    assert served.told("clusters", Status.WARNING, node_s=MOMENT_S) == []


@pytest.mark.parametrize("state", [NodeState.IDLE, NodeState.LEFT])
def test_nodes_that_were_unusable_before_one_that_could_be_used_are_not_told(served: Account, state: NodeState) -> None:
    now = served.clock.now()
    node(served, "n-1", NodeState.UNUSABLE, message="no space left", started=now - timedelta(minutes=10))
    node(served, "n-2", state, started=now - timedelta(minutes=20))
    assert [found for found in served.examine() if found.status is not Status.OK], "that one came before the fault"
    node(served, "n-3", NodeState.PREPARING, started=now - timedelta(minutes=5))
    assert [found for found in served.examine() if found.status is not Status.OK], "that one may fail as well"
    node(served, "n-3", state, started=now - timedelta(minutes=5))
    assert [found for found in served.examine() if found.status is not Status.OK] == []


def test_where_work_waits_and_every_node_was_unusable_the_trainers_are_a_fault_that_names_the_jobs(
    served: Account,
) -> None:
    job = served.job(cluster="gpu")
    served.store.queues.send(trials_queue("gpu"), "trial")
    assert served.told("trainers", Status.ERROR) == []
    node(served, "n-1", NodeState.UNUSABLE, message="no space left")
    [found] = served.told("trainers", Status.ERROR)
    assert found.message == (
        "trials-gpu: 1 message to be taken, 0 trials running: 1 node unusable lately, and none at work; "
        f"1 job on it: {job.key.path}"
    )
    assert "dropsweep cluster show gpu" in found.remedy
    node(served, "n-2", NodeState.IDLE)
    assert served.told("trainers", Status.ERROR) == []


def test_trials_that_no_message_tells_of_wait_for_a_usable_node_too(served: Account) -> None:
    served.job(cluster="gpu")
    node(served, "n-1", NodeState.UNUSABLE, message="no space left")
    node(served, "n-2", NodeState.PREPARING)
    [found] = served.told("trainers", Status.ERROR)
    assert found.message.startswith("trials-gpu: 0 messages to be taken, 0 trials running: 1 node unusable lately")


def test_an_unusable_node_of_a_cluster_without_work_is_no_fault_of_its_trainers(served: Account) -> None:
    node(served, "n-1", NodeState.UNUSABLE, message="no space left")
    assert served.told("trainers", Status.ERROR) == []


def test_the_nodes_of_a_cluster_are_listed_once(served: Account) -> None:
    tally = Tally()
    counted = Store.connect(StorageSettings(served.connection_string), tally)
    examine(counted)
    before = tally.total
    served.job(cluster="gpu")
    node(served, "n-1", NodeState.UNUSABLE, message="no space left")
    examine(counted)
    with_job = tally.total - before
    assert with_job == before + 2, "a job costs two operations: its record, and its trials"


def test_of_a_cap_of_no_hours_it_is_told_that_nothing_is_begun(account: Account) -> None:
    account.timer(clusters=[Cluster("local", monthly_node_hours=0).to_dict()])
    [found] = account.told("clusters", Status.WARNING)
    cap = "its cap is 0 node-hours: nothing is begun until monthly_node_hours is raised"
    assert found.message == f"cluster local: {cap} (0.0 of 0)"
    assert found.remedy.startswith("Raise monthly_node_hours")


def test_nobody_tells_as_of_when_of_clusters_that_are_named_by_whoever_asks(served: Account) -> None:
    found = examine(served.store, clusters=(GPU,))
    assert not [each for each in found if "as the functions' timer pass" in each.message]


def test_nodes_that_went_silent_are_told_and_those_that_left_are_not(served: Account) -> None:
    node(served, "n-1", NodeState.RUNNING, beat_s=1.0)
    node(served, "n-2", NodeState.LEFT, beat_s=1.0)
    served.age()
    [found] = served.told("clusters", Status.WARNING)
    assert found.message.startswith("gpu: 1 node went silent in the last 1 h 00 min, the latest (n-1) ")
    assert served.told("clusters", Status.WARNING, node_s=MOMENT_S) == []


def test_hours_that_are_used_up_are_told_and_jobs_that_wait_for_them_are_no_fault(served: Account) -> None:
    node(served, "n-1", NodeState.LEFT, seconds=11 * 3600)
    message = f"{BUDGET}gpu has used its 10 node-hours"
    job = served.job(JobReason.DISPATCHING, cluster="gpu", message=message)
    served.store.queues.send(trials_queue("gpu"), "trial")
    served.age()
    bounds = {"queued_s": MOMENT_S, "trainer_s": MOMENT_S}
    [found] = served.told("clusters", Status.WARNING, **bounds)
    assert found.message.startswith("cluster gpu has used its 10 node-hours of ")
    assert found.message.endswith("(11.0 of 10)")
    assert "monthly_node_hours" in found.remedy
    assert f"{job.key.path} {message}" in [found.message for found in served.told("jobs", Status.OK, **bounds)]
    assert [found for found in served.examine(**bounds) if found.status is Status.ERROR] == []


def test_work_that_waits_long_for_a_full_cluster_is_told(served: Account) -> None:
    node(served, "n-1", NodeState.RUNNING)
    served.store.queues.send(trials_queue("gpu", Priority.LOW), "trial")
    served.age()
    assert served.told("clusters", Status.WARNING, full_s=MOMENT_S) == [], "another node may come"
    node(served, "n-2", NodeState.RUNNING)
    [found] = served.told("clusters", Status.WARNING, full_s=MOMENT_S)
    assert found.message.startswith("gpu: 1 message (1 low) to be taken, the oldest for ")
    assert found.message.endswith("there are 2 of at most 2 nodes")
    assert served.told("clusters", Status.WARNING) == []


@pytest.mark.parametrize("priority", Priority)
def test_messages_of_every_priority_count_where_no_trainer_takes_them(account: Account, priority: Priority) -> None:
    account.job(priority=priority)
    account.store.queues.send(trials_queue("local", priority), "trial")
    account.age()
    [found] = account.told("trainers", Status.ERROR, trainer_s=MOMENT_S)
    told = "1 message" if priority is Priority.NORMAL else f"1 message (1 {priority})"
    assert found.message.startswith(f"trials-local: {told} to be taken, 0 trials running; the oldest waits for ")


def test_an_account_of_an_earlier_version_lacks_queues_and_is_told_to_be_prepared_again(account: Account) -> None:
    with QueueServiceClient.from_connection_string(account.connection_string) as queues:
        for priority in (Priority.HIGH, Priority.LOW):
            queues.delete_queue(trials_queue("local", priority))
    [found] = [found for found in account.examine() if found.status is not Status.OK]
    assert (found.check, found.status) == ("queues", Status.ERROR)
    assert found.message.startswith("there is no queue trials-local-high, trials-local-low: ")
    assert found.remedy.startswith("Run the deployment again")
    assert account.told("trainers", Status.OK), "the one that is there is looked at"


def test_jobs_of_a_cluster_that_is_not_served_any_more_are_told(account: Account) -> None:
    account.store.prepare(("old",))
    job = account.job(cluster="old")
    [found] = account.told("trainers", Status.ERROR)
    assert found.message.startswith("1 job for cluster old, which is not served any more: there are local; 0 messages")
    assert found.remedy.endswith(f"cancel them: {job.key.path}")
    account.trial(job, 0, TrialReason.CLAIMED)
    assert account.told("trainers", Status.ERROR) == [], "its trainers go on"
    assert len(account.told("trainers", Status.WARNING)) == 1


def test_the_clusters_of_the_functions_need_not_be_named_here(served: Account, run: Callable[..., Result]) -> None:
    node(served, "n-1", NodeState.UNUSABLE, message="why")
    done = run("doctor")
    assert "gpu: 1 node unusable" in done.stdout
