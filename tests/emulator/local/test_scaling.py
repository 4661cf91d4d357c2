"""Real trainers come for real jobs and leave again: a whole stack, scaled from zero."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dropsweep.client import Client
from dropsweep.clusters import Cluster, Mount
from dropsweep.names import JobKey
from dropsweep.nodes import list_nodes
from dropsweep.states import JobState, NodeState
from local.stack import Stack

from .conftest import wait_until

SMALL = Cluster(
    "small", max_instances=2, idle_time_before_scale_down_s=1.0, mounts=(Mount("data", "shared", "/mnt/data"),)
)
OTHER = Cluster("other", max_instances=1, idle_time_before_scale_down_s=1.0)

KEPT = Cluster("kept", min_instances=1, max_instances=2, idle_time_before_scale_down_s=1.0)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("scaled"), clusters=(SMALL, OTHER, KEPT), polling_interval_s=0.5) as stack:
        yield stack


@pytest.fixture
def client(stack: Stack) -> Client:
    return Client.from_connection_string(stack.connection_string)


def trainers(stack: Stack, cluster: str = "") -> list[str]:
    return [child.name for child in stack.children if child.name.startswith(f"trainer-{cluster}")]


@contextmanager
def watched(stack: Stack, cluster: str) -> Iterator[list[int]]:
    """Yields how many trainers of a cluster were seen, one number a look."""
    seen: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            seen.append(len(trainers(stack, cluster)))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def submit(client: Client, folder: Path, text: str, name: str = "job") -> JobKey:
    file = folder / f"{name}.yaml"
    file.write_text(text)
    return client.submit(file, workspace="scaled").key


SWEEP = """
type: sweep
compute: {cluster}
trial:
  command: sleep 1; printf '{{"score":%s}}' ${{{{search_space.x}}}} >> "$DROPSWEEP_METRICS"
search_space: {{x: {{type: choice, values: [1, 2, 3, 4, 5]}}}}
sampling_algorithm: grid
objective: {{goal: maximize, primary_metric: score}}
"""


def test_a_sweep_brings_trainers_up_to_the_most_and_none_is_left_afterwards(
    stack: Stack, client: Client, tmp_path: Path
) -> None:
    wait_until(lambda: not trainers(stack, "small"), "nobody is there")
    with watched(stack, "small") as seen:
        key = submit(client, tmp_path, SWEEP.format(cluster="small"))
        assert client.wait(key, timeout_s=120).state is JobState.COMPLETED
        wait_until(lambda: not trainers(stack, "small"), "all have left")
    assert max(seen) == 2
    assert stack.dead() == []
    told = "\n".join(stack.tend())
    assert "ended with status" not in told
    assert len(re.findall(r"trainer-small-\d has left", told)) >= 2
    nodes = list_nodes(client.store, "small")
    assert nodes.living == ()
    assert {node.state for node in nodes.nodes} == {NodeState.LEFT}


def test_the_fewest_stay_when_the_others_leave(stack: Stack, client: Client, tmp_path: Path) -> None:
    wait_until(lambda: len(trainers(stack, "kept")) == 1, "one is there from the start")
    with watched(stack, "kept") as seen:
        key = submit(client, tmp_path, SWEEP.format(cluster="kept"), "kept")
        assert client.wait(key, timeout_s=120).state is JobState.COMPLETED
        wait_until(lambda: len(trainers(stack, "kept")) == 1, "the other one has left")
        time.sleep(2.5)
    assert max(seen) == 2
    assert min(seen) == 1


def test_each_cluster_s_trainers_run_its_jobs_only(stack: Stack, client: Client, tmp_path: Path) -> None:
    command = {"small": 'printf hello > "$DROPSWEEP_MOUNT_DATA/file"', "other": "sleep 0"}
    keys = [
        submit(client, tmp_path, f"type: command\ncompute: {name}\ncommand: {command[name]}", name) for name in command
    ]
    for key in keys:
        assert client.wait(key, timeout_s=120).state is JobState.COMPLETED
    logs = {name: "".join(log.read_text() for log in stack.logs.glob(f"trainer-{name}-*.log")) for name in command}
    assert [name for name in logs if keys[0].path in logs[name]] == ["small"]
    assert [name for name in logs if keys[1].path in logs[name]] == ["other"]
    [mount] = stack.clusters[0].mounts
    assert (Path(mount.path) / "file").read_text() == "hello"
