"""The trainer as process 1 of a container: a process namespace stands in for one."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from dropsweep.names import RUNS
from dropsweep.states import TrialReason
from tests.emulator.deployment import Deployment, command, until

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs Linux, root, unshare"
)


def children(of: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(of)], capture_output=True, text=True, check=False).stdout
    return [int(pid) for pid in found.split()]


@pytest.fixture
def namespace(deployment: Deployment, connection_string: str) -> Iterator[subprocess.Popen[bytes]]:
    """The parent of a process namespace in which a trainer is process 1."""
    process = subprocess.Popen(
        [
            *("unshare", "--fork", "--pid", "--mount-proc", "--kill-child"),
            *(sys.executable, "-m", "dropsweep_trainer", "--work", str(deployment.work / "work")),
        ],
        env={
            **os.environ,
            "PYTHONPATH": "shared:trainer_image",
            "DROPSWEEP_STORAGE": connection_string,
            "DROPSWEEP_CLUSTERS": deployment.cluster,
        },
    )
    yield process
    process.kill()
    process.wait()


def test_it_reaps_passes_sigterm_on_and_exits_with_the_worker_s_status(
    deployment: Deployment, namespace: subprocess.Popen[bytes]
) -> None:
    text = (
        "(sleep 0.3 & echo $! > one) ; (sleep 0.3 & echo $! > two) ; "
        "while [ -e /proc/$(cat one) ] || [ -e /proc/$(cat two) ]; do sleep 0.1; done; echo reaped; sleep 600"
    )
    key = deployment.drop(command(text))
    deployment.look(key)
    until(lambda: deployment.store.blobs.read_range(RUNS, key.stdout(0, 1), 0) == b"reaped\n")
    [process_1] = children(namespace.pid)
    os.kill(process_1, signal.SIGTERM)
    assert namespace.wait(60) == 0
    assert deployment.trial(key, 0).reason is TrialReason.PREEMPTED


def test_it_hears_sigterm_before_its_worker_has_started(namespace: subprocess.Popen[bytes]) -> None:
    until(lambda: any(children(process_1) for process_1 in children(namespace.pid)))
    os.kill(children(namespace.pid)[0], signal.SIGTERM)
    assert namespace.wait(60) == 0
