"""What one call of the storage costs in CPU time of the process that makes it."""

import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from bench.results import Breakdown, Measured, Row
from bench.system import folder
from dropsweep.errors import DropsweepError
from dropsweep.names import RUNS
from dropsweep.settings import StorageSettings
from dropsweep.storage import Message, Store, Written
from local.azurite import Azurite

_QUEUE: Final = "calls"
_BODY: Final = b'{"state": "running"}' * 40
"""As long as the record of a trial."""
_METADATA: Final = {"state": "running", "reason": "claimed", "attempt": "1", "metric": "0.5", "started": "2026-01-01"}
_NUM_LISTED: Final = 200
_NUM_ROUNDS: Final = 15
_NUM_ROUNDS_QUICK: Final = 5
_NUM_CALLS: Final = 40


@dataclass(frozen=True, slots=True)
class _Cost:
    cpu_ms: float
    wall_ms: float


def measure(*, is_quick: bool) -> Measured:
    """Makes each kind of call some hundred times, the kinds in turn, and takes the median of the rounds.

    CPU time is that of this process alone, so that the emulator's own is not in it; it includes what our code adds to
    the SDK. Quick makes a third of the rounds.
    """
    root = folder("calls")
    with Azurite(root / "storage", log=root / "azurite.log") as azurite:
        store = Store.connect(StorageSettings(azurite.connection_string))
        store.prepare(())
        store.queues.create_queue(_QUEUE)
        calls = _calls(store)
        costs: dict[str, list[_Cost]] = {name: [] for name in calls}
        for number in range((_NUM_ROUNDS_QUICK if is_quick else _NUM_ROUNDS) + 1):
            for name, call in calls.items():
                cost = _cost(call, 1 if name.startswith("list") else _NUM_CALLS)
                if number:  # the first call of anything is another matter
                    costs[name].append(cost)
    cpu_ms = {name: statistics.median(cost.cpu_ms for cost in found) for name, found in costs.items()}
    wall_ms = {name: statistics.median(cost.wall_ms for cost in found) for name, found in costs.items()}
    plain = [cost for name, cost in cpu_ms.items() if not name.startswith("list")]
    return Measured(
        (
            Row("CPU time of a storage call, mean of the kinds but lists", statistics.mean(plain), "ms"),
            Row(f"CPU time of a list of {_NUM_LISTED} records", cpu_ms[f"list of {_NUM_LISTED}"], "ms"),
        ),
        (
            Breakdown("CPU time of storage calls in the calling process", "ms", cpu_ms),
            Breakdown("Time until a storage call has returned", "ms", wall_ms),
        ),
    )


def _calls(store: Store) -> Mapping[str, Callable[[], object]]:
    """Returns the calls that a trial and a pass of `advance` are made of."""
    numbers = itertools.count()
    records = [f"w/e/calls/records/0000/{number:07}.json" for number in range(_NUM_LISTED)]
    for record in records:
        store.blobs.put(RUNS, record, _BODY, _METADATA)
    at = [store.blobs.put(RUNS, "w/e/calls/job.json", _BODY, _METADATA)]
    held: list[Message] = []

    def write(change: Callable[[str], Written | None]) -> None:
        written = change(at[0].etag)
        if written is None:
            raise DropsweepError("w/e/calls/job.json was changed by somebody else")
        at[0] = written

    def renew() -> None:
        renewed = store.queues.renew(held.pop(0), visibility_s=600)
        if renewed is None:
            raise DropsweepError(f"a message of the queue {_QUEUE} was taken by somebody else")
        held.append(renewed)

    return {
        "create a record": lambda: store.blobs.create(RUNS, f"w/e/calls/{next(numbers)}.json", _BODY, _METADATA),
        "change a record": lambda: write(
            lambda etag: store.blobs.replace(RUNS, "w/e/calls/job.json", _BODY, etag, _METADATA)
        ),
        "touch a record": lambda: write(lambda etag: store.blobs.touch(RUNS, "w/e/calls/job.json", etag, _METADATA)),
        "read a record": lambda: store.blobs.read(RUNS, "w/e/calls/job.json"),
        "look at a record": lambda: store.blobs.head(RUNS, "w/e/calls/job.json"),
        "send a message": lambda: store.queues.send(_QUEUE, '{"version": 1, "job": "w/e/calls", "trial": 7}'),
        "receive a message": lambda: held.extend(store.queues.receive(_QUEUE, visibility_s=600)),
        "renew a message": renew,
        "delete a message": lambda: store.queues.delete(held.pop()),
        f"list of {_NUM_LISTED}": lambda: list(store.blobs.list(RUNS, "w/e/calls/records/", metadata=True)),
    }


def _cost(call: Callable[[], object], num_calls: int) -> _Cost:
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    for _ in range(num_calls):
        call()
    cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    return _Cost(cpu_s * 1000 / num_calls, wall_s * 1000 / num_calls)
