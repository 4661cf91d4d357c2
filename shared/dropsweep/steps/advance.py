"""Advance: looks at one job and does what its records ask for. The only coordinator there is.

Reads: job.json; one list of records for each shard that is not closed.
Writes (in order): job.json (conditional: takes the next trials) → records of trials that are to be queued anew → the
    messages. At the end of a job: results.csv, best.json, report.html → job.json (conditional: final). While something
    is to be cancelled: a cancelled record for each such trial that nobody holds → job.json. After a resume or a retry:
    the messages of all trials that wait for a worker → job.json (conditional: nothing is owed any more).
Idempotent by: everything follows from the records; two passes cannot take the same trials, for one of them loses the
    write of job.json and looks again; a doubled trial message finds the trial claimed or final.
If it dies: after taking trials and before sending all messages, its own message is delivered again and that pass sends
    the messages of every waiting trial anew (`is_repeat`), or the timer's pass finds them missing; after the report,
    the next pass writes it again.
Next: attempt, by the messages; or nothing.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from dropsweep.decisions import Decision, Limits, Standing, decide, open_shards
from dropsweep.errors import NotFoundError, StorageUnavailable
from dropsweep.messages import AdvanceMessage, TrialMessage
from dropsweep.names import ADVANCE_QUEUE, RUNS, SHARD_SIZE, JobKey, trial_of_record, trials_queue
from dropsweep.records import JobRecord, TrialSummary
from dropsweep.settings import Settings
from dropsweep.states import JobReason, JobState
from dropsweep.steps.report import write_report
from dropsweep.steps.requeue import cancel_unheld, requeue
from dropsweep.storage import Store

_log = logging.getLogger(__name__)
_SENDERS = 8
_MAX_PASSES = 20
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a pass over a live job saw and did.

    Attributes:
        job: the record as it stands now.
        num_messages: how many of its trials have a message, unless it was lost.
        lacking: the trials among them that do nothing until theirs arrives: waiting, or left by a silent worker.
        is_running: a worker holds one of its trials.
        age_s: how long ago job.json had been written last, by the storage service's clock.
    """

    job: JobRecord
    num_messages: int
    lacking: Sequence[int]
    is_running: bool
    age_s: float


