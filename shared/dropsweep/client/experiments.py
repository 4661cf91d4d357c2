"""Experiments as people see them: which there are, and one with its jobs and the best of them."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dropsweep.client.listing import OnCorrupt, Seen, look_at_all, newest_first
from dropsweep.errors import NotFoundError
from dropsweep.metrics import is_usable
from dropsweep.names import JobKey
from dropsweep.records import Best, JobRecord, JobSummary, Retried
from dropsweep.records.codec import number_in, number_out, time_in, time_of, time_out
from dropsweep.states import JobReason, JobState
from dropsweep.storage import Store

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ExperimentSummary:
    """What a list shows of an experiment.

    Attributes:
        workspace, name: which.
        counts: its jobs by state.
        last_activity: when the record of one of its jobs was written last.
    """

    workspace: str
    name: str
    counts: Mapping[JobState, int]
    last_activity: datetime | None

    @property
    def num_jobs(self) -> int:
        """Its jobs in all."""
        return sum(self.counts.values())

    def to_json(self) -> Json:
        """Returns it as JSON for programs."""
        return {
            "workspace": self.workspace,
            "experiment": self.name,
            "num_jobs": self.num_jobs,
            "counts": dict(self.counts),
            "last_activity": time_out(self.last_activity),
        }

    @classmethod
    def from_json(cls, document: Json) -> "ExperimentSummary":
        """Reads what `to_json` gave."""
        counts = {JobState(state): number for state, number in document["counts"].items()}
        return cls(document["workspace"], document["experiment"], counts, time_in(document["last_activity"]))


@dataclass(frozen=True, slots=True)
class Champion:
    """The best job of an experiment for one objective.

    Attributes:
        job: the job.
        trial: its best trial.
        metric: that trial's primary metric.
        primary_metric, goal: the objective; jobs with different ones are not compared.
    """

    job: JobKey
    trial: int
    metric: float
    primary_metric: str
    goal: str

    def to_json(self) -> Json:
        """Returns it as JSON for programs."""
        return {
            "job": self.job.path,
            "trial": self.trial,
            "metric": number_out(self.metric),
            "primary_metric": self.primary_metric,
            "goal": self.goal,
        }

    @classmethod
    def from_json(cls, document: Json) -> "Champion":
        """Reads what `to_json` gave."""
        metric = number_in(document["metric"])
        return cls(
            JobKey.parse(document["job"]),
            document["trial"],
            math.nan if metric is None else metric,
            document["primary_metric"],
            document["goal"],
        )


@dataclass(frozen=True, slots=True)
class ExperimentView:
    """One experiment.

    Attributes:
        summary: what a list shows of it.
        jobs: its jobs, newest first.
        best: the best job for each objective that its jobs have, in the order of the metrics' names.
    """

    summary: ExperimentSummary
    jobs: tuple[JobSummary, ...]
    best: tuple[Champion, ...]

    def to_json(self) -> Json:
        """Returns it as JSON for programs."""
        return {
            **self.summary.to_json(),
            "best": [champion.to_json() for champion in self.best],
            "jobs": [job_out(job) for job in self.jobs],
        }

    @classmethod
    def from_json(cls, document: Json) -> "ExperimentView":
        """Reads what `to_json` gave."""
        return cls(
            ExperimentSummary.from_json(document),
            tuple(job_in(job) for job in document["jobs"]),
            tuple(Champion.from_json(champion) for champion in document["best"]),
        )


def summed_up(workspace: str, name: str, looked: Iterable[Seen]) -> ExperimentSummary:
    """Returns what a list shows of an experiment with these jobs."""
    found = list(looked)
    counts = Counter(seen.job.state for seen in found)
    present = {state: counts[state] for state in JobState if counts[state]}
    return ExperimentSummary(workspace, name, present, max((seen.modified for seen in found), default=None))


def list_experiments(
    store: Store, workspace: str | None = None, *, on_corrupt: OnCorrupt | None = None
) -> list[ExperimentSummary]:
    """Returns the experiments that have a job, by their names; one storage operation for each job.

    Args:
        store: the storage account.
        workspace: this workspace alone; None: all.
        on_corrupt: as `listing.list_jobs`.

    Raises:
        DropsweepError: a workspace that cannot be one.
        StorageCorrupt: a record cannot be read, and there is no `on_corrupt`.
    """
    grouped: dict[tuple[str, str], list[Seen]] = {}
    for seen in look_at_all(store, workspace, on_corrupt=on_corrupt):
        grouped.setdefault((seen.job.key.workspace, seen.job.key.experiment), []).append(seen)
    return [summed_up(*place, looked) for place, looked in sorted(grouped.items())]


def show_experiment(
    store: Store, workspace: str, experiment: str, *, on_corrupt: OnCorrupt | None = None
) -> ExperimentView:
    """Returns one experiment with its jobs; one storage operation for each job.

    Raises:
        NotFoundError: it has no job.
        DropsweepError: a name that is none.
        StorageCorrupt: a record cannot be read, and there is no `on_corrupt`.
    """
    unreadable: list[JobKey] = []

    def note(key: JobKey, error: Any) -> None:
        unreadable.append(key)
        if on_corrupt is None:
            raise error
        on_corrupt(key, error)

    looked = list(look_at_all(store, workspace, experiment, with_records=True, on_corrupt=note))
    if not looked and not unreadable:
        raise no_experiment(workspace, experiment)
    records = [seen.record for seen in looked if seen.record is not None]
    return ExperimentView(
        summed_up(workspace, experiment, looked),
        tuple(newest_first(seen.job for seen in looked)),
        champions(records),
    )


def champions(records: Iterable[JobRecord]) -> tuple[Champion, ...]:
    """Returns the best job for each objective, in the order of the metrics' names; of equals the one made first."""
    found: dict[tuple[str, str], tuple[float, datetime, JobKey, Champion]] = {}
    for job in records:
        if job.best is None or job.goal is None or job.primary_metric is None or not is_usable(job.best.metric):
            continue
        worth = -job.best.metric if job.goal == "maximize" else job.best.metric
        champion = Champion(job.key, job.best.trial, job.best.metric, job.primary_metric, str(job.goal))
        entry = (worth, job.created, job.key, champion)
        place = (job.primary_metric, str(job.goal))
        found[place] = min(found.get(place, entry), entry, key=lambda one: one[:3])
    return tuple(champion for _, (_, _, _, champion) in sorted(found.items()))


