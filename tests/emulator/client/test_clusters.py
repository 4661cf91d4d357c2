"""Clusters with their nodes, queues and hours, over the account and over HTTP, and by command line."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from dropsweep import __version__
from dropsweep.cli import app
from dropsweep.cli.exits import ExitCode
from dropsweep.client import BaseClient, Client
from dropsweep.client.clusters import MAX_GONE, list_clusters
from dropsweep.client.http import HttpClient
from dropsweep.client.nodes import ClusterSummary, ClusterView, hours_text
from dropsweep.clusters import Cluster, Mount, Tier
from dropsweep.errors import DropsweepError, NotFoundError
from dropsweep.names import FUNCTIONS_RECORD, RUNS, Priority, month_of, node_hours, node_record, trials_queue
from dropsweep.page.words import moment
from dropsweep.records.codec import dump, time_out
from dropsweep.records.node import HoursLedger, NodeRecord
from dropsweep.settings import Settings, StorageSettings
from dropsweep.states import NodeState
from dropsweep.steps.register import register
from dropsweep.storage import Store, Tally
from tests.emulator.client.conftest import API_KEY, serving
from tests.emulator.leaping import LeapingClock

BOTH_WAYS = True


@dataclass
class Deployed:
    """Functions that serve two clusters of names that no other test has, as their timer's last pass left word."""

    store: Store
    client: BaseClient
    env: dict[str, str]
    gpu: Cluster
    cpu: Cluster
    begun: datetime

    @property
    def month(self) -> str:
        """The present one, by the service's clock."""
        return month_of(self.begun)

    def node(self, node: str, state: NodeState, cluster: str = "", **changes: Any) -> NodeRecord:
        record = NodeRecord(
            cluster=cluster or self.gpu.name,
            month=self.month,
            node=node,
            worker=f"{node}-worker",
            state=state,
            num_slots=2,
            beat_s=3600.0,
            seconds=60,
            started=self.begun,
            version=__version__,
        )
        record = replace(record, **changes)
        self.store.blobs.put(
            RUNS, node_record(record.cluster, self.month, node), record.to_json(), record.to_metadata()
        )
        return record

    def seen(self, name: str) -> ClusterSummary:
        return {one.name: one for one in self.client.clusters()}[name]

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env=self.env, catch_exceptions=False)


@pytest.fixture
def deployed(
    way: str, account: Client, connection_string: str, settings: Settings, service_clock: LeapingClock
) -> Iterator[Deployed]:
    service_clock.pass_turn_of_month()
    begun = service_clock.now().replace(microsecond=0)
    suffix = uuid.uuid4().hex[:8]
    gpu = Cluster(
        f"gpu-{suffix}",
        description="One [red]A100[/red] a node",
        size="Standard_NC24ads_A100_v4",
        gpus_per_node=2,
        slots_per_node=2,
        min_instances=1,
        monthly_node_hours=100,
        tier=Tier.LOW_PRIORITY,
        mounts=(Mount("sets", "datasets", "/mnt/sets", read_only=True),),
        trial_processes=512,
    )
    cpu = Cluster(f"cpu-{suffix}")
    store = account.store
    store.prepare((gpu.name, cpu.name))
    before = store.blobs.read(RUNS, FUNCTIONS_RECORD)
    told = {"version": 1, "dropsweep": __version__, "at": time_out(begun)}
    store.blobs.put(RUNS, FUNCTIONS_RECORD, dump({**told, "clusters": [gpu.to_dict(), cpu.to_dict()]}))
    on_account = {"DROPSWEEP_STORAGE": connection_string, "DROPSWEEP_URL": "", "DROPSWEEP_KEY": API_KEY}
    if way == "account":
        yield Deployed(store, account, on_account, gpu, cpu, begun)
    else:
        with serving(store, replace(settings, clusters=(gpu, cpu))) as url:
            over_http = on_account | {"DROPSWEEP_STORAGE": "", "DROPSWEEP_URL": url}
            yield Deployed(store, HttpClient(url, API_KEY), over_http, gpu, cpu, begun)
    store.blobs.put(RUNS, FUNCTIONS_RECORD, before.body if before else b"")


def test_a_list_has_what_is_served_in_its_order_and_then_what_left_nodes_or_queues(deployed: Deployed) -> None:
    old = f"old-{deployed.gpu.name}"
    deployed.node("n-1", NodeState.RUNNING, old, num_busy=1)
    found = deployed.client.clusters()
    assert [one.name for one in found[:2]] == [deployed.gpu.name, deployed.cpu.name]
    assert [one.config for one in found[:2]] == [deployed.gpu, deployed.cpu]
    assert all(one.is_served for one in found[:2])
    rest = {one.name: one for one in found[2:]}
    assert [*rest] == sorted(rest)
    assert not any(one.is_served for one in found[2:])
    assert "local" in rest, "it has queues"
    assert (rest[old].config, rest[old].counts, rest[old].num_busy) == (None, {"running": 1}, 1)
    assert set(rest[old].waiting.values()) == {None}, "it has no queue"


