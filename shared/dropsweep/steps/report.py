"""Report: writes what a person wants to have in hand when a job has ended.

Reads: spec.json; every record's metadata, shard by shard, but for the shards that advance has just listed; the best
    trial's record; metrics of the best trials.
Writes (in order): results.csv → best.json (when a trial completed) → report.html. All three follow from final
    records, so they are put, not created.
Idempotent by: the same records give the same files; memory stays flat however many trials there are.
If it dies: the job is not final yet, so the next pass of advance writes all three again.
Next: advance writes the job's final record.
"""

import csv
import heapq
import io
import json
import logging
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from dropsweep import metrics
from dropsweep.errors import StorageCorrupt
from dropsweep.names import RUNS, SHARD_SIZE, JobKey, trial_of_record
from dropsweep.page import Curve, ReportData, TrialRow, flatten, render
from dropsweep.records import JobRecord, TrialRecord, TrialSummary
from dropsweep.records.codec import dump, number_out, time_out
from dropsweep.spec import JobSpec
from dropsweep.states import TrialState
from dropsweep.storage import Store

_log = logging.getLogger(__name__)
_MAX_ROWS: Final = 500
_MAX_CURVES: Final = 20
_MAX_CURVE_ATTEMPTS: Final = 5
_MAX_CURVE_BYTES: Final = 2 * 1024 * 1024
_FIXED_COLUMNS: Final = ("trial", "state", "reason", "attempt", "started", "finished", "duration_s", "metric")


def write_report(store: Store, job: JobRecord, seen: Mapping[int, Sequence[TrialSummary]]) -> None:
    """Writes the three files of a job all of whose trials are final.

    Args:
        store: the storage account.
        job: the record that is about to be written, with the final state and the best trial.
        seen: what lists of shards gave after their trials were final; the others are listed.

    Raises:
        StorageError: as the storage does.
    """
    spec = read_spec(store, job.key)
    kept = _Kept(job)
    with tempfile.TemporaryDirectory(prefix="dropsweep-") as folder:
        lines, table = Path(folder, "rows.jsonl"), Path(folder, "results.csv")
        columns = _write_lines(lines, _rows(store, job, spec, seen), kept)
        _write_table(table, lines, columns)
        store.blobs.upload(RUNS, job.key.results, table)
    best = _best_record(store, job)
    if best is not None:
        store.blobs.put(RUNS, job.key.best, dump(_best_document(job, best)))
    data = _report(store, job, spec, kept)
    try:
        page = render(data)
    except Exception:  # noqa: BLE001 - a fault of the page, on numbers nobody thought of, must not keep a job from ending
        _log.exception("report: the page of %s cannot be drawn; its table and its best trial are there", job.key.path)
    else:
        store.blobs.put(RUNS, job.key.report, page.encode())


def read_spec(store: Store, key: JobKey) -> JobSpec:
    """Returns a job's normalised spec.

    Raises:
        StorageCorrupt: it is not there, though the job's record is written after it.
    """
    blob = store.blobs.read(RUNS, key.spec)
    if blob is None:
        raise StorageCorrupt(f"{RUNS}/{key.spec} is missing: it is written before the job's record. Restore the blob")
    return JobSpec.from_json(blob.body)


class _Kept:
    """The rows that the page shows: the best, then those without a metric, as many as fit."""

    def __init__(self, job: JobRecord) -> None:
        self._sign = 1.0 if job.goal == "maximize" else -1.0
        self._heap: list[tuple[float, int, TrialRow]] = []
        self.num_left_out = 0

    def add(self, row: TrialRow) -> None:
        worth = float("-inf") if row.value is None else self._sign * row.value
        entry = (worth, -row.trial, row)
        if len(self._heap) < _MAX_ROWS:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)
            self.num_left_out += 1

    @property
    def best_first(self) -> list[TrialRow]:
        return [row for _, _, row in sorted(self._heap, reverse=True)]

    @property
    def in_order(self) -> list[TrialRow]:
        return sorted((row for _, _, row in self._heap), key=lambda row: row.trial)


def list_shard(store: Store, key: JobKey, shard: int) -> Iterator[TrialSummary]:
    """Lists the records of a shard's trials, in their order.

    Raises:
        StorageError: as the storage does.
    """
    for found in store.blobs.list(RUNS, key.shard(shard), metadata=True):
        yield TrialSummary.from_metadata(trial_of_record(found.name), found.metadata, found.modified)


