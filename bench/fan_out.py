"""Fan-out: how fast trials are dispatched, and what a pass of `advance` costs however many trials have ended."""

import statistics
import time
import tracemalloc
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import yaml

from bench.results import Measured, Row
from bench.system import folder
from dropsweep.clusters import Cluster
from dropsweep.errors import DropsweepError
from dropsweep.messages import AdvanceMessage
from dropsweep.names import JOBS, RUNS, SHARD_SIZE, JobKey
from dropsweep.records import Best, JobRecord, TrialRecord
from dropsweep.settings import Settings, StorageSettings
from dropsweep.states import JobReason, JobState, TrialReason, TrialState
from dropsweep.steps.advance import LastLooks, advance
from dropsweep.steps.pick_up import pick_up
from dropsweep.storage import Store, Tally
from local.azurite import Azurite
from local.stack import CLUSTER

_FINISHED: Final = (1_000, 10_000, 100_000)
_NUM_PASSES: Final = 9
_NUM_RECORDS: Final = 500
"""Of each job's one shard that is not closed."""
_NUM_TRIALS: Final = 10_000
_NUM_TRIALS_QUICK: Final = 2_000
_NUM_AT_ONCE: Final = 2_000
_WRITERS: Final = 8
_TRACE_EACH: Final = 2
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Pass:
    """What one pass cost; `peak_bytes` is what Python allocated at most, where that was traced."""

    seconds: float
    num_operations: int
    peak_bytes: int | None


class _Bench:
    """Storage that no host looks at, so that every pass is one of ours."""

    def __init__(self, connection_string: str) -> None:
        self.settings = Settings(StorageSettings(connection_string), clusters=(Cluster(CLUSTER),))
        self.tally = Tally()
        self.store = Store.connect(self.settings.storage, self.tally)
        self.store.prepare(self.settings.cluster_names)
        self.looks = LastLooks()

    def accept(self, name: str, num_trials: int, window: int) -> JobKey:
        """Drops and accepts a sweep; no pass looks at it yet."""
        path = f"bench/fan-out/{name}.yaml"
        self.store.blobs.put(JOBS, path, _job_file(num_trials, window))
        key = pick_up(self.store, self.settings, path)
        if key is None:
            raise DropsweepError(f"{JOBS}/{path} is gone")
        return key

    def record(self, key: JobKey) -> tuple[JobRecord, str]:
        """Returns a job's record and its ETag."""
        blob = self.store.blobs.read(RUNS, key.record)
        if blob is None:
            raise DropsweepError(f"{key.path} has no record")
        return JobRecord.from_json(blob.body), blob.etag

    def advance_to(self, key: JobKey, num_finished: int, num_out: int) -> None:
        """Writes a job's record as it is when so many trials have ended and so many more are out.

        The first of them, in whole shards, are summed up as `advance` sums them up.
        """
        job, etag = self.record(key)
        num_closed = num_finished // SHARD_SIZE * SHARD_SIZE
        began = replace(
            job.moved(JobReason.DISPATCHING, started=datetime.now(UTC)),
            next_trial=num_finished + num_out,
            closed_below=num_closed // SHARD_SIZE,
            closed_counts={TrialState.COMPLETED: num_closed} if num_closed else {},
            closed_best=Best(0, 0.0) if num_closed else None,
        )
        if self.store.blobs.replace(RUNS, key.record, began.to_json(), etag, began.to_metadata()) is None:
            raise DropsweepError(f"{key.path} was changed by somebody else")

    def finish(self, key: JobKey, trials: Sequence[int]) -> None:
        """Writes the final records of trials, as workers do."""

        def write(trial: int) -> None:
            now = datetime.now(UTC)
            record = TrialRecord(
                key, trial, 1, TrialReason.SUCCEEDED, {"x": trial}, metric=trial / 7, started=now, finished=now
            )
            self.store.blobs.create(RUNS, key.trial(trial), record.to_json(), record.to_metadata())

        with ThreadPoolExecutor(_WRITERS) as pool:
            list(pool.map(write, trials))

    def look(self, key: JobKey, *, settings: Settings | None = None, is_traced: bool = False) -> _Pass:
        """Passes over a job once; tracing makes it several times slower."""
        before = self.tally.total
        began = time.perf_counter()

        def act() -> None:
            advance(self.store, settings or self.settings, AdvanceMessage(key), self.looks)

        peak_bytes = None
        if is_traced:
            peak_bytes = _peak_bytes(act)
        else:
            act()
        return _Pass(time.perf_counter() - began, self.tally.total - before, peak_bytes)


def measure(*, is_quick: bool) -> Measured:
    """Calls the steps here, on storage of their own, so that time, operations and memory are theirs alone.

    Passes over jobs with many ended trials: each finds one trial more that has ended, beside 500 of a shard that is not
    closed, and dispatches the next one; the jobs take turns. The others are in closed shards, which no pass lists. A
    trial that is not final keeps its shard of a thousand open: with one straggler in each shard, none of them is closed
    and a pass lists them all. The sweep at the end is run by writing final records as
    workers do, a window at a time; a pass lists one shard of it, so that it needs most memory when that is nearly full.
    Memory is the peak of what Python allocates (tracemalloc) in passes that are not
    timed. Quick runs a smaller sweep.
    """
    num_trials = _NUM_TRIALS_QUICK if is_quick else _NUM_TRIALS
    root = folder("fan-out")
    with Azurite(root / "storage", log=root / "azurite.log") as azurite:
        bench = _Bench(azurite.connection_string)
        rows = [*_passes(bench), *_closing(bench), *_rate(bench), *_sweep(bench, num_trials)]
    return Measured(tuple(rows))