def no_experiment(workspace: str, experiment: str) -> NotFoundError:
    """Returns the error for an experiment without a job."""
    return NotFoundError(
        f"{workspace}/{experiment}: this experiment has no job. `dropsweep experiment list` shows what there is"
    )


def job_out(job: JobSummary) -> Json:
    """Returns a job as every list shows it."""
    return {
        "job": job.key.path,
        "state": job.state,
        "reason": job.reason,
        "kind": job.kind,
        "num_trials": job.num_trials,
        "num_final": job.num_final,
        "best": None if job.best is None else {"trial": job.best.trial, "metric": number_out(job.best.metric)},
        "created": time_out(job.created),
        "is_waiting": job.is_waiting,
        "retried": job.retried.to_json(),
    }


def job_in(document: Json) -> JobSummary:
    """Reads what `job_out` gave."""
    best = document["best"]
    metric = number_in(best["metric"]) if best else None
    return JobSummary(
        JobKey.parse(document["job"]),
        JobState(document["state"]),
        JobReason(document["reason"]),
        document["kind"],
        document["num_trials"],
        document["num_final"],
        None if best is None or metric is None else Best(best["trial"], metric),
        time_of(document["created"]),
        document.get("is_waiting", False),
        Retried.from_json(document.get("retried")),
    )