def test_nodes_are_counted_by_state_and_slots_of_the_living_alone(
    deployed: Deployed, service_clock: LeapingClock
) -> None:
    deployed.node("n-1", NodeState.RUNNING, num_busy=2)
    deployed.node("n-2", NodeState.IDLE)
    deployed.node("n-3", NodeState.LEFT, num_busy=1)
    deployed.node("n-4", NodeState.UNUSABLE, message="no space left")
    deployed.node("n-5", NodeState.RUNNING, num_busy=1, beat_s=1.0)
    service_clock.leap(60)
    found = deployed.seen(deployed.gpu.name)
    assert found.counts == {"running": 1, "idle": 1, "unusable": 1, "lost": 1}
    assert (found.num_busy, found.num_slots) == (2, 4)
    shown = {node.node: node for node in deployed.client.cluster(deployed.gpu.name).nodes}
    assert {name: node.state for name, node in shown.items()} == {
        "n-1": "running", "n-2": "idle", "n-3": "left", "n-4": "unusable", "n-5": "lost",
    }  # fmt: skip
    assert [*shown][:2] == ["n-1", "n-2"], "the living come first"
    assert (shown["n-1"].worker, shown["n-1"].started, shown["n-1"].version) == (
        "n-1-worker",
        deployed.begun,
        __version__,
    )
    assert abs(shown["n-1"].seen - deployed.begun) < timedelta(minutes=1)


def test_what_waits_is_told_by_priority_and_a_queue_that_is_not_there_as_none(deployed: Deployed) -> None:
    name = deployed.gpu.name
    deployed.store.queues.send(trials_queue(name), "one")
    for _ in range(2):
        deployed.store.queues.send(trials_queue(name, Priority.HIGH), "two")
    deployed.store.queues.send(trials_queue(name), "later", delay_s=600)
    deployed.store.queues._queue(trials_queue(name, Priority.LOW)).delete_queue()
    found = deployed.seen(name)
    assert found.waiting == {Priority.HIGH: 2, Priority.NORMAL: 1, Priority.LOW: None}
    assert found.num_waiting == 3
    done = deployed.run("cluster", "show", name)
    assert "3 (2 high)" in done.stdout
    assert f"{name} has no queue for low priority" in done.stderr


def test_hours_are_those_of_all_nodes_of_the_month_and_a_spent_budget_says_when_it_goes_on(deployed: Deployed) -> None:
    name = deployed.gpu.name
    deployed.node("n-1", NodeState.LEFT, seconds=3600)
    ledger = HoursLedger(name, deployed.month, seconds=98 * 3600, num_nodes=7, number=1)
    deployed.store.blobs.put(RUNS, node_hours(name, deployed.month), ledger.to_json(), ledger.to_metadata())
    found = deployed.seen(name)
    assert (found.month, found.hours, found.spent) == (deployed.month, 99.0, None)
    assert deployed.client.cluster(name).num_gone == 7, "their records are gone"
    deployed.node("n-2", NodeState.LEFT, seconds=7200)
    found = deployed.seen(name)
    assert found.spent is not None
    assert (found.spent.hours, found.spent.cap_hours, found.spent.goes_on.day) == (101.0, 100.0, 1)
    assert found.spent.goes_on > deployed.begun
    done = deployed.run("cluster", "list")
    [line] = [line for line in done.stdout.splitlines() if line.startswith(name)]
    assert line.rstrip().endswith("101.0 of 100")
    assert f"cluster {name} has used its 100 node-hours of {deployed.month}; it goes on in " in done.stderr


def test_of_many_nodes_that_are_gone_the_latest_are_listed_and_the_others_counted(deployed: Deployed) -> None:
    for number in range(MAX_GONE + 2):
        deployed.node(f"n-{number:03}", NodeState.LEFT)
    deployed.node("x-1", NodeState.IDLE)
    view = deployed.client.cluster(deployed.gpu.name)
    assert (len(view.nodes), view.num_gone) == (MAX_GONE + 1, 2)
    assert view.nodes[0].node == "x-1"
    assert list(view.nodes[1:]) == sorted(view.nodes[1:], key=lambda node: node.seen, reverse=True)


def test_the_whole_message_of_an_unusable_node_is_told(deployed: Deployed) -> None:
    message = "setup command: exit code 1\n" + "x" * 3000 + "\n[bold]no space[/bold] left"
    deployed.node("n-1", NodeState.UNUSABLE, message=message)
    [node] = deployed.client.cluster(deployed.gpu.name).nodes
    assert node.message == message
    assert deployed.run("cluster", "show", deployed.gpu.name).stdout.rstrip().endswith("[bold]no space[/bold] left")


