"""Attempt: claims a trial for one worker, keeps the claim alive, and commits the trial's one result.

Reads: the trial's record, when it exists already.
Writes (in order): the record as running (create, or take over with the next attempt number) → its metadata at each
    heartbeat → the record as final, or as queued when the worker gives it back. All conditional on the version that
    this claim wrote last, so a worker that lost its claim writes nothing more.
Idempotent by: a final record is never changed; a doubled message finds the record running elsewhere, or final.
If it dies: while running, the record's Last-Modified stands still; once it is older than the claim timeout, by the
    storage service's clock, the next worker that reads the trial's message takes over with attempt n+1.
Next: advance, by a hint that the worker sends after the commit.
"""

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from dropsweep.errors import ClaimLost, StorageError, StorageUnavailable
from dropsweep.manifests import delete_torn
from dropsweep.names import RUNS, JobKey
from dropsweep.records import TrialRecord
from dropsweep.records.codec import time_in
from dropsweep.states import TrialReason, TrialState
from dropsweep.storage import Blob, Store, Written

PROGRESSED: Final = "progressed"
"""Metadata key that a heartbeat sets once its attempt has made a checkpoint."""


class Claim:
    """A trial that this worker holds. Safe to use from the heartbeat's thread and the trial's own.

    Its writes, of which each is conditional on the one before:

        state of the claim   beat                    end
        open                 touches the record      writes its outcome → over; no answer → in doubt
        in doubt             writes that outcome     writes that outcome; another one: ClaimLost
        over                 nothing                 the same outcome: nothing; another one: ClaimLost

    In doubt, the outcome may stand in the storage already, though no answer told so. A touch would then put the
    metadata of a running trial over it, so nothing but that outcome is written any more.

    Attributes:
        record: the trial's record as this claim wrote it last, heartbeats aside.
        asked_at: `time.monotonic()` before the claim was written, which is the least that its age counts from.
    """

    def __init__(self, store: Store, record: TrialRecord, written: Written, owner: str, asked_at: float) -> None:
        self._store = store
        self._owner = owner
        self._commit: TrialRecord | None = None
        self._lock = threading.Lock()
        self._etag = written.etag
        self._is_open = True
        self.record = record
        self.asked_at = asked_at
        self._claimed = written.modified
        self._claimed_at = time.monotonic()

    def beat(
        self, *, metric: float | None, step: float | None, metrics: Mapping[str, float], has_progressed: bool = False
    ) -> None:
        """Touches the record and shows the latest metrics in its metadata; nothing after the claim has ended.

        Args:
            metric: the primary metric.
            step: the latest step.
            metrics: every metric.
            has_progressed: this attempt has made a checkpoint, so losing its worker now is not one more loss in a row.

        Raises:
            ClaimLost: another worker has taken the trial over.
            StorageError: as the storage does; the claim still stands.
        """
        with self._lock:
            if not self._is_open:
                return
            if self._commit is not None:
                self._write(self._commit)
                return
            shown = replace(self.record, metric=metric, metrics=dict(metrics), ran_s=self._ran_s())
            key = self.record.job.trial(self.record.trial)
            metadata = shown.to_metadata(step=step) | ({PROGRESSED: "true"} if has_progressed else {})
            written = self._store.blobs.touch(RUNS, key, self._etag, metadata, owner=self._owner)
            if written is None:
                self._is_open = False
                raise ClaimLost(_lost(self.record))
            self._etag = written.etag

    def end(self, reason: TrialReason, message: str, **changes: Any) -> TrialRecord:
        """Commits a final state, or gives the trial back as queued; afterwards the claim is over.

        Raises:
            ClaimLost: another worker has taken the trial over; nothing was written.
            StorageError: as the storage does; the claim still stands and `end` may be called again.
        """
        with self._lock:
            if self._commit is not None and self._commit.reason is not reason:
                raise ClaimLost(_lost(self.record))
            if self._commit is None:
                if not self._is_open:
                    raise ClaimLost(_lost(self.record))
                record = self.record.moved(reason, message=message, ran_s=self._ran_s(), **changes)
                self._commit = replace(record, finished=self._now()) if record.state.is_final else record
            if self._is_open:
                try:
                    self._write(self._commit)
                except StorageUnavailable:
                    raise
                except StorageError:
                    self._commit = None  # refused outright, so it does not stand there
                    raise
            elif self.record is not self._commit:
                raise ClaimLost(_lost(self.record))
            return self.record

    def _write(self, record: TrialRecord) -> None:
        key = record.job.trial(record.trial)
        written = self._store.blobs.replace(
            RUNS, key, record.to_json(), self._etag, record.to_metadata(), owner=self._owner
        )
        self._is_open = False
        if written is None:
            raise ClaimLost(_lost(record))
        self.record = record

    def give_back(self, reason: TrialReason, message: str, *, max_lost_workers: int, **changes: Any) -> TrialRecord:
        """Gives the trial back because the node or the storage, not its command, ended the attempt.

        It counts as a lost worker; the last that `max_lost_workers` allows fails the trial, with this message.

        Raises:
            ClaimLost, StorageError: as `end` does.
        """
        lost = replace(self.record, num_lost=self.record.num_lost + 1, num_lost_in_all=self.record.num_lost_in_all + 1)
        changes |= {"num_lost": lost.num_lost, "num_lost_in_all": lost.num_lost_in_all}
        if lost.has_lost_too_many(max_lost_workers):
            told = f"{_story(lost)} could not go on; the last one: {message}"
            return self.end(TrialReason.WORKERS_LOST, told, **changes)
        return self.end(reason, message, **changes)

    def _ran_s(self) -> float:
        """Seconds that the trial has been held by workers, by this one until now."""
        return round(self.record.ran_s + time.monotonic() - self.asked_at, 3)

    def _now(self) -> datetime:
        """The storage service's time: that of the claim and what has passed since, which costs no request."""
        return self._claimed + timedelta(seconds=time.monotonic() - self._claimed_at)


