"""Retain: deletes the finished jobs that their workspace's policy file does not want kept any longer.

Reads: what fold reads; the policy files; the records of jobs in workspaces with a `retention`; `.retention.json`.
Writes (in order): what fold writes → `.retention.json` (conditional: this pass is taken) → whatever delete writes for
    each job that is due → deletes tombstones, records of submission ids and of ticks that are of no use any more →
    `.retention.json` (conditional: where the next pass goes on).
Idempotent by: what is due follows from the records and the policy, and a record that was changed since is left alone;
    deleting twice is deleting once.
If it dies: the next pass goes on where this one noted last; a deletion that has begun is finished by the timer's pass.
Next: nothing.
"""

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from dropsweep.errors import ConflictError, DropsweepError, NotFoundError, StorageCorrupt, StorageUnavailable
from dropsweep.names import RUNS, JobKey, is_job_id, is_name
from dropsweep.records import JobRecord
from dropsweep.records.codec import time_out
from dropsweep.spec.workspace import Retention, WorkspaceReading
from dropsweep.steps._expiry import KEEP_TAG, Finished, expired
from dropsweep.steps._passes import Pass
from dropsweep.steps._policies import Policies
from dropsweep.steps._tidy import BOOKKEEPING_DAYS, tidy
from dropsweep.steps.delete import delete
from dropsweep.steps.fold import fold
from dropsweep.storage import Store

__all__ = ["BOOKKEEPING_DAYS", "KEEP_TAG", "Finished", "Retained", "plan", "policy_of", "retain", "retain_in"]

_log = logging.getLogger(__name__)
MAX_S: Final = 300.0
"""About how long one pass may take: half of what host.json allows a function."""
_READERS: Final = 8
_MAX_BLOBS: Final = 10_000
"""Blobs of one job that are deleted before the time is looked at."""


@dataclass(frozen=True, slots=True)
class Retained:
    """What one call did.

    Attributes:
        num_jobs: jobs whose deletion it began or made.
        num_blobs: blobs of theirs that it deleted.
        num_tidied: tombstones and records of submission ids and ticks that it deleted.
        is_done: nothing more was due; False: its time was up, and the next pass goes on.
    """

    num_jobs: int = 0
    num_blobs: int = 0
    num_tidied: int = 0
    is_done: bool = True

    def plus(self, other: "Retained") -> "Retained":
        """Returns what both calls did together."""
        return Retained(
            num_jobs=self.num_jobs + other.num_jobs,
            num_blobs=self.num_blobs + other.num_blobs,
            num_tidied=self.num_tidied + other.num_tidied,
            is_done=self.is_done and other.is_done,
        )


def policy_of(store: Store, workspace: str) -> tuple[str, WorkspaceReading] | None:
    """Returns the policy file that holds for a workspace, read anew, and what it says; None when there is none."""
    found = Policies().of(store, workspace)
    return (found.path, found.reading) if found else None


def plan(store: Store, workspace: str, retention: Retention) -> Iterator[Finished]:
    """Lists the jobs of a workspace that are due, experiment by experiment, those first that ended first.

    Nothing is changed. It costs one storage operation for each job, and one more for each job of an experiment in which
    one is old enough.

    Raises:
        StorageError: as the storage does.
    """
    for experiment in sorted(store.blobs.folders(RUNS, f"{workspace}/")):
        yield from _due(store, experiment, retention)


def retain_in(store: Store, workspace: str, retention: Retention) -> Retained:
    """Deletes the jobs of one workspace that are due, however long it takes.

    A job that was changed since it was found due is left alone.

    Raises:
        StorageError: as the storage does; what was deleted is.
    """
    done = Retained()
    for one in plan(store, workspace, retention):
        done = done.plus(_delete(store, one, lambda: False))
    return done


def retain(
    store: Store,
    policies: Policies | None = None,
    *,
    max_s: float = MAX_S,
    clock: Callable[[], float] = time.monotonic,
) -> Retained:
    """Deletes what the policies of all workspaces want deleted, for about `max_s`; the next pass goes on from there.

    Before that, nodes that have left are summed up, with or without policies.

    Without a policy file that has a `retention`, nothing is ever deleted, and so too in a workspace whose file is
    broken. Where there is one, tombstones and records of submission ids and ticks are tidied away once a week that are
    older than 90 days and than the policy's days.

    Args:
        store: the storage account.
        policies: the policy files as this process knows them; None: they are read anew.
        max_s: seconds after which nothing more is begun.
        clock: tells seconds; what `max_s` goes by.

    Returns:
        What was done. What is wrong with one experiment is logged and holds up no other.

    Raises:
        StorageUnavailable: the storage does not answer; a later pass goes on.
    """
    policies = policies or Policies()
    _sum_up(store)
    if not policies.names(store):
        return Retained()
    taken = Pass.take(store)
    if taken is None:
        return Retained(is_done=False)  # another one has just begun
    until = clock() + max_s
    return _Walk(store, policies, taken, lambda: clock() >= until).run()


def _sum_up(store: Store) -> None:
    try:
        fold(store)
    except StorageUnavailable:
        raise
    except DropsweepError:
        _log.exception("retain: nodes that have left cannot be summed up; what is to be deleted is")


