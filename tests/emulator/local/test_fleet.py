"""Trainers that come for messages and leave by themselves, played by a small program."""

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dropsweep.clusters import Cluster, Mount, parse_clusters
from dropsweep.names import Priority, trials_queue
from dropsweep.settings import StorageSettings
from dropsweep.storage import Store
from local.leash import descendants
from local.stack import Stack

from .conftest import wait_until

_POLL_S = 0.1

_WORKER = """
import os, sys, time
from pathlib import Path
from dropsweep.names import trials_queues
from dropsweep.settings import Settings
from dropsweep.storage import Store
folder, cluster = Path(sys.argv[1]), sys.argv[sys.argv.index("--cluster") + 1]
assert "--scaled" in sys.argv
settings = Settings.from_env(os.environ)
queues = Store.connect(settings.storage).queues
print("serving cluster", cluster, flush=True)
(folder / f"born-{os.getpid()}").touch()
idle_since = time.monotonic()
while time.monotonic() - idle_since < settings.cluster(cluster).idle_time_before_scale_down_s:
    for queue in trials_queues(cluster):
        for message in queues.receive(queue, visibility_s=600):
            (folder / f"taken-{cluster}-{message.text}").touch()
            while not (folder / "go").exists():
                time.sleep(0.02)
            queues.delete(message)
            idle_since = time.monotonic()
    time.sleep(0.02)
"""
"""Takes messages as the trainer does; each is work until the file `go` is there."""

_BROKEN = """
import sys, time
with open(sys.argv[1] + "/births", "a") as births:
    print(time.monotonic(), file=births)
sys.exit(3)
"""


def cluster(name: str, **fields: object) -> Cluster:
    return Cluster(name, **{"idle_time_before_scale_down_s": 0.3, **fields})  # type: ignore[arg-type]


@contextmanager
def running(folder: Path, *clusters: Cluster, code: str = _WORKER) -> Iterator[tuple[Stack, Store]]:
    command = [sys.executable, "-c", code, str(folder)]
    with Stack(
        folder / "data", clusters=clusters, trainer_command=command, polling_interval_s=_POLL_S, with_host=False
    ) as stack:
        yield stack, Store.connect(StorageSettings(connection_string=stack.connection_string))


def trainers(stack: Stack) -> list[str]:
    return [child.name for child in stack.children if child.name.startswith("trainer")]


def seen(folder: Path, what: str) -> list[str]:
    return sorted(file.name.removeprefix(f"{what}-") for file in folder.glob(f"{what}-*"))


def test_trainers_come_for_what_waits_up_to_the_most_and_all_leave_when_it_is_done(tmp_path: Path) -> None:
    with running(tmp_path, cluster("gpu", max_instances=3)) as (stack, store):
        assert trainers(stack) == []
        for number in range(5):
            store.queues.send(trials_queue("gpu"), str(number))
        wait_until(lambda: len(seen(tmp_path, "taken")) == 3, "three work")
        assert trainers(stack) == ["trainer-gpu-1", "trainer-gpu-2", "trainer-gpu-3"]
        (tmp_path / "go").touch()
        wait_until(lambda: len(seen(tmp_path, "taken")) == 5, "all is taken")
        wait_until(lambda: not trainers(stack), "all have left")
        assert stack.dead() == []
        lines = stack.tend()
        assert re.match(r"cluster gpu: trainer-gpu-1(, trainer-gpu-[23])* started for [1-5] messages?$", lines[0])
        assert len([line for line in lines if line.endswith("has left")]) == len(seen(tmp_path, "born"))


def test_nobody_is_started_for_work_that_is_hidden(tmp_path: Path) -> None:
    with running(tmp_path, cluster("gpu", max_instances=3)) as (stack, store):
        queue = trials_queue("gpu")
        store.queues.send(queue, "held")
        store.queues.send(queue, "later", delay_s=600)
        wait_until(lambda: seen(tmp_path, "taken") == ["gpu-held"], "one works")
        # One that was started before the message was taken was one too many, and leaves.
        wait_until(lambda: len(trainers(stack)) == 1, "it works alone")
        born = seen(tmp_path, "born")
        time.sleep(10 * _POLL_S)
        assert (store.queues.num_visible(queue), store.queues.count(queue)) == (0, 2)
        assert (len(trainers(stack)), seen(tmp_path, "born")) == (1, born)
        store.queues.send(queue, "more")
        wait_until(lambda: seen(tmp_path, "taken") == ["gpu-held", "gpu-more"], "another one works")
        assert len(trainers(stack)) >= 2