@dataclass(frozen=True, slots=True)
class Held:
    """Another worker runs the trial; its claim may be taken over in `free_in_s` seconds unless it beats again."""

    free_in_s: float


@dataclass(frozen=True, slots=True)
class FinalTrial:
    """The trial has its result already."""

    state: TrialState


def claim(
    store: Store,
    job: JobKey,
    trial: int,
    parameters: Mapping[str, Any],
    *,
    worker: str,
    claim_timeout_s: float,
    max_lost_workers: int,
    may_take_over: Callable[[], bool] = lambda: True,
    retry_round: int = 0,
) -> Claim | Held | FinalTrial:
    """Claims a trial for `worker`.

    Args:
        store: the storage account.
        job: the trial's job.
        trial: its number.
        parameters: what the search chooses for it; recorded by the first claim.
        worker: names the worker, for people.
        claim_timeout_s: age of the last heartbeat after which a claim may be taken over.
        max_lost_workers: a trial that has lost so many workers in a row is failed instead of claimed.
        may_take_over: asked once a claim looks stale; False leaves it alone, because heartbeats may just not have got
            through.
        retry_round: the latest round of retries that was asked for; a first claim is part of it.

    Returns:
        The claim; or who is in the way. Losing a race to another worker is `Held`.

    Raises:
        StorageError: as the storage does.
    """
    record = TrialRecord(job, trial, 1, TrialReason.CLAIMED, parameters, worker=worker, round=retry_round)
    owner = uuid.uuid4().hex
    asked_at = time.monotonic()
    created = store.blobs.create(RUNS, job.trial(trial), record.to_json(), record.to_metadata(), owner=owner)
    if created is not None:
        return Claim(store, replace(record, started=created.modified), created, owner, asked_at)
    blob = store.blobs.read(RUNS, job.trial(trial))
    if blob is None:
        return Held(1.0)  # deleted by hand between two calls: try again
    found = TrialRecord.from_json(blob.body)
    if blob.metadata.get("reason") != found.reason:
        # Whatever brought it about: the body is the truth, and lists see the metadata alone.
        store.blobs.touch(RUNS, job.trial(trial), blob.etag, found.to_metadata())
        return FinalTrial(found.state) if found.state.is_final else Held(1.0)
    match found.state:
        case TrialState.QUEUED:
            return _take_over(store, blob, found, worker, owner, asked_at)
        case TrialState.RUNNING if blob.age_s <= claim_timeout_s:
            return Held(claim_timeout_s - blob.age_s + 1.0)
        case TrialState.RUNNING if not may_take_over():
            return Held(claim_timeout_s)
        case TrialState.RUNNING:
            in_a_row = 0 if PROGRESSED in blob.metadata else found.num_lost
            lost = found.moved(
                TrialReason.WORKER_LOST,
                num_lost=in_a_row + 1,
                num_lost_in_all=found.num_lost_in_all + 1,
                ran_s=found.ran_until_beat_s(blob.metadata),
            )
            if lost.has_lost_too_many(max_lost_workers):
                return _fail_for_losses(store, blob, lost)
            return _take_over(store, blob, lost, worker, owner, asked_at)
        case TrialState.PAUSED:
            return Held(claim_timeout_s)
        case TrialState.COMPLETED | TrialState.FAILED | TrialState.STOPPED | TrialState.CANCELLED:
            return FinalTrial(found.state)


def _take_over(store: Store, blob: Blob, found: TrialRecord, worker: str, owner: str, asked_at: float) -> Claim | Held:
    record = found.moved(
        TrialReason.CLAIMED,
        attempt=found.attempt + 1,
        worker=worker,
        message="",
        metric=None,
        metrics={},
        exit_code=None,
        resumed_from="",
        start="",
        # The first claim could not know its time when it was written; its heartbeats told it.
        started=found.started or time_in(blob.metadata.get("started")) or blob.modified,
    )
    written = _replace(store, blob, record, owner)
    return Held(1.0) if written is None else Claim(store, record, written, owner, asked_at)


def _fail_for_losses(store: Store, blob: Blob, found: TrialRecord) -> FinalTrial | Held:
    message = (
        f"{_story(found)} ended with their workers, which went silent; the last one was {found.worker}: the trial may "
        "use more memory than the node has. Lower its memory use, or raise DROPSWEEP_MAX_LOST_WORKERS"
    )
    delete_torn(store, found.job, found.trial)  # no later attempt will
    record = found.moved(TrialReason.WORKERS_LOST, message=message, finished=blob.served)
    return Held(1.0) if _replace(store, blob, record) is None else FinalTrial(record.state)


def _replace(store: Store, blob: Blob, record: TrialRecord, owner: str = "") -> Written | None:
    key = record.job.trial(record.trial)
    return store.blobs.replace(RUNS, key, record.to_json(), blob.etag, record.to_metadata(), owner=owner)


def _story(record: TrialRecord) -> str:
    in_a_row = f"{record.num_lost} attempts in a row"
    return in_a_row if record.num_lost_in_all == record.num_lost else f"{in_a_row}, {record.num_lost_in_all} in all,"


def _lost(record: TrialRecord) -> str:
    return (
        f"{record.job.path} trial {record.trial}: attempt {record.attempt} of {record.worker} has lost its claim; "
        "another worker runs the trial. Nothing needs to be done"
    )
