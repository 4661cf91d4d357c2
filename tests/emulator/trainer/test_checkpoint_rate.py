"""A cluster's `checkpoint_rate` reaches the worker, and is lifted when a trial's command has ended."""

import threading
from collections.abc import Callable
from dataclasses import replace

from dropsweep.names import RUNS, JobKey
from dropsweep.states import TrialReason, TrialState
from dropsweep_trainer.worker.worker import Worker
from tests.emulator.deployment import Deployment, command, until

Start = Callable[[Worker], threading.Thread]

MAKES_ONE = """
mkdir "$DROPSWEEP_CHECKPOINTS/.new"
for name in a b; do head -c 100000 /dev/zero | tr '\\0' $name > "$DROPSWEEP_CHECKPOINTS/.new/$name"; done
mv "$DROPSWEEP_CHECKPOINTS/.new" "$DROPSWEEP_CHECKPOINTS/one"
sleep 600
"""


def names(deployment: Deployment, key: JobKey) -> list[str]:
    """What lies among the trial's checkpoints."""
    folder = key.checkpoints(0)
    return [blob.name.removeprefix(folder) for blob in deployment.store.blobs.list(RUNS, folder)]


def test_a_cluster_s_rate_holds_checkpoints_back_while_the_trial_runs_and_no_longer(
    deployment: Deployment, in_background: Start
) -> None:
    [cluster] = deployment.settings.clusters
    slow = replace(cluster, checkpoint_rate_bytes_s=1)  # a day for each of the files
    deployment.settings = replace(deployment.settings, clusters=(slow,))
    key = deployment.drop(command(MAKES_ONE))
    deployment.look(key)
    worker = deployment.worker(idle_s=None)
    thread = in_background(worker)
    until(lambda: names(deployment, key) == ["0001-000001-one/a"])
    assert not deployment.has_manifest(key, 0)
    worker.stopping.set()
    thread.join(60)
    assert names(deployment, key) == ["0001-000001-one.manifest.json", "0001-000001-one/a", "0001-000001-one/b"]
    given_back = deployment.trial(key, 0)
    assert (given_back.state, given_back.reason) == (TrialState.QUEUED, TrialReason.PREEMPTED)
