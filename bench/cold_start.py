"""From the drop of a job file to the first instruction of its trial, on a cluster without a trainer."""

import functools
import itertools
import random
import shlex
import time
from collections.abc import Callable
from typing import Final

from bench.requests import RequestLog
from bench.results import Breakdown, Measured, Row, quantile
from bench.system import DATA, Drops, folder, wait
from dropsweep.client import Client
from dropsweep.clusters import Cluster
from dropsweep.names import trials_queue
from local.child import Child
from local.fleet import SERVES
from local.stack import Stack

_CLUSTER: Final = Cluster("local", max_instances=1, idle_time_before_scale_down_s=0.5)
_NUM_DROPS: Final = 12
_NUM_DROPS_QUICK: Final = 5
_PAUSE_S: Final = (1.0, 3.0)
"""Between the departure of one trainer and the next drop, so that the scaler's looks are met at any moment."""
_TIMEOUT_S: Final = 60.0
_BAR_S: Final = 5.0
_PARTS: Final = (
    "drop until a message waits for a trainer",
    "until the scaler has started one",
    "until it serves",
    "until the trial runs",
)


def measure(*, is_quick: bool) -> Measured:
    """Drops small command jobs, one after the other, each when the trainer for the one before has left.

    The clocks are those of `latency`: from before the job file is written until the modification time of a file that is
    the trial's first act. The first drop warms the host and the caches of the file system up, and is not counted.
    """
    marks = folder("marks")
    dice = random.Random(0)
    seconds: list[float] = []
    parts: list[list[float]] = []
    with Stack(DATA, clusters=(_CLUSTER,), is_fresh=True, logs_requests=True) as stack:
        drops = Drops(Client.from_connection_string(stack.connection_string))
        requests = RequestLog(stack.logs / "azurite.log")

        def until(holds: Callable[[], bool], what: str) -> float:
            wait(stack, holds, timeout_s=_TIMEOUT_S, what=what)
            return time.time()

        for number in range((_NUM_DROPS_QUICK if is_quick else _NUM_DROPS) + 1):
            until(lambda: not _trainers(stack), "the trainer has left")
            time.sleep(dice.uniform(*_PAUSE_S))
            mark = marks / str(number)
            requests.fresh()
            times = [time.time()]
            key = drops.drop({"type": "command", "command": f": > {shlex.quote(str(mark))}"})
            times.append(until(lambda: _is_sent(requests), f"{key.path} is dispatched"))
            times.append(until(lambda: bool(_trainers(stack)), "a trainer is started"))
            [trainer] = _trainers(stack)
            times.append(until(functools.partial(_serves, trainer), "it serves"))
            until(mark.exists, f"{key.path} has a running trial")
            times.append(mark.stat().st_mtime)
            if number:
                seconds.append(times[-1] - times[0])
                parts.append([after - before for before, after in itertools.pairwise(times)])
            drops.client.wait(key, timeout_s=_TIMEOUT_S)
    return Measured(
        (
            Row("drop to first trial running, no trainer there, p50", quantile(seconds, 0.5), "s", _BAR_S),
            Row("drop to first trial running, no trainer there, p95", quantile(seconds, 0.95), "s"),
        ),
        (
            Breakdown(
                "A cold start, medians of its parts",
                "s",
                {name: quantile(values, 0.5) for name, values in zip(_PARTS, zip(*parts, strict=True), strict=True)},
            ),
        ),
    )


def _trainers(stack: Stack) -> list[Child]:
    return [child for child in stack.children if child.name.startswith("trainer")]


def _serves(trainer: Child) -> bool:
    return SERVES in trainer.said()


def _is_sent(requests: RequestLog) -> bool:
    return any(request.kind == f"send to {trials_queue(_CLUSTER.name)}" for request in requests.fresh())
