"""Real trainer processes of a cluster that a test describes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dropsweep.clusters import Cluster, dump_clusters
from dropsweep.nodes import list_nodes
from dropsweep.records.node import NodeSummary
from tests.emulator.deployment import Deployment
from tests.emulator.trainer.isolated import start_trainer, work
from tests.emulator.trainer.warm import Bench, MakeBench

__all__ = ["start_trainer", "work"]


class Nodes:
    """Starts trainers of one cluster and ends what is left of them.

    Attributes:
        cluster: what their cluster file says.
    """

    def __init__(self, deployment: Deployment, connection_string: str) -> None:
        self.cluster = deployment.settings.clusters[0]
        self._deployment = deployment
        self._connection_string = connection_string
        self._processes: list[subprocess.Popen[bytes]] = []

    def describe(self, **values: Any) -> Cluster:
        """Changes what the cluster file says, for the functions too."""
        self.cluster = replace(self.cluster, **values)
        self._deployment.settings = replace(self._deployment.settings, clusters=(self.cluster,))
        return self.cluster

    def start(self, name: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Starts a trainer; its log is `log(name)`."""
        with self.log_file(name).open("ab") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "dropsweep_trainer", "--cluster", self.cluster.name, *arguments),
                    *("--work", str(self._deployment.work / name)),
                ],
                env={
                    **os.environ,
                    "PYTHONPATH": "shared:trainer_image",
                    "DROPSWEEP_STORAGE": self._connection_string,
                    "DROPSWEEP_CLUSTERS": dump_clusters([self.cluster]),
                    "DROPSWEEP_HEARTBEAT_S": "0.5",
                    "DROPSWEEP_CLAIM_TIMEOUT_S": "5",
                    "DROPSWEEP_GRACE_S": "2",
                    **environment,
                },
                stderr=log,
            )
        self._processes.append(process)
        return process

    def log_file(self, name: str) -> Path:
        return self._deployment.work / f"{name}.log"

    def log(self, name: str) -> str:
        return self.log_file(name).read_text()

    @property
    def records(self) -> tuple[NodeSummary, ...]:
        """What the account knows of the nodes."""
        return list_nodes(self._deployment.store, self.cluster.name).nodes

    def living(self) -> int:
        return len(list_nodes(self._deployment.store, self.cluster.name).living)

    def end(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()


@pytest.fixture
def nodes(deployment: Deployment, connection_string: str) -> Iterator[Nodes]:
    nodes = Nodes(deployment, connection_string)
    yield nodes
    nodes.end()


def exit_status(process: subprocess.Popen[bytes], timeout_s: float = 60.0) -> tuple[int, float]:
    """Waits for a process; returns its exit status and how long that took."""
    started = time.monotonic()
    return process.wait(timeout_s), time.monotonic() - started


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[MakeBench]:
    made: list[Bench] = []

    def make_one(*preload: str, **options: object) -> Bench:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Bench(folder, preload, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make_one
    for bench in made:
        bench.close()