class LastLooks:
    """What this process saw in its last pass over each job, so that hints that tell nothing new cost nothing.

    A trial once seen final stays final, so a hint that names only such trials need not be acted on. This is memory of
    one process and only ever saves work: a process that knows nothing looks.
    """

    def __init__(self, max_jobs: int = 64) -> None:
        self._max_jobs = max_jobs
        self._guard = threading.Lock()
        self._finals: OrderedDict[JobKey, tuple[JobRecord, frozenset[int]]] = OrderedDict()
        self._locks: dict[JobKey, threading.Lock] = {}

    def lock(self, key: JobKey) -> threading.Lock:
        """Returns the lock under which this process passes over the job, so that hints pile up behind one pass."""
        with self._guard:
            if len(self._locks) > 4 * self._max_jobs:
                self._locks = {name: lock for name, lock in self._locks.items() if lock.locked()}
            return self._locks.setdefault(key, threading.Lock())

    def has_seen(self, hint: AdvanceMessage) -> bool:
        """True when the last pass that took effect saw every trial of the hint final."""
        with self._guard:
            job, finals = self._finals.get(hint.job, (None, frozenset()))
        if job is None or not hint.trials:
            return False
        return all(trial in finals or job.is_closed(trial // SHARD_SIZE) for trial in hint.trials)

    def remember(self, job: JobRecord, finals: frozenset[int]) -> None:
        """Keeps what a pass saw whose writes all took effect."""
        with self._guard:
            self._finals[job.key] = (job, finals)
            self._finals.move_to_end(job.key)
            while len(self._finals) > self._max_jobs:
                self._finals.popitem(last=False)


def advance(
    store: Store, settings: Settings, hint: AdvanceMessage, looks: LastLooks, *, is_repeat: bool = False
) -> Outlook | None:
    """Passes over a job until a pass took effect or found nothing to do.

    Args:
        store: the storage account.
        settings: the deployment's limits.
        hint: names the job.
        looks: this process's memory.
        is_repeat: the hint's message was delivered before, so an earlier pass may have died: trials that wait for a
            worker get their messages anew.

    Returns:
        What the last pass saw; None when the job has ended, or the hint tells nothing new.

    Raises:
        NotFoundError: there is no such job.
        StorageUnavailable: others changed the job each time; the hint is to be delivered again.
        StorageError: as the storage does; whatever was written stands, and the next pass goes on from it.
    """
    with looks.lock(hint.job):
        if not is_repeat and looks.has_seen(hint):
            return None
        for _ in range(_MAX_PASSES):
            is_done, outlook = _pass(store, settings, hint, looks, is_repeat=is_repeat)
            if is_done:
                return outlook
    raise StorageUnavailable(
        f"{hint.job.path}: its record changed {_MAX_PASSES} times under this pass. The hint will be delivered again"
    )


def _pass(
    store: Store, settings: Settings, hint: AdvanceMessage, looks: LastLooks, *, is_repeat: bool
) -> tuple[bool, Outlook | None]:
    """Makes one pass; False when it is to look again, because records changed meanwhile."""
    key = hint.job
    blob = store.blobs.read(RUNS, key.record)
    if blob is None:
        raise NotFoundError(f"{key.path}: there is no such job, so it cannot advance. Was its folder deleted?")
    job = JobRecord.from_json(blob.body)
    if job.state.is_final:
        return True, None
    shards = {shard: _list_shard(store, key, shard) for shard in open_shards(job)}
    limits = Limits(settings.claim_timeout_s, settings.dispatch_window)
    decision = decide(job, shards, blob.served, limits)
    record = decision.record
    if decision.is_ended:
        write_report(store, record)
    etag = blob.etag if record == job else _write(store, record, blob.etag)
    if etag is None:
        return False, None
    _log.info("advance: %s is %s, %s", key.path, record.state, _counts(record))
    if doomed := decision.trials(Standing.CANCEL):
        _concurrently(
            lambda trial: cancel_unheld(store, record, trial, blob.served, claim_timeout_s=settings.claim_timeout_s),
            doomed,
        )
        return False, None
    requeued = _dispatch(store, decision, resends=is_repeat or record.owes_messages)
    if job.started is None or hint.is_alarm or is_repeat or record.owes_messages:
        _set_alarm(store, record, blob.served)
    if record.owes_messages and _write(store, record.moved(JobReason.DISPATCHING), etag) is None:
        return False, None
    looks.remember(record, frozenset(decision.trials(Standing.SETTLED)))
    return True, None if decision.is_ended else _outlook(decision, requeued, blob.age_s)


def _outlook(decision: Decision, requeued: Sequence[int], age_s: float) -> Outlook:
    running = decision.trials(Standing.RUNNING)
    lacking = [*decision.trials(Standing.WAITING, Standing.STALE), *requeued, *decision.dispatch]
    return Outlook(decision.record, len(running) + len(lacking), lacking, bool(running), age_s)


def _list_shard(store: Store, key: JobKey, shard: int) -> list[TrialSummary]:
    return [
        TrialSummary.from_metadata(trial_of_record(found.name), found.metadata, found.modified)
        for found in store.blobs.list(RUNS, key.shard(shard), metadata=True)
    ]


def _write(store: Store, job: JobRecord, etag: str) -> str | None:
    """Writes the job's record; returns its new ETag, or None when another pass changed it meanwhile."""
    written = store.blobs.replace(RUNS, job.key.record, job.to_json(), etag, job.to_metadata())
    return None if written is None else written.etag


def _dispatch(store: Store, decision: Decision, *, resends: bool) -> list[int]:
    """Sends the messages that are due; returns the trials that were queued anew for it."""
    resting = decision.trials(Standing.REQUEUE)
    is_queued = _concurrently(lambda trial: requeue(store, decision.record, trial), resting)
    requeued = [trial for trial, queued in zip(resting, is_queued, strict=True) if queued]
    waiting = decision.trials(Standing.WAITING, Standing.STALE) if resends else []
    send_messages(store, decision.record, [*waiting, *requeued, *decision.dispatch])
    return requeued


def send_messages(store: Store, job: JobRecord, trials: Sequence[int]) -> None:
    """Sends the messages of these trials to their cluster's queue, a few at a time.

    Raises:
        StorageError: as the storage does; some may have been sent.
    """
    queue = trials_queue(job.cluster)
    _concurrently(lambda trial: store.queues.send(queue, TrialMessage(job.key, trial).to_text()), trials)


def _set_alarm(store: Store, job: JobRecord, now: datetime) -> None:
    """Sends a hint that arrives when the job's time is over: nothing else looks at a job none of whose trials ends.

    Queues hide a message for seven days at most, so an alarm that rings before its time sets the next one.
    """
    if job.state is JobState.RUNNING and job.timeout_s is not None and job.started is not None:
        left_s = job.timeout_s - job.spent_s(now)
        store.queues.send(ADVANCE_QUEUE, AdvanceMessage(job.key, is_alarm=True).to_text(), delay_s=left_s + 1)


def _concurrently(act: Callable[[int], _T], trials: Sequence[int]) -> list[_T]:
    """Runs `act` on each trial, a few at a time; the first error is raised once all have ended."""
    if len(trials) <= 1:
        return [act(trial) for trial in trials]
    with ThreadPoolExecutor(min(_SENDERS, len(trials)), thread_name_prefix="send") as pool:
        return list(pool.map(act, trials))


def _counts(job: JobRecord) -> str:
    return ", ".join(f"{count} {state}" for state, count in job.counts.items()) or "nothing dispatched"
