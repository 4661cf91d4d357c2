"""Retain: deletes the finished jobs that their workspace's policy file does not want kept any longer.

Reads: the policy files; the records of jobs in workspaces with a `retention`; `.retention.json`.
Writes (in order): `.retention.json` (conditional: this hour's pass is taken) → whatever delete writes for each job that
    is due → deletes tombstones, records of submission ids and of ticks that are of no use any more → `.retention.json`
    again.
Idempotent by: what is due follows from the records and the policy; deleting twice is deleting once.
If it dies: the pass of the next hour does the rest; a deletion that has begun is finished by the timer's pass.
Next: nothing.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from dropsweep.errors import ConflictError, DropsweepError, NotFoundError, StorageCorrupt, StorageUnavailable
from dropsweep.names import (
    DEFAULT_POLICY,
    DELETED,
    RETENTION_RECORD,
    RUNS,
    SUBMISSIONS,
    TICKS,
    JobKey,
    is_job_id,
    is_name,
    workspace_file,
)
from dropsweep.records import JobRecord
from dropsweep.records.codec import VERSION, dump, load, time_of, time_out
from dropsweep.spec.workspace import Retention, WorkspaceReading
from dropsweep.steps._expiry import KEEP_TAG, Finished, expired
from dropsweep.steps._policies import Policies
from dropsweep.steps._tidy import BOOKKEEPING_DAYS, tidy
from dropsweep.steps.delete import delete
from dropsweep.storage import Store

__all__ = ["BOOKKEEPING_DAYS", "KEEP_TAG", "Finished", "Retained", "plan", "policy_of", "retain", "retain_in"]

_log = logging.getLogger(__name__)
_EACH: Final = timedelta(hours=1)
_TIDY_EACH: Final = timedelta(days=1)
_READERS: Final = 8
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Retained:
    """What one call did.

    Attributes:
        num_jobs: jobs whose deletion it began or made.
        num_blobs: blobs of theirs that it deleted.
        num_tidied: tombstones and records of submission ids and ticks that it deleted.
        is_done: nothing more was due; False: the next minute's pass goes on.
    """

    num_jobs: int = 0
    num_blobs: int = 0
    num_tidied: int = 0
    is_done: bool = True


def policy_of(store: Store, workspace: str, policies: Policies | None = None) -> tuple[str, WorkspaceReading] | None:
    """Returns the policy file that holds for a workspace, and what it says; None when there is none.

    A file of its own takes the whole place of the default one, also when it is broken.

    Args:
        store: the storage account.
        workspace: the workspace.
        policies: the files as this process knows them; None: they are read anew.
    """
    policies = policies or Policies()
    for stem in (workspace, DEFAULT_POLICY):
        reading = policies.own(store, stem)
        if reading is not None:
            return workspace_file(stem), reading
    return None


def plan(store: Store, workspace: str, retention: Retention) -> Iterator[Finished]:
    """Lists the jobs of a workspace that are due, experiment by experiment, those first that ended first.

    Nothing is changed. It costs one storage operation for each job, and one more for each job of an experiment in which
    one is old enough.

    Raises:
        StorageError: as the storage does.
    """
    if retention.delete_after_days is None:
        return
    age = timedelta(days=retention.delete_after_days)
    by_experiment: dict[str, list[JobKey]] = defaultdict(list)
    for key in _keys(store, workspace):
        by_experiment[key.experiment].append(key)
    with ThreadPoolExecutor(_READERS, thread_name_prefix="retain") as pool:
        for keys in by_experiment.values():
            heads = [head for head in pool.map(lambda key: store.blobs.head(RUNS, key.record), keys) if head]
            # A record is written at the job's end or later, so none that was written since can be of a job that is due.
            if any(head.served - head.modified >= age for head in heads):
                ended = [one for one in pool.map(lambda key: _ended(store, key), keys) if one is not None]
                yield from expired(ended, retention, max(head.served for head in heads))


def retain_in(store: Store, workspace: str, retention: Retention, *, max_blobs: int | None = None) -> Retained:
    """Deletes the jobs of one workspace that are due.

    Args:
        store: the storage account.
        workspace: the workspace.
        retention: its policy.
        max_blobs: about how many blobs this call may delete; None: all.

    Raises:
        StorageError: as the storage does; what was deleted is.
    """
    num_jobs, num_blobs = 0, 0
    for one in plan(store, workspace, retention):
        if max_blobs is not None and num_blobs >= max_blobs:
            return Retained(num_jobs, num_blobs, is_done=False)
        key = one.job.key
        try:
            done = delete(store, key, max_blobs=None if max_blobs is None else max_blobs - num_blobs)
        except (ConflictError, NotFoundError) as error:
            _log.info("retain: %s stays: %s", key.path, error)  # somebody retried or deleted it meanwhile
            continue
        num_jobs += 1
        num_blobs += done.num_blobs
        _log.info("retain: %s, which ended at %s, is deleted as its policy says", key.path, time_out(one.finished))
    return Retained(num_jobs, num_blobs)


def retain(store: Store, *, max_blobs: int = 5000, is_due: bool = False) -> Retained:
    """Deletes what the policies of all workspaces want deleted; once an hour, or when the last call left some.

    Without a policy file that has a `retention`, nothing is ever deleted, and so too in a workspace whose file is
    broken. Where there is one, tombstones and records of submission ids and ticks are tidied away once a day that are
    older than 90 days and than the policy's days.

    Args:
        store: the storage account.
        max_blobs: about how many blobs this call may delete.
        is_due: do it now, whenever the last pass was.

    Returns:
        What was done; nothing when it is not due. What is wrong with one workspace is logged and holds up no other.

    Raises:
        StorageUnavailable: the storage does not answer; a later pass goes on.
    """
    taken = _take(store, is_due=is_due)
    if taken is None:
        return Retained()
    now, before, etag = taken
    tidies = is_due or now - before.tidied >= _TIDY_EACH
    done = Retained()
    for workspace, retention in _retentions(store):
        left = max_blobs - done.num_blobs - done.num_tidied
        if left <= 0:
            done = Retained(done.num_jobs, done.num_blobs, done.num_tidied, is_done=False)
            break
        try:
            here = retain_in(store, workspace, retention, max_blobs=left)
            most = max(0, left - here.num_blobs)
            num_tidied = tidy(store, workspace, retention.delete_after_days or 0, now, most) if tidies else 0
        except StorageUnavailable:
            raise
        except DropsweepError:
            _log.exception("retain: the workspace %s cannot be looked at; the others are", workspace)
            continue
        done = Retained(
            done.num_jobs + here.num_jobs,
            done.num_blobs + here.num_blobs,
            done.num_tidied + num_tidied,
            done.is_done and here.is_done and not (tidies and num_tidied >= most),
        )
    tidied = now if tidies and done.is_done else before.tidied
    store.blobs.replace(RUNS, RETENTION_RECORD, _Passes(now if done.is_done else _NEVER, tidied).to_json(), etag)
    return done


@dataclass(frozen=True, slots=True)
class _Passes:
    """When the last pass was, and the last that tidied up."""

    looked: datetime = _NEVER
    tidied: datetime = _NEVER

    def to_json(self) -> bytes:
        return dump({"version": VERSION, "looked": time_out(self.looked), "tidied": time_out(self.tidied)})

    @classmethod
    def from_json(cls, body: bytes) -> "_Passes":
        try:
            document = load(body)
            return cls(time_of(document["looked"]), time_of(document["tidied"]))
        except (StorageCorrupt, KeyError, TypeError, ValueError) as error:
            _log.warning("retain: %s cannot be read and is written anew: %r", RETENTION_RECORD, error)
            return cls()


def _take(store: Store, *, is_due: bool) -> tuple[datetime, _Passes, str] | None:
    """Takes this hour's pass, so that two timers do not both make it; None when it is not due, or taken.

    Returns:
        The time, the passes before, and the version of their record.
    """
    blob = store.blobs.read(RUNS, RETENTION_RECORD)
    if blob is None:
        written = store.blobs.create(RUNS, RETENTION_RECORD, _Passes().to_json())
        return (written.modified, _Passes(), written.etag) if written else None
    before = _Passes.from_json(blob.body)
    if not is_due and blob.served - before.looked < _EACH:
        return None
    changed = store.blobs.replace(RUNS, RETENTION_RECORD, _Passes(blob.served, before.tidied).to_json(), blob.etag)
    return (blob.served, before, changed.etag) if changed else None


def _retentions(store: Store) -> Iterator[tuple[str, Retention]]:
    """Lists the workspaces whose policy has a retention; one operation while there is no policy file at all."""
    policies = Policies()
    if not policies.names(store):
        return
    # Also those without a job: their tombstones are to be tidied away.
    folders = [folder for prefix in ("", DELETED, SUBMISSIONS, TICKS) for folder in store.blobs.folders(RUNS, prefix)]
    for workspace in sorted({folder.rstrip("/").rpartition("/")[2] for folder in folders}):
        found = policy_of(store, workspace, policies) if is_name(workspace) else None
        policy = found[1].policy if found else None
        if policy is not None and policy.retention.delete_after_days is not None:
            yield workspace, policy.retention


def _keys(store: Store, workspace: str) -> Iterator[JobKey]:
    for experiment in store.blobs.folders(RUNS, f"{workspace}/"):
        for folder in store.blobs.folders(RUNS, experiment):
            parts = folder.rstrip("/").split("/")
            if len(parts) == 3 and all(map(is_job_id, parts)):
                yield JobKey(*parts)


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
    return Finished(job, job.finished or blob.modified)