def _passes(bench: _Bench) -> list[Row]:
    jobs: dict[int, JobKey] = {}
    for num_finished in _FINISHED:
        jobs[num_finished] = key = bench.accept(f"finished-{num_finished}", 10 * _FINISHED[-1], 256)
        bench.advance_to(key, num_finished, _NUM_RECORDS)
        bench.finish(key, range(num_finished, num_finished + _NUM_RECORDS))
        bench.look(key)  # fills the window
    passes: dict[int, list[_Pass]] = {num_finished: [] for num_finished in _FINISHED}
    peaks: dict[int, int] = {}
    for number in range(_NUM_PASSES + 1):
        for num_finished, key in sorted(jobs.items(), reverse=bool(number % 2)):
            bench.finish(key, [num_finished + _NUM_RECORDS + number])
            is_traced = number == _NUM_PASSES
            one = bench.look(key, is_traced=is_traced)
            if one.peak_bytes is not None:
                peaks[num_finished] = one.peak_bytes
            else:
                passes[num_finished].append(one)
    rows = []
    for num_finished, found in passes.items():
        what = f"a pass over a job with {num_finished:,} ended trials"
        rows += [
            Row(f"{what}: time, median", statistics.median(one.seconds for one in found) * 1000, "ms"),
            Row(f"{what}: storage operations", statistics.median(one.num_operations for one in found), ""),
            Row(f"{what}: peak memory", peaks[num_finished] / _MIB, "MiB"),
        ]
    return rows


def _closing(bench: _Bench) -> list[Row]:
    key = bench.accept("closing", 10 * _FINISHED[-1], 256)
    bench.advance_to(key, _FINISHED[1], SHARD_SIZE)
    bench.finish(key, range(_FINISHED[1], _FINISHED[1] + SHARD_SIZE))
    one = bench.look(key)
    closed = bench.record(key)[0].closed_below
    if closed != _FINISHED[1] // SHARD_SIZE + 1:
        raise DropsweepError(f"{key.path}: {closed} shards are closed, which is one too few")
    what = f"the pass that closes a shard of {SHARD_SIZE:,} and fills the window"
    return [Row(f"{what}: time", one.seconds * 1000, "ms"), Row(f"{what}: storage operations", one.num_operations, "")]


def _rate(bench: _Bench) -> list[Row]:
    key = bench.accept("rate", _NUM_AT_ONCE, _NUM_AT_ONCE)
    one = bench.look(key, settings=replace(bench.settings, dispatch_window=_NUM_AT_ONCE))
    if bench.record(key)[0].next_trial != _NUM_AT_ONCE:
        raise DropsweepError(f"{key.path}: not every trial was dispatched")
    return [Row(f"messages a second, one pass that dispatches {_NUM_AT_ONCE:,}", _NUM_AT_ONCE / one.seconds, "1/s")]


def _sweep(bench: _Bench, num_trials: int) -> list[Row]:
    key = bench.accept("sweep", num_trials, 256)
    num_finished = num_passes = 0
    timed: list[_Pass] = []
    early, late = [0], [0]
    while True:
        is_traced = num_passes % _TRACE_EACH == 1 and num_finished < num_trials
        one = bench.look(key, is_traced=is_traced)
        num_passes += 1
        if one.peak_bytes is None:
            timed.append(one)
        else:
            (early if num_finished <= num_trials // 5 else late).append(one.peak_bytes)
        job, _ = bench.record(key)
        if job.state is JobState.COMPLETED:
            break
        bench.finish(key, range(num_finished, job.next_trial))
        num_finished = job.next_trial
    if job.counts != {TrialState.COMPLETED: num_trials}:
        raise DropsweepError(f"{key.path} ended with {job.counts}")
    what = f"a sweep of {num_trials:,} trials"
    return [
        Row(f"{what}: peak memory of the passes over its first fifth", max(early) / _MIB, "MiB"),
        Row(f"{what}: peak memory of the passes over the rest", max(late) / _MIB, "MiB"),
        Row(f"{what}: a pass that fills the window, median", statistics.median(one.seconds for one in timed[:-1]), "s"),
        Row(f"{what}: the last pass, with its report", timed[-1].seconds, "s"),
        Row(f"{what}: storage operations of the last pass", timed[-1].num_operations, ""),
    ]


def _job_file(num_trials: int, window: int) -> bytes:
    document: dict[str, Any] = {
        "type": "sweep",
        "trial": {"command": "echo ${{search_space.x}}"},
        "search_space": {"x": {"type": "uniform", "min_value": 0, "max_value": 1}},
        "sampling_algorithm": "random",
        "objective": {"goal": "maximize", "primary_metric": "score"},
        "limits": {"max_total_trials": num_trials, "max_concurrent_trials": window},
    }
    return yaml.safe_dump(document, sort_keys=False).encode()


def _peak_bytes(act: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
