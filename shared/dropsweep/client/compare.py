"""Jobs side by side: the best trial of each, its parameters and its metric."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from dropsweep.client.results import BestTrial
from dropsweep.errors import DropsweepError
from dropsweep.names import JobKey
from dropsweep.records import JobRecord
from dropsweep.records.codec import metrics_in, number_in, number_out, time_of, time_out
from dropsweep.states import JobState

Json = dict[str, Any]
_READERS: Final = 8
_FIXED: Final = ("job", "state", "metric", "trial", "duration", "created")
_COLUMNS: Final = (
    *("job", "name", "kind", "state", "created", "duration_s", "num_trials", "num_final"),
    *("goal", "primary_metric", "trial", "metric"),
)


@dataclass(frozen=True, slots=True)
class ComparedJob:
    """One row: a job and its best trial so far.

    Attributes:
        job: the job.
        name: what people call it: its display name, or its name.
        kind, state, created, num_trials, tags: as its record has them.
        num_final: trials that have ended.
        duration_s: seconds from its acceptance to its end; None while it has not ended.
        goal, primary_metric: the objective; None for a command.
        trial: its best trial; None while none has completed.
        metric: that trial's primary metric; None without one.
        parameters, metrics: of that trial; a parameter that is absent here is one that the job does not have.
    """

    job: JobKey
    name: str
    kind: str
    state: JobState
    created: datetime
    duration_s: float | None
    num_trials: int
    num_final: int
    goal: str | None
    primary_metric: str | None
    trial: int | None
    metric: float | None
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    @classmethod
    def of(cls, job: JobRecord, best: BestTrial | None) -> "ComparedJob":
        """Makes a row of a job's record and its best trial."""
        return cls(
            job=job.key,
            name=job.display_name or job.name,
            kind=job.kind,
            state=job.state,
            created=job.created,
            duration_s=(job.finished - job.created).total_seconds() if job.finished else None,
            num_trials=job.num_trials,
            num_final=sum(count for state, count in job.counts.items() if state.is_final),
            goal=job.goal,
            primary_metric=job.primary_metric,
            trial=best.trial if best else None,
            metric=best.metric if best else None,
            parameters=dict(best.parameters) if best else {},
            metrics=dict(best.metrics) if best else {},
            tags=dict(job.tags),
        )

    @property
    def objective(self) -> str:
        """The objective in words, as `maximize accuracy`; empty for a command."""
        return f"{self.goal} {self.primary_metric}" if self.goal else ""

    def to_json(self) -> Json:
        """Returns it as JSON for programs."""
        return {
            "job": self.job.path,
            "name": self.name,
            "kind": self.kind,
            "state": self.state,
            "created": time_out(self.created),
            "duration_s": self.duration_s,
            "num_trials": self.num_trials,
            "num_final": self.num_final,
            "goal": self.goal,
            "primary_metric": self.primary_metric,
            "trial": self.trial,
            "metric": number_out(self.metric),
            "parameters": dict(self.parameters),
            "metrics": {name: number_out(value) for name, value in self.metrics.items()},
            "tags": dict(self.tags),
        }

    @classmethod
    def from_json(cls, document: Json) -> "ComparedJob":
        """Reads what `to_json` gave."""
        given = {name: document[name] for name in cls.__slots__}
        return cls(
            **{
                **given,
                "job": JobKey.parse(document["job"]),
                "state": JobState(document["state"]),
                "created": time_of(document["created"]),
                "metric": number_in(document["metric"]),
                "metrics": metrics_in(document["metrics"]),
            }
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """Jobs side by side.

    Attributes:
        rows: the jobs. Those of one objective stand together, the best first; those without a metric come last.
        parameters: every parameter that one of the best trials has, in the order in which they first appear.
    """

    rows: tuple[ComparedJob, ...]
    parameters: tuple[str, ...]

    @classmethod
    def of(cls, rows: Iterable[ComparedJob]) -> "Comparison":
        """Puts rows in order."""
        ordered = sorted(rows, key=_rank)
        names = dict.fromkeys(name for row in ordered for name in row.parameters)
        return cls(tuple(ordered), tuple(names))

    @property
    def objectives(self) -> tuple[str, ...]:
        """The objectives of the jobs, in the order of the rows; more than one cannot be compared by their metrics."""
        return tuple(dict.fromkeys(row.objective for row in self.rows if row.objective))

    def sorted_by(self, column: str, *, is_descending: bool = False) -> "Comparison":
        """Returns the jobs in the order of a column; those that have nothing there come last, numbers before texts.

        Args:
            column: `job`, `state`, `metric`, `trial`, `duration`, `created`, or a parameter.
            is_descending: the greatest first.

        Raises:
            DropsweepError: there is no such column.
        """
        if column not in _FIXED and column not in self.parameters:
            columns = ", ".join((*_FIXED, *self.parameters))
            raise DropsweepError(f"{column!r} is no column of the comparison: there are {columns}. Name one of them")
        present = [row for row in self.rows if _value(row, column) is not None]
        absent = [row for row in self.rows if _value(row, column) is None]
        present.sort(key=lambda row: _sortable(_value(row, column)), reverse=is_descending)
        return replace(self, rows=(*present, *absent))

    def to_json(self) -> Json:
        """Returns it as JSON for programs."""
        return {
            "objectives": list(self.objectives),
            "parameters": list(self.parameters),
            "jobs": [row.to_json() for row in self.rows],
        }

    def to_csv(self) -> str:
        """Returns a table with a row for each job, and a column `param.{name}` for each parameter, as in results.csv.

        A nested choice gives `param.{outer}.{inner}`. What a job does not have is an empty field. Lists are JSON.
        """
        # Imported here: it brings the whole report with it.
        from dropsweep.page import flatten

        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        chosen = [flatten(row.parameters) for row in self.rows]
        names = dict.fromkeys(name for parameters in chosen for name in parameters)
        writer.writerow([*_COLUMNS, *(f"param.{name}" for name in names)])
        for row, parameters in zip(self.rows, chosen, strict=True):
            document = row.to_json()
            cells = [document[name] for name in _COLUMNS]
            cells += [_cell(parameters[name]) if name in parameters else None for name in names]
            writer.writerow(["" if cell is None else cell for cell in cells])
        return text.getvalue()


def compare(
    keys: Sequence[JobKey],
    record: Callable[[JobKey], JobRecord],
    best: Callable[[JobKey], BestTrial | None],
) -> Comparison:
    """Compares jobs, eight at a time read; a few storage operations for each.

    Args:
        keys: the jobs.
        record: returns a job's record.
        best: returns a job's best trial.

    Raises:
        DropsweepError: as `record` and `best` do, for the first job of which they do.
    """

    def row(key: JobKey) -> ComparedJob:
        job = record(key)
        is_rejected = job.state is JobState.REJECTED
        return ComparedJob.of(job, None if is_rejected else best(key))

    with ThreadPoolExecutor(_READERS, thread_name_prefix="compare") as pool:
        return Comparison.of(pool.map(row, keys))


def _rank(row: ComparedJob) -> tuple[bool, str, float, datetime, JobKey]:
    is_ranked = row.metric is not None and math.isfinite(row.metric)
    worth = (row.metric if row.goal != "maximize" else -row.metric) if is_ranked and row.metric is not None else 0.0
    return not is_ranked, row.objective, worth, row.created, row.job


def _value(row: ComparedJob, column: str) -> Any:
    match column:
        case "job":
            return row.job.path
        case "state":
            return str(row.state)
        case "metric":
            return None if row.metric is None or math.isnan(row.metric) else row.metric
        case "trial":
            return row.trial
        case "duration":
            return row.duration_s
        case "created":
            return row.created.timestamp()
        case _:
            return row.parameters.get(column)


def _sortable(value: Any) -> tuple[bool, float, str]:
    is_number = isinstance(value, int | float)
    return not is_number, float(value) if is_number else 0.0, "" if is_number else str(value)


def _cell(value: Any) -> Any:
    return value if isinstance(value, str | int | float) and not isinstance(value, bool) else json.dumps(value)