def _rows(
    store: Store, job: JobRecord, spec: JobSpec, seen: Mapping[int, Sequence[TrialSummary]]
) -> Iterator[tuple[TrialSummary, TrialRow]]:
    for shard in range(-(-job.next_trial // SHARD_SIZE)):
        for trial in seen[shard] if shard in seen else list_shard(store, job.key, shard):
            yield (
                trial,
                TrialRow(
                    trial=trial.trial,
                    state=trial.state,
                    reason=trial.message or str(trial.reason),
                    attempt=trial.attempt,
                    parameters=spec.parameters(trial.trial),
                    metric=trial.metric,
                    metrics=trial.metrics,
                    started=trial.started,
                    finished=trial.finished,
                    ran_s=trial.ran_s,
                ),
            )


def _write_lines(file: Path, rows: Iterator[tuple[TrialSummary, TrialRow]], kept: _Kept) -> list[str]:
    """Writes one JSON object a trial and returns every column that any of them has, in the order of appearance."""
    parameters: dict[str, None] = {}
    names: dict[str, None] = {}
    with file.open("w", encoding="utf-8") as lines:
        for trial, row in rows:
            kept.add(row)
            values: dict[str, Any] = {
                "trial": row.trial,
                "state": row.state,
                "reason": trial.reason,
                "attempt": row.attempt,
                "started": time_out(row.started),
                "finished": time_out(row.finished),
                "duration_s": row.duration_s,
                "metric": number_out(row.metric),
                "message": trial.message,
            }
            chosen = {f"param.{name}": value for name, value in flatten(row.parameters).items()}
            reported = {f"metric.{name}": number_out(value) for name, value in row.metrics.items()}
            parameters.update(dict.fromkeys(chosen))
            names.update(dict.fromkeys(reported))
            lines.write(json.dumps(values | chosen | reported) + "\n")
    return [*_FIXED_COLUMNS, *parameters, *names, "message"]


def _write_table(file: Path, lines: Path, columns: list[str]) -> None:
    with file.open("w", encoding="utf-8", newline="") as table, lines.open(encoding="utf-8") as rows:
        writer = csv.DictWriter(table, columns, restval="", lineterminator="\n")
        writer.writeheader()
        for line in rows:
            writer.writerow(json.loads(line))


def _best_record(store: Store, job: JobRecord) -> TrialRecord | None:
    """The best trial's record; a command's only trial when it completed."""
    if job.best is not None:
        trial = job.best.trial
    elif job.kind == "command" and job.counts.get(TrialState.COMPLETED):
        trial = 0
    else:
        return None
    blob = store.blobs.read(RUNS, job.key.trial(trial))
    return None if blob is None else TrialRecord.from_json(blob.body)


def _best_document(job: JobRecord, best: TrialRecord) -> dict[str, Any]:
    key, attempt = job.key, best.attempt
    return {
        "version": 1,
        "job": key.path,
        "trial": best.trial,
        "attempt": attempt,
        "primary_metric": job.primary_metric,
        "goal": job.goal,
        "metric": number_out(best.metric),
        "parameters": dict(best.parameters),
        "metrics": {name: number_out(value) for name, value in best.metrics.items()},
        "files": {
            "outputs": f"{RUNS}/{key.outputs(best.trial, attempt)}",
            "checkpoints": f"{RUNS}/{key.checkpoints(best.trial)}",
            "stdout": f"{RUNS}/{key.stdout(best.trial, attempt)}",
            "stderr": f"{RUNS}/{key.stderr(best.trial, attempt)}",
            "metrics": f"{RUNS}/{key.metrics(best.trial, attempt)}",
        },
    }


def _report(store: Store, job: JobRecord, spec: JobSpec, kept: _Kept) -> ReportData:
    key = job.key
    files = {"Results": key.results, "Spec": key.spec, "Job": key.record}
    if job.best is not None:
        files |= {
            "Best trial": key.best,
            "Its attempts": f"{key.trial_folder(job.best.trial)}attempts/",
            "Its checkpoints": key.checkpoints(job.best.trial),
        }
    return ReportData(
        title=job.display_name or job.name,
        path=key.path,
        kind=job.kind,
        state=job.state,
        reason=job.message,
        goal=spec.objective.goal.value if spec.objective else None,
        primary_metric=job.primary_metric,
        created=job.created,
        started=job.started,
        finished=job.finished,
        counts={str(state): count for state, count in job.counts.items()},
        num_trials=job.num_trials,
        rows=kept.in_order,
        rows_left_out=kept.num_left_out,
        best=job.best.trial if job.best else None,
        curves=tuple(_curves(store, job, kept.best_first[:_MAX_CURVES])),
        parameter_names=tuple(spec.search_space),
        tags=job.tags,
        files={label: f"{RUNS}/{path}" for label, path in files.items()},
        warnings=job.warnings,
    )


def _curves(store: Store, job: JobRecord, rows: list[TrialRow]) -> Iterator[Curve]:
    """Reads the learning curves of these trials; of a command, all its metrics."""
    for row in rows:
        points = _points(store, job.key, row)
        shown = [job.primary_metric] if job.primary_metric else sorted({name for p in points for name in p.values})
        for name in shown:
            pairs = [
                (float(index) if point.step is None else point.step, point.values[name])
                for index, point in enumerate(points)
                if name in point.values
            ]
            if pairs:
                yield Curve(row.trial, name, tuple(step for step, _ in pairs), tuple(value for _, value in pairs))


def _points(store: Store, key: JobKey, row: TrialRow) -> list[metrics.Point]:
    """Reads what all attempts of a trial reported; where a resumed one repeats steps, the later report stands."""
    points: list[metrics.Point] = []
    for attempt in range(max(1, row.attempt - _MAX_CURVE_ATTEMPTS + 1), row.attempt + 1):
        body = store.blobs.read_range(RUNS, key.metrics(row.trial, attempt), 0, _MAX_CURVE_BYTES)
        reported = metrics.parse(io.BytesIO(body or b""))
        first = min((point.step for point in reported if point.step is not None), default=math.inf)
        points = [point for point in points if point.step is None or point.step < first] + reported
    return points
