"""Advance: looks at one job and does what its records ask for. The only coordinator there is.

Reads: job.json; one list of records a shard that is not closed.
Writes (in order): job.json (conditional: takes the next trials) → their messages. At the end of a job: results.csv,
    best.json, report.html → job.json (conditional: final). While cancelling: a cancelled record for each trial that
    nobody has claimed → job.json.
Idempotent by: everything follows from the records; two passes cannot take the same trials, for one of them loses the
    write of job.json and looks again; a doubled trial message finds the trial claimed or final.
If it dies: after taking trials and before sending all messages, its own message is delivered again and that pass sends
    the messages of every unclaimed trial anew (`is_repeat`); after the report, the next pass writes it again.
Next: attempt, by the messages; or nothing.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from dropsweep.decisions import Decision, decide, open_shards
from dropsweep.errors import StorageUnavailable
from dropsweep.messages import AdvanceMessage, TrialMessage
from dropsweep.names import ADVANCE_QUEUE, RUNS, SHARD_SIZE, JobKey, trial_of_record, trials_queue
from dropsweep.records import JobRecord, TrialSummary
from dropsweep.states import JobState, TrialState
from dropsweep.steps.attempt import cancel_unclaimed
from dropsweep.steps.report import write_report
from dropsweep.storage import Store

_log = logging.getLogger(__name__)
_SENDERS = 8
_MAX_PASSES = 20


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
        return all(
            trial in finals or trial // SHARD_SIZE < job.closed_below or trial // SHARD_SIZE in job.closed
            for trial in hint.trials
        )

    def remember(self, job: JobRecord, finals: frozenset[int]) -> None:
        """Keeps what a pass saw whose writes all took effect."""
        with self._guard:
            self._finals[job.key] = (job, finals)
            self._finals.move_to_end(job.key)
            while len(self._finals) > self._max_jobs:
                self._finals.popitem(last=False)


def advance(store: Store, hint: AdvanceMessage, looks: LastLooks, *, is_repeat: bool = False) -> None:
    """Passes over a job until a pass took effect or found nothing to do.

    Args:
        store: the storage account.
        hint: names the job.
        looks: this process's memory.
        is_repeat: the hint's message was delivered before, so an earlier pass may have died: unclaimed trials get
            their messages anew.

    Raises:
        StorageUnavailable: others changed the job each time; the hint is to be delivered again.
        StorageError: as the storage does; whatever was written stands, and the next pass goes on from it.
    """
    with looks.lock(hint.job):
        if not is_repeat and looks.has_seen(hint):
            return
        for _ in range(_MAX_PASSES):
            if _pass(store, hint, looks, is_repeat=is_repeat):
                return
    raise StorageUnavailable(
        f"{hint.job.path}: its record changed {_MAX_PASSES} times under this pass. The hint will be delivered again"
    )


def _pass(store: Store, hint: AdvanceMessage, looks: LastLooks, *, is_repeat: bool) -> bool:
    """Makes one pass; False when another pass changed the record meanwhile."""
    key = hint.job
    blob = store.blobs.read(RUNS, key.record)
    if blob is None:
        _log.warning("advance: %s has no record; the hint is dropped", key.path)
        return True
    job = JobRecord.from_json(blob.body)
    if job.state.is_final:
        return True
    shards = {shard: _list_shard(store, key, shard) for shard in open_shards(job)}
    decision = decide(job, shards, blob.served)
    if decision.is_ended:
        write_report(store, decision.record)
    if decision.record != job and not _write(store, decision.record, blob.etag):
        return False
    _log.info("advance: %s is %s, %s", key.path, decision.record.state, _counts(decision.record))
    finals = frozenset(trial.trial for trials in shards.values() for trial in trials if trial.state.is_final)
    if decision.record.state is JobState.CANCELLING:
        return _cancel(store, decision, shards, blob.served)
    _dispatch(store, decision, is_repeat=is_repeat)
    if job.started is None or hint.is_alarm or is_repeat:
        _set_alarm(store, decision.record, blob.served)
    looks.remember(decision.record, finals)
    return True


def _list_shard(store: Store, key: JobKey, shard: int) -> list[TrialSummary]:
    return [
        TrialSummary.from_metadata(trial_of_record(found.name), found.metadata)
        for found in store.blobs.list(RUNS, key.shard(shard), metadata=True)
    ]


def _write(store: Store, job: JobRecord, etag: str) -> bool:
    return store.blobs.replace(RUNS, job.key.record, job.to_json(), etag, job.to_metadata()) is not None


def _dispatch(store: Store, decision: Decision, *, is_repeat: bool) -> None:
    job = decision.record
    trials = [*(decision.unclaimed if is_repeat else ()), *decision.dispatch]
    queue = trials_queue(job.cluster)

    def send(trial: int) -> None:
        store.queues.send(queue, TrialMessage(job.key, trial).to_text())

    _concurrently(send, trials)


def _set_alarm(store: Store, job: JobRecord, now: datetime) -> None:
    """Sends a hint that arrives when the job's time is over: nothing else looks at a job none of whose trials ends.

    Queues hide a message for seven days at most, so an alarm that rings before its time sets the next one.
    """
    if job.state is JobState.RUNNING and job.timeout_s is not None and job.started is not None:
        left_s = job.timeout_s - (now - job.started).total_seconds()
        store.queues.send(ADVANCE_QUEUE, AdvanceMessage(job.key, is_alarm=True).to_text(), delay_s=left_s + 1)


def _cancel(store: Store, decision: Decision, shards: dict[int, list[TrialSummary]], now: datetime) -> bool:
    """Ends what no worker holds; True when workers still hold the rest, False to look again."""
    queued = [
        trial.trial for trials in shards.values() for trial in trials if not trial.state.is_final and not _runs(trial)
    ]
    waiting = [*decision.unclaimed, *queued]

    def end(trial: int) -> None:
        cancel_unclaimed(store, decision.record.key, trial, now)

    _concurrently(end, waiting)
    return not waiting


def _runs(trial: TrialSummary) -> bool:
    return trial.state is TrialState.RUNNING


def _concurrently(act: Callable[[int], None], trials: list[int]) -> None:
    """Runs `act` on each trial, a few at a time; the first error is raised once all have ended."""
    if len(trials) <= 1:
        for trial in trials:
            act(trial)
        return
    with ThreadPoolExecutor(min(_SENDERS, len(trials)), thread_name_prefix="send") as pool:
        for _ in pool.map(act, trials):
            pass


def _counts(job: JobRecord) -> str:
    return ", ".join(f"{count} {state}" for state, count in job.counts.items()) or "nothing dispatched"
