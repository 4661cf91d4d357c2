"""Trainers whose trials run as users of their own, in a folder that these can reach."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dropsweep.clusters import Cluster, dump_clusters
from dropsweep.names import RUNS, JobKey
from dropsweep.records import TrialRecord
from tests.emulator.deployment import Deployment, until

needs_root = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs Linux, and root to start trials as other users"
)
UID = 20_500 + 1_000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""Another one in each process of a test run: what is ended after a trial, and counted, is all that its user has."""
SECRET = "planted-5f3a9c"
StartTrainer = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def work() -> Iterator[Path]:
    """A work folder that every user can reach; pytest's own lies in one that is shut for others."""
    folder = Path(tempfile.mkdtemp(prefix="dropsweep-test-"))
    folder.chmod(0o755)
    yield folder
    subprocess.run(["rm", "-rf", folder], check=True)


@pytest.fixture
def start_trainer(deployment: Deployment, connection_string: str, work: Path) -> Iterator[StartTrainer]:
    """Starts trainers with secrets in their environment; a process namespace stands in for a container."""
    started: list[subprocess.Popen[bytes]] = []

    def start(
        name: str = "worker",
        uid: str = str(UID),
        container: bool = False,
        slots: int = 1,
        cluster: Cluster | None = None,
        **environment: str,
    ) -> subprocess.Popen[bytes]:
        unshare = ("unshare", "--fork", "--pid", "--mount-proc", "--kill-child") if container else ()
        options = ("--work", str(work / "work"), "--slots", str(slots), "--exit-when-idle", "600")
        with (work / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [*unshare, sys.executable, "-m", "dropsweep_trainer", *options],
                env={
                    **os.environ,
                    "PYTHONPATH": "shared:trainer_image",
                    "DROPSWEEP_STORAGE": connection_string,
                    "DROPSWEEP_CLUSTERS": dump_clusters([cluster or Cluster(deployment.cluster, preload=())]),
                    "DROPSWEEP_TRIAL_UID": uid,
                    "DROPSWEEP_HEARTBEAT_S": "0.5",
                    "DROPSWEEP_CLAIM_TIMEOUT_S": "5",
                    "DROPSWEEP_GRACE_S": "2",
                    "DROPSWEEP_RETRY_DELAY_S": "0.1",
                    "IDENTITY_HEADER": SECRET,
                    "AZURE_FEDERATED_TOKEN_FILE": f"/{SECRET}",
                    **environment,
                },
                stderr=log,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def run(deployment: Deployment, job: dict[str, object], trial: int = 0) -> tuple[JobKey, TrialRecord]:
    key = deployment.drop(job)
    until(lambda: deployment.look(key).state.is_final)
    return key, deployment.trial(key, trial)


def everything(deployment: Deployment, key: JobKey) -> bytes:
    """The content of every blob of a job, one after the other."""
    blobs = [blob.name for blob in deployment.store.blobs.list(RUNS, f"{key.path}/")]
    read = [deployment.store.blobs.read(RUNS, name) for name in blobs]
    return b"".join(blob.body for blob in read if blob is not None)