class _Walk:
    """One pass: first over all experiments, then over all that is only kept so that nothing happens twice."""

    def __init__(self, store: Store, policies: Policies, taken: Pass, is_time_up: Callable[[], bool]) -> None:
        self._store = store
        self._policies = policies
        self._pass = taken
        self._is_time_up = is_time_up

    def run(self) -> Retained:
        done = self._delete_due() if not self._pass.note else Retained()
        if done.is_done and self._pass.is_to_tidy:
            done = done.plus(self._tidy())
        if done.is_done:
            self._pass.end()
        return done

    def _delete_due(self) -> Retained:
        """Deletes the jobs that are due, from the experiment on at which the last pass ended."""
        done = Retained()
        for workspace in sorted(folder.rstrip("/") for folder in self._store.blobs.folders(RUNS, "")):
            retention = self._retention_of(workspace)
            if retention is None:
                continue
            for experiment in sorted(self._store.blobs.folders(RUNS, f"{workspace}/")):
                if experiment < self._pass.experiment:
                    continue
                here = Retained(is_done=False) if self._is_time_up() else self._delete_of(experiment, retention)
                done = done.plus(here)
                if not done.is_done:
                    self._pass.stop_at(experiment)
                    return done
        return done

    def _delete_of(self, experiment: str, retention: Retention) -> Retained:
        done = Retained()
        try:
            due = _due(self._store, experiment, retention)
            for number, one in enumerate(due, start=1):
                done = done.plus(_delete(self._store, one, self._is_time_up))
                # After the first one at the earliest, or an experiment that takes all the time would never be done.
                if number < len(due) and self._is_time_up():
                    return done.plus(Retained(is_done=False))
        except StorageUnavailable:
            raise
        except DropsweepError:
            _log.exception("retain: %s cannot be looked at; the other experiments are", experiment)
        return done

    def _tidy(self) -> Retained:
        """Tidies up, from the note on after which the last pass ended."""
        num_tidied = 0
        for chunk in tidy(self._store, self._days_of, self._pass.began, after=self._pass.note):
            num_tidied += chunk.num_deleted
            # Noted each time: what stays is as dear to look at as what goes, and shall not be looked at twice.
            if not self._pass.note_tidied(chunk.last) or self._is_time_up():
                return Retained(num_tidied=num_tidied, is_done=False)
        return Retained(num_tidied=num_tidied)

    def _retention_of(self, workspace: str) -> Retention | None:
        """Returns what the policy file says by now; None where nothing is to be deleted."""
        holding = self._policies.of(self._store, workspace) if is_name(workspace) else None
        policy = holding.reading.policy if holding else None
        return policy.retention if policy and policy.retention.delete_after_days is not None else None

    def _days_of(self, workspace: str) -> int | None:
        retention = self._retention_of(workspace)
        return retention.delete_after_days if retention else None


def _delete(store: Store, one: Finished, is_time_up: Callable[[], bool]) -> Retained:
    """Deletes a job that is due, in the version that was found so; the timer's pass does what this call leaves."""
    key = one.job.key
    try:
        done = delete(store, key, max_blobs=_MAX_BLOBS, etag=one.etag)
        num_blobs = done.num_blobs
        while not done.is_done and not is_time_up():
            done = delete(store, key, max_blobs=_MAX_BLOBS)  # nothing else can happen to it any more
            num_blobs += done.num_blobs
    except (ConflictError, NotFoundError) as error:
        _log.info("retain: %s stays: %s", key.path, error)  # somebody retried or deleted it meanwhile
        return Retained()
    _log.info("retain: %s, which ended at %s, is deleted as its policy says", key.path, time_out(one.finished))
    return Retained(num_jobs=1, num_blobs=num_blobs)


def _due(store: Store, experiment: str, retention: Retention) -> list[Finished]:
    """Returns the jobs of one experiment that are due; `experiment` is its folder."""
    if retention.delete_after_days is None:
        return []
    age = timedelta(days=retention.delete_after_days)
    folders = (folder.rstrip("/").split("/") for folder in store.blobs.folders(RUNS, experiment))
    keys = [JobKey(*parts) for parts in folders if len(parts) == 3 and all(map(is_job_id, parts))]
    with ThreadPoolExecutor(_READERS, thread_name_prefix="retain") as pool:
        heads = [head for head in pool.map(lambda key: store.blobs.head(RUNS, key.record), keys) if head]
        # A record is written at the job's end or later, so none that was written since can be of a job that is due.
        if not any(head.served - head.modified >= age for head in heads):
            return []
        ended = [one for one in pool.map(lambda key: _ended(store, key), keys) if one is not None]
    return expired(ended, retention, max(head.served for head in heads))


def _ended(store: Store, key: JobKey) -> Finished | None:
    """Returns a job that has ended; None for a live one, one that is being deleted and one that cannot be read."""
    blob = store.blobs.read(RUNS, key.record)
    if blob is None:
        return None
    try:
        job = JobRecord.from_json(blob.body)
    except StorageCorrupt as error:
        _log.warning("retain: %s stays: %s", key.path, error)
        return None
    if not job.state.is_final or job.deleted is not None:
        return None
    return Finished(job, job.finished or blob.modified, blob.etag)
