"""A grid of 2^30 points: what it costs to read, to accept and to look at for the first time."""

import time
import tracemalloc
from collections.abc import Callable
from typing import Any, Final

import yaml

from bench.results import Measured, Row
from bench.system import folder
from dropsweep.clusters import Cluster
from dropsweep.errors import DropsweepError
from dropsweep.messages import AdvanceMessage
from dropsweep.names import JOBS, RUNS
from dropsweep.records import JobRecord
from dropsweep.settings import Settings, StorageSettings
from dropsweep.spec import read_job
from dropsweep.steps.advance import LastLooks, advance
from dropsweep.steps.pick_up import pick_up
from dropsweep.storage import Store
from local.azurite import Azurite
from local.stack import CLUSTER

_SMALL: Final = 2**5
_LARGE: Final = 2**30
_VALUES: Final = tuple(range(32))
_BAR_S: Final = 1.0
_MIB: Final = 1024 * 1024


def measure(*, is_quick: bool) -> Measured:
    """Drops grids into storage that no host looks at, and calls the steps here, so that time and memory are theirs.

    Memory is the peak of what Python allocates (tracemalloc) while the file is accepted and passed over once; what it
    is for a grid of 32 points is taken off, so that the difference is what the size costs. Time is taken in runs of
    their own, because tracing slows them down. Quick makes no difference: it takes a few seconds.
    """
    root = folder("grid")
    with Azurite(root / "storage", log=root / "azurite.log") as azurite:
        settings = Settings(StorageSettings(connection_string=azurite.connection_string), clusters=(Cluster(CLUSTER),))
        store = Store.connect(settings.storage)
        store.prepare(settings.cluster_names)
        _accept(store, settings, _SMALL, "warm")  # the first call of anything is another matter
        body = _job_file(_LARGE)
        read_s = min(_time(lambda: _read(settings, body)) for _ in range(5))
        accept_s, advance_s = _accept(store, settings, _LARGE, "timed")
        small_bytes = _peak_bytes(lambda: _accept(store, settings, _SMALL, "small"))
        large_bytes = _peak_bytes(lambda: _accept(store, settings, _LARGE, "large"))
    return Measured(
        (
            Row("2^30 grid: read and check the file", read_s * 1000, "ms"),
            Row("2^30 grid: accept", accept_s, "s", _BAR_S),
            Row("2^30 grid: first pass of advance, a window of messages", advance_s, "s"),
            Row("2^30 grid: peak memory of both", large_bytes / _MIB, "MiB"),
            Row("2^30 grid: peak memory beyond that of 32 points", (large_bytes - small_bytes) / _MIB, "MiB"),
        )
    )


def _job_file(num_points: int) -> bytes:
    """A grid of this many points, a power of 32, with 32 values a parameter, as YAML."""
    names = [f"x{digit}" for digit in range((num_points.bit_length() - 1) // 5)]
    document: dict[str, Any] = {
        "type": "sweep",
        "trial": {"command": " ".join(["echo", *(f"${{{{search_space.{name}}}}}" for name in names)])},
        "search_space": {name: {"type": "choice", "values": list(_VALUES)} for name in names},
        "sampling_algorithm": "grid",
        "objective": {"goal": "maximize", "primary_metric": "score"},
        "limits": {"max_concurrent_trials": 32},  # the same window for both sizes
    }
    return yaml.safe_dump(document, sort_keys=False).encode()


def _read(settings: Settings, body: bytes) -> None:
    reading = read_job(body, file_name="grid.yaml", clusters=settings.clusters, seed=0, experiment="e")
    if reading.spec is None or reading.spec.num_trials != _LARGE:
        raise DropsweepError(f"the grid of {_LARGE} points was read as {reading}")


def _accept(store: Store, settings: Settings, num_points: int, name: str) -> tuple[float, float]:
    """Drops and accepts a grid and passes over it once; returns the seconds of both steps."""
    path = f"bench/grid/{name}.yaml"
    store.blobs.put(JOBS, path, _job_file(num_points))
    began = time.monotonic()
    key = pick_up(store, settings, path)
    accepted = time.monotonic()
    if key is None:
        raise DropsweepError(f"{JOBS}/{path} is gone")
    advance(store, settings, AdvanceMessage(key), LastLooks())
    ended = time.monotonic()
    blob = store.blobs.read(RUNS, key.record)
    record = JobRecord.from_json(blob.body) if blob else None
    if record is None or record.num_trials != num_points or not record.next_trial:
        raise DropsweepError(f"{key.path} was not accepted as a grid of {num_points} points: {record}")
    return accepted - began, ended - accepted


def _time(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _peak_bytes(act: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