def test_each_priority_brings_a_trainer_and_each_cluster_its_own(tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    with running(tmp_path, cluster("cpu"), cluster("gpu")) as (stack, store):
        for priority in Priority:
            store.queues.send(trials_queue("cpu", priority), priority)
            wait_until(lambda now=priority: f"cpu-{now}" in seen(tmp_path, "taken"), "it is taken")
            wait_until(lambda: not trainers(stack), "its trainer has left")
        store.queues.send(trials_queue("gpu"), "one")
        wait_until(lambda: "gpu-one" in seen(tmp_path, "taken"), "it is taken")
        wait_until(lambda: not trainers(stack), "all have left")
        assert seen(tmp_path, "taken") == ["cpu-high", "cpu-low", "cpu-normal", "gpu-one"]
        # A number is used again, and with it the log.
        assert (stack.logs / "trainer-cpu-1.log").read_text().count("serving cluster cpu") >= 3
        assert (stack.logs / "trainer-gpu-1.log").read_text().count("serving cluster gpu") >= 1


def test_the_fewest_are_there_from_the_start_and_come_back(tmp_path: Path) -> None:
    busy = cluster("gpu", min_instances=2, max_instances=3, idle_time_before_scale_down_s=600.0)
    with running(tmp_path, busy) as (stack, store):
        wait_until(lambda: len(seen(tmp_path, "born")) == 2, "two are there")
        for number in range(9):
            store.queues.send(trials_queue("gpu"), str(number))
        wait_until(lambda: len(seen(tmp_path, "taken")) == 3, "three work")
        stack.tend()
        first = next(child for child in stack.children if child.name == "trainer-gpu-1")
        os.kill(descendants(first.pid)[0], signal.SIGTERM)
        wait_until(lambda: len(seen(tmp_path, "taken")) == 4, "another one has come")
        lines = stack.tend()
        assert lines[0].startswith(
            "trainer-gpu-1 ended with status 143; cluster gpu gets no new trainer for 1 s; its log"
        )
        assert lines[1] == "cluster gpu: trainer-gpu-1 started for 6 messages"


def test_a_trainer_that_dies_at_once_is_followed_by_another_after_a_pause_that_grows(tmp_path: Path) -> None:
    with running(tmp_path, cluster("gpu"), code=_BROKEN) as (stack, store):
        store.queues.send(trials_queue("gpu"), "one")
        told: list[str] = []

        def deaths() -> list[str]:
            told.extend(stack.tend())
            return [line for line in told if "ended with status 3" in line]

        wait_until(lambda: len(deaths()) == 3, "three deaths")
        first, second, third = map(float, (tmp_path / "births").read_text().split())
        # The clock of processes is one: each was born after its predecessor had died and the pause was over.
        assert second - first >= 1
        assert third - second >= 2
        stack.revive()
        wait_until(lambda: len(deaths()) == 4, "revived")
        pauses = [line.partition(" for ")[2].partition(";")[0] for line in deaths()]
        assert pauses == ["1 s", "2 s", "4 s", "1 s"]
        assert stack.vital_dead() == []


def test_the_storage_may_go_and_come_back(tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    with running(tmp_path, cluster("gpu")) as (stack, store):
        [azurite] = stack.vital_dead() or [child for child in stack.children if child.name == "azurite"]
        os.kill(descendants(azurite.pid)[0], signal.SIGTERM)
        wait_until(stack.vital_dead, "it is away")
        line = wait_until(stack.tend, "it is told")[0]
        assert line.startswith("cluster gpu is not scaled: ")
        time.sleep(5 * _POLL_S)
        assert stack.tend() == []
        assert stack.revive() == ["azurite"]
        store.queues.send(trials_queue("gpu"), "one")
        wait_until(lambda: seen(tmp_path, "taken") == ["gpu-one"], "it is taken")


def test_host_and_trainers_are_told_of_the_clusters_as_they_are_on_this_machine(tmp_path: Path) -> None:
    mounts = (Mount("data", "datasets", "/mnt/data"), Mount("out", "results", "/mnt/out"))
    code = "import os, sys; open(sys.argv[1] + '/told', 'w').write(os.environ['DROPSWEEP_CLUSTERS'] + '\\n')"
    with running(tmp_path, cluster("gpu", gpus_per_node=2, min_instances=1, mounts=mounts), code=code) as (stack, _):
        told = tmp_path / "told"
        wait_until(lambda: told.exists() and told.read_text().endswith("\n"), "it is told")
        [gpu] = parse_clusters(told.read_text())
        assert (gpu,) == stack.clusters
        assert gpu.slots_per_node == 2
        assert [Path(mount.path) for mount in gpu.mounts] == [
            tmp_path / "data/mounts" / name for name in ("datasets", "results")
        ]
        assert all(Path(mount.path).is_dir() for mount in gpu.mounts)
