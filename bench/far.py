"""What distance costs: trials that do nothing, one slot, and a storage account some milliseconds away."""

import json
import shutil
import time
from collections.abc import Callable
from typing import Any, Final, cast

from bench.results import Measured, Row
from bench.system import WORKSPACE, folder, no_op_sweep
from dropsweep.clusters import Cluster
from dropsweep.messages import AdvanceMessage
from dropsweep.names import JOBS
from dropsweep.settings import Settings, StorageSettings
from dropsweep.steps.advance import LastLooks, advance
from dropsweep.steps.pick_up import pick_up
from dropsweep.storage import Blobs, Queues, Store
from dropsweep_trainer.sharing.slots import Slot
from dropsweep_trainer.worker.worker import Worker
from local.azurite import Azurite

_NUM_TRIALS: Final = 300
_NUM_QUICK: Final = 100
_DISTANCES_S: Final = (0.0, 0.02)
"""None, and what a service in the same region takes to answer."""


class _Far:
    """A part of the account each of whose methods takes so much longer: those that a trainer calls send one request."""

    def __init__(self, part: Blobs | Queues, distance_s: float) -> None:
        self._part = part
        self._distance_s = distance_s

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._part, name)

        def later(*arguments: Any, **options: Any) -> Any:
            time.sleep(self._distance_s)
            return method(*arguments, **options)

        return later


def measure(*, is_quick: bool) -> Measured:
    """Runs a sweep of no-op trials, which are queued before the worker starts, on one slot for each distance.

    The rate is over the worker's life, which ends as soon as it finds no message. Only its own requests are delayed.

    Raises:
        DropsweepError: the emulator does not start.
    """
    num_trials = _NUM_QUICK if is_quick else _NUM_TRIALS
    root = folder("far")
    try:
        with Azurite(root / "azurite", log=root / "azurite.log") as azurite:
            return Measured(
                tuple(
                    Row(
                        f"no-op trials a second, one slot, storage {1000 * distance_s:g} ms away",
                        _rate(azurite.connection_string, distance_s, num_trials),
                        "1/s",
                    )
                    for distance_s in _DISTANCES_S
                )
            )
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _rate(connection: str, distance_s: float, num_trials: int) -> float:
    cluster = Cluster(f"far-{1000 * distance_s:g}", preload=())
    settings = Settings(StorageSettings(connection), clusters=(cluster,), dispatch_window=num_trials)
    near = Store.connect(settings.storage)
    near.prepare(settings.cluster_names)
    dropped = f"{WORKSPACE}/far/{cluster.name}.json"
    near.blobs.put(JOBS, dropped, json.dumps(no_op_sweep(num_trials)).encode())
    key = pick_up(near, settings, dropped)
    assert key is not None, "a file that has just been dropped is there"
    advance(near, settings, AdvanceMessage(key), LastLooks())
    worker = Worker(
        Store(cast(Blobs, _Far(near.blobs, distance_s)), cast(Queues, _Far(near.queues, distance_s))),
        settings,
        name="far",
        cluster=cluster,
        slots=[Slot()],
        work=folder("far-work"),
        exit_when_idle_s=0.0,
    )
    began = time.monotonic()
    worker.run()
    return num_trials / (time.monotonic() - began)