def test_a_cluster_is_shown_with_what_its_file_says(deployed: Deployed) -> None:
    deployed.node("n-1", NodeState.RUNNING, num_busy=1, message="[red]fine[/red]")
    done = deployed.run("cluster", "show", deployed.gpu.name)
    assert done.exit_code == ExitCode.OK
    about, _, rows = done.stdout.partition("\n\n")
    told = {line.split("  ")[0]: line.split("  ", 1)[1].strip() for line in about.splitlines()}
    assert told["description"] == "One [red]A100[/red] a node"
    assert told["VM size"] == "Standard_NC24ads_A100_v4"
    assert told["node"].startswith("1 core, 2Gi, 2 GPUs, 2 trials at once")
    assert told["nodes"] == "1 to 4, of low priority, each gone after 2 min 00 s without work"
    assert told["mounts"] == "datasets at /mnt/sets (read only)"
    assert told["limits of a trial"] == "512 processes"
    assert told["now"] == "1 running; 1 of 2 slots busy"
    assert told["node-hours"].endswith(f" of 100 in {deployed.month}")
    [row] = [line for line in rows.splitlines() if line.startswith("n-1")]
    assert row.split()[:3] == ["n-1", "running", "1/2"]
    assert row.endswith("[red]fine[/red]")


def test_json_of_both_commands_is_what_the_client_gives(deployed: Deployed) -> None:
    deployed.node("n-1", NodeState.UNUSABLE, message="why")
    listed = json.loads(deployed.run("cluster", "list", "--json").stdout)["clusters"]
    found = deployed.client.clusters()
    assert [ClusterSummary.from_json(one) for one in listed][:2] == found[:2]
    assert [one["cluster"] for one in listed] == [one.name for one in found]
    shown = json.loads(deployed.run("cluster", "show", deployed.gpu.name, "--json").stdout)
    assert ClusterView.from_json(shown) == deployed.client.cluster(deployed.gpu.name)


def test_an_unknown_cluster_is_refused_with_those_that_there_are(deployed: Deployed) -> None:
    with pytest.raises(NotFoundError, match=rf"^nope: there is no such cluster; there are {deployed.gpu.name}, "):
        deployed.client.cluster("nope")
    with pytest.raises(DropsweepError, match=r"^cluster 'No such' is no name: it must be 1 to 40 lower-case"):
        deployed.client.cluster("No such")
    assert deployed.run("cluster", "show", "nope").exit_code == ExitCode.NOT_FOUND


def test_a_registered_node_is_seen_with_its_first_beat(deployed: Deployed) -> None:
    node = register(deployed.store, deployed.cpu.name, "host/1", num_slots=3, beat_s=30.0, image="an/image:1")
    node.beat(NodeState.RUNNING, 2)
    [shown] = deployed.client.cluster(deployed.cpu.name).nodes
    assert (shown.node, shown.worker, shown.state, shown.image) == (node.node, "host/1", "running", "an/image:1")
    node.leave(NodeState.UNUSABLE, "the disk is full")
    [shown] = deployed.client.cluster(deployed.cpu.name).nodes
    assert (shown.state, shown.is_living, shown.message) == ("unusable", False, "the disk is full")


def test_it_is_told_as_of_when_the_functions_said_what_they_serve(deployed: Deployed) -> None:
    summary = deployed.seen(deployed.gpu.name)
    done = deployed.run("cluster", "show", deployed.gpu.name)
    rule = "which clusters there are and what their files say is as of the functions' timer pass at "
    if isinstance(deployed.client, HttpClient):
        assert summary.told is None, "they answer themselves"
        assert rule not in done.stderr
    else:
        assert summary.told is not None
        assert abs(summary.told - deployed.begun) < timedelta(minutes=1)
        assert rule + moment(summary.told) in done.stderr
        assert deployed.run("cluster", "list").stderr.count(rule) == 1


@pytest.mark.parametrize(
    ("hours", "cap", "expected"),
    [
        (0.0136, 0.01, "0.01 of 0.01"),
        (1.26, None, "1.3"),
        (0.0, 0.0, "0.0 of 0"),
        (2.0, 10.0, "2.0 of 10"),
        (1.26, 2.5, "1.3 of 2.5"),
        (1234567.0, 2000000.0, "1,234,567.0 of 2,000,000"),
    ],
)
def test_hours_have_as_many_digits_as_their_cap(hours: float, cap: float | None, expected: str) -> None:
    assert hours_text(hours, cap) == expected


def test_functions_that_only_name_their_clusters_or_say_nothing_are_understood(
    connection_string: str, deployed: Deployed
) -> None:
    told = {"version": 1, "dropsweep": "0.3", "at": time_out(deployed.begun)}
    deployed.store.blobs.put(RUNS, FUNCTIONS_RECORD, dump({**told, "clusters": [deployed.cpu.name, 7, "No name"]}))
    first = deployed.client.clusters()[0]
    assert (first.name, first.is_served, first.config) == (deployed.cpu.name, True, None)
    assert deployed.seen(deployed.gpu.name).is_served is False
    deployed.store.blobs.put(RUNS, FUNCTIONS_RECORD, b"")
    assert deployed.seen(deployed.gpu.name).is_served is None, "the first pass has not been made"
    done = deployed.run("cluster", "list")
    assert (done.exit_code, "(not served)" in done.stdout) == (ExitCode.OK, False)


def test_a_list_costs_two_operations_and_four_for_each_cluster(connection_string: str, deployed: Deployed) -> None:
    tally = Tally()
    counted = Store.connect(StorageSettings(connection_string), tally)
    found = list_clusters(counted, [deployed.gpu, deployed.cpu])
    assert tally.total == 2 + 4 * len(found)
