"""Which finished jobs a workspace's policy wants deleted: no I/O, no clock."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from dropsweep.metrics import is_usable
from dropsweep.names import JobKey
from dropsweep.records import JobRecord
from dropsweep.spec.workspace import Retention
from dropsweep.states import JobState

KEEP_TAG: Final = "keep"
"""A job with a tag of this name, whatever its value, is never deleted by a policy."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A job that has ended.

    Attributes:
        job: its record.
        finished: when it ended, by the storage service's clock.
        etag: the version of its record; empty where that is not known.
    """

    job: JobRecord
    finished: datetime
    etag: str = ""


def expired(jobs: Iterable[Finished], retention: Retention, now: datetime) -> list[Finished]:
    """Returns the jobs of one workspace that its policy wants deleted, those first that ended first.

    A job is due `delete_after_days` after its end, unless it is among the `keep_last` of its experiment that ended
    last (rejected ones do not count there), has the tag `keep`, or is the best of its experiment for its objective: of
    equally good ones that which ended first.

    Args:
        jobs: jobs that have ended, with all those of each experiment among them.
        retention: the policy.
        now: the storage service's time.
    """
    if retention.delete_after_days is None:
        return []
    found = sorted(jobs, key=lambda one: (one.finished, one.job.key))
    kept = {one.job.key for one in found if KEEP_TAG in one.job.tags} | _best(found) | _last(found, retention.keep_last)
    until = now - timedelta(days=retention.delete_after_days)
    return [one for one in found if one.finished <= until and one.job.key not in kept]


def _last(jobs: Sequence[Finished], num: int) -> set[JobKey]:
    """The `num` jobs of each experiment that ended last."""
    by_experiment: dict[str, list[JobKey]] = defaultdict(list)
    for one in jobs:
        if one.job.state is not JobState.REJECTED:
            by_experiment[one.job.key.experiment].append(one.job.key)
    return {key for keys in by_experiment.values() for key in keys[max(0, len(keys) - num) :]}


def _best(jobs: Sequence[Finished]) -> set[JobKey]:
    """The best job of each experiment, for each objective."""
    best: dict[tuple[str, str | None, str | None], tuple[float, JobKey]] = {}
    for one in jobs:
        job = one.job
        if job.best is None or job.goal is None or not is_usable(job.best.metric):
            continue
        worth = -job.best.metric if job.goal == "maximize" else job.best.metric
        place = (job.key.experiment, job.goal, job.primary_metric)
        if place not in best or worth < best[place][0]:
            best[place] = (worth, job.key)
    return {key for _, key in best.values()}
