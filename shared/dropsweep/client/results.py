"""How a job ended: its best trial, its leaderboard, its learning curves."""

import heapq
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dropsweep.errors import StorageCorrupt
from dropsweep.metrics import Point, is_usable, parse
from dropsweep.names import RUNS, JobKey
from dropsweep.records import JobRecord, TrialRecord, TrialSummary
from dropsweep.records.codec import metrics_in, number_in
from dropsweep.states import TrialState
from dropsweep.storage import Store


@dataclass(frozen=True, slots=True)
class BestTrial:
    """The best completed trial, so far or in the end.

    Attributes:
        job: its job. trial, attempt: which.
        metric: the primary metric; None for a command, which has none.
        primary_metric, goal: the objective; None for a command.
        parameters: what the search chose.
        metrics: the last value of every metric.
        files: where its files lie: `outputs`, `checkpoints` (folders), `stdout`, `stderr`, `metrics`, each with its
            container.
    """

    job: JobKey
    trial: int
    attempt: int
    metric: float | None
    primary_metric: str | None
    goal: str | None
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    files: Mapping[str, str]

    @classmethod
    def from_json(cls, body: bytes) -> "BestTrial":
        """Reads best.json.

        Raises:
            StorageCorrupt: when it is not that.
        """
        try:
            document = json.loads(body)
            return cls(
                job=JobKey.parse(document["job"]),
                trial=document["trial"],
                attempt=document["attempt"],
                metric=number_in(document["metric"]),
                primary_metric=document["primary_metric"],
                goal=document["goal"],
                parameters=document["parameters"],
                metrics=metrics_in(document["metrics"]),
                files=document["files"],
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StorageCorrupt(f"a best.json cannot be read: {error!r}") from error

    def _repr_html_(self) -> str:
        # Imported here: only notebooks draw.
        from dropsweep.client.picture import html_of_best

        return html_of_best(self)

    @classmethod
    def of(cls, job: JobRecord, trial: TrialRecord) -> "BestTrial":
        """Makes it from the records, while there is no best.json."""
        key, number, attempt = job.key, trial.trial, trial.attempt
        files = {
            "outputs": key.outputs(number, attempt),
            "checkpoints": key.checkpoints(number),
            "stdout": key.stdout(number, attempt),
            "stderr": key.stderr(number, attempt),
            "metrics": key.metrics(number, attempt),
        }
        return cls(
            job=key,
            trial=number,
            attempt=attempt,
            metric=trial.metric,
            primary_metric=job.primary_metric,
            goal=job.goal,
            parameters=trial.parameters,
            metrics=trial.metrics,
            files={name: f"{RUNS}/{path}" for name, path in files.items()},
        )


def top_trials(trials: Iterable[TrialSummary], goal: str | None, num: int) -> list[TrialSummary]:
    """Returns the best `num` completed trials, best first; of equals the lowest number first.

    Trials without a number that can be ranked come last. Memory holds `num` of them, however many there are.
    """
    sign = -1.0 if goal == "maximize" else 1.0

    def rank(trial: TrialSummary) -> tuple[float, int]:
        worth = sign * trial.metric if trial.metric is not None and is_usable(trial.metric) else math.inf
        return worth, trial.trial

    completed: Iterator[TrialSummary] = (trial for trial in trials if trial.state is TrialState.COMPLETED)
    return heapq.nsmallest(num, completed, key=rank)


def joined(attempts: Iterable[list[Point]]) -> list[Point]:
    """Joins what the attempts of one trial reported, first attempt first, to one course.

    An attempt that resumed repeats the steps since its checkpoint; from its first step on, its points take the place of
    earlier ones. An attempt that gave no steps replaces everything before it.
    """
    course: list[Point] = []
    for points in attempts:
        if not points:
            continue
        first = next((point.step for point in points if point.step is not None), None)
        course = [point for point in course if first is not None and point.step is not None and point.step < first]
        course += points
    return course


def read_metrics(store: Store, key: JobKey, trial: int, attempt: int) -> list[Point]:
    """Reads what one attempt reported; empty when it reported nothing."""
    blob = store.blobs.read(RUNS, key.metrics(trial, attempt))
    return [] if blob is None else parse(blob.body.splitlines())
