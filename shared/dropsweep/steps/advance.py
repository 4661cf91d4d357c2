"""Advance: looks at one job and does what its records ask for. The only coordinator there is.

Reads: in a workspace with a quota its ledger, `.quotas/{workspace}.json`; job.json; one list of records for each shard
    that is not closed; where the job's cluster has a monthly_node_hours, each half minute a list of its nodes.
Writes (in order): the ledger (conditional: more granted) → at the end of a job results.csv, best.json, report.html →
    job.json (conditional: takes the next trials, or final) → records of trials that are to be queued anew → the
    messages; after a resume or a retry those of all trials that wait for a worker → cancelled records of trials that
    are to be cancelled and nobody holds; then it looks again → what is to be told of the job → job.json (conditional:
    nothing is owed any more) → the ledger (conditional: what is not used) → hints at the jobs that get it.
Idempotent by: everything follows from the records; two passes cannot take the same trials, for one of them loses the
    write of job.json and looks again; a doubled trial message finds the trial claimed or final.
If it dies: after taking trials and before sending all messages, its own message is delivered again and that pass sends
    the messages of every waiting trial anew (`is_repeat`), or the timer's pass finds them missing; after the report,
    the next pass writes it again; after the first write of the ledger, or before the last, the next pass uses what was
    granted or gives it back, and the timer's pass does it for a job that has ended.
Next: attempt, by the messages; or nothing.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from dropsweep.decisions import Decision, Limits, Standing, decide, open_shards
from dropsweep.errors import NoSuchJob, StorageUnavailable
from dropsweep.messages import AdvanceMessage, TrialMessage
from dropsweep.names import ADVANCE_QUEUE, RUNS, trials_queue
from dropsweep.records import JobRecord, TrialSummary
from dropsweep.settings import Settings
from dropsweep.states import JobReason, JobState
from dropsweep.steps._looks import LastLooks
from dropsweep.steps._quota import Share, message_with, read_share, unwaiting
from dropsweep.steps.report import list_shard, write_report
from dropsweep.steps.requeue import cancel_unheld, requeue
from dropsweep.steps.tell import tell
from dropsweep.storage import Store

__all__ = ["LastLooks", "Outlook", "advance", "send_messages"]

_log = logging.getLogger(__name__)
_SENDERS = 16
"""Requests at once: an account that answers in 10 ms gets as many messages as one process can send (some 1,000/s)."""
_MAX_PASSES = 20
_MAX_REFUSED = 3
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


def advance(
    store: Store, settings: Settings, hint: AdvanceMessage, looks: LastLooks, *, is_repeat: bool = False
) -> Outlook | None:
    """Passes over a job until a pass took effect or found nothing to do.

    Args:
        store: the storage account.
        settings: the deployment's limits.
        hint: names the job.
        looks: this process's memory, by which hints that come in crowds cost one pass together.
        is_repeat: the hint's message was delivered before, so an earlier pass may have died: trials that wait for a
            worker get their messages anew.

    Returns:
        What the last pass saw; None when the job has ended or was deleted, or the hint tells nothing new that another
        one's pass, which is about to begin, would not see.

    Raises:
        NoSuchJob: there is no such job, and was none. NotFoundError: its cluster's queue does not exist.
        StorageUnavailable: others changed the job each time; the hint is to be delivered again.
        StorageError: as the storage does; whatever was written stands, and the next pass goes on from it.
    """
    with looks.turn(hint, is_repeat=is_repeat) as is_needed:
        if not is_needed:
            return None
        visit = _Pass(store, settings, hint, looks, is_repeat=is_repeat)
        for _ in range(_MAX_PASSES):
            if visit.take_effect():
                return visit.outlook
    raise StorageUnavailable(
        f"{hint.job.path}: its record changed {_MAX_PASSES} times under this pass. The hint will be delivered again"
    )


class _Pass:
    """One call's look at a job, taken anew until it took effect.

    Attributes:
        outlook: what the last look saw; None when the job has ended.
    """

    def __init__(
        self, store: Store, settings: Settings, hint: AdvanceMessage, looks: LastLooks, *, is_repeat: bool
    ) -> None:
        self.outlook: Outlook | None = None
        self._store = store
        self._settings = settings
        self._hint = hint
        self._looks = looks
        self._is_repeat = is_repeat
        self._sent: set[int] = set()
        self._told: set[int] = set()
        self._num_refused = 0

    def take_effect(self) -> bool:
        """Looks and acts, in the order of the docstring above; False when it is to look again, for records changed."""
        key = self._hint.job
        share = read_share(self._store, self._looks.policies, key.workspace)
        blob = self._store.blobs.read(RUNS, key.record)
        if blob is None:
            if self._store.blobs.head(RUNS, key.tombstone) is not None:
                return True  # it was deleted: this is an alarm, or a hint, from before
            raise NoSuchJob(f"{key.path}: there is no such job, so it cannot advance. Was its folder deleted?")
        job = JobRecord.from_json(blob.body)
        if job.state.is_final:
            if share is not None:
                share.forget(key, is_known_to_have_ended=True)
            return self._settle(job, blob.etag)
        shards = {shard: list(list_shard(self._store, key, shard)) for shard in open_shards(job)}
        decision = self._decide(job, shards, blob.served, share)
        record = decision.record.noted(job.state, blob.served)
        if decision.is_ended:
            write_report(self._store, record, shards)
        is_unchanged = record == job and not (share and share.gives_back)
        etag = blob.etag if is_unchanged else _write(self._store, record, blob.etag)
        if etag is None:
            return False
        _log.info("advance: %s is %s, %s", key.path, record.state, _counts(record))
        requeued = self._send(decision)
        if self._cancel(decision, blob.served):
            return False
        if job.started is None or self._hint.is_alarm or self._is_repeat or record.owes_messages:
            _set_alarm(self._store, record, blob.served)
        if not self._settle(record, etag) or (share and not self._give_back(share, record)):
            return False
        out = frozenset(
            (*decision.trials(Standing.RUNNING, Standing.STALE, Standing.WAITING), *requeued, *decision.dispatch)
        )
        self._looks.remember(record, frozenset(decision.trials(Standing.SETTLED)), out)
        if not decision.is_ended:
            # A record that has just been written says nothing about how long the job has stood still.
            self.outlook = _outlook(decision, requeued, blob.age_s if record == job else 0.0)
        return True

    def _decide(
        self, job: JobRecord, shards: Mapping[int, Sequence[TrialSummary]], now: datetime, share: Share | None
    ) -> Decision:
        """Decides what the records, the workspace's quota and the cluster's budget ask for.

        What it takes is in the ledger of the quota then. A cluster that has used its node-hours gets nothing new; what
        runs there goes on.
        """
        spent = self._looks.spent(self._store, self._settings, job)
        limits = Limits(self._settings.claim_timeout_s, 0 if spent else self._settings.dispatch_window)
        decision = decide(job, shards, now, limits)
        if share is not None:
            decision = share.claim(
                job, decision, lambda granted: decide(job, shards, now, replace(limits, granted=granted))
            )
        if decision.is_ended or decision.record.state not in (JobState.QUEUED, JobState.RUNNING):
            return decision
        if spent and _has_more_to_do(decision):
            message = message_with(decision.record, spent.why())
        else:
            message = share.message(decision.record) if share else unwaiting(decision.record)
        return replace(decision, record=replace(decision.record, message=message))

    def _give_back(self, share: Share, record: JobRecord) -> bool:
        """Leaves to others what the job does not use; False when that is worth another look."""
        if record.state.is_final:
            share.forget(record.key, is_known_to_have_ended=True)
            return True
        if not share.gives_back or share.give_back():
            return True
        # The ledger changes with each job of the workspace: what is not given back now is given back by a later pass.
        self._num_refused += 1
        return self._num_refused > _MAX_REFUSED

    def _settle(self, record: JobRecord, etag: str) -> bool:
        """Tells what is to be told of the job and notes that nothing is owed; False when the record changed."""
        tell(self._store, record, self._told)
        settled = record.moved(JobReason.DISPATCHING) if record.owes_messages else record
        settled = replace(settled, untold=())
        return settled == record or _write(self._store, settled, etag) is not None

    def _send(self, decision: Decision) -> list[int]:
        """Sends each message that is due, once a call; returns the trials that were queued anew for it."""
        record = decision.record
        is_queued = _concurrently(lambda trial: requeue(self._store, record, trial), decision.requeue)
        requeued = [trial for trial, queued in zip(decision.requeue, is_queued, strict=True) if queued]
        resends = self._is_repeat or record.owes_messages
        waiting = decision.trials(Standing.WAITING, Standing.STALE) if resends else []
        due = [trial for trial in (*waiting, *requeued, *decision.dispatch) if trial not in self._sent]
        send_messages(self._store, record, due)
        self._sent.update(due)
        return requeued

    def _cancel(self, decision: Decision, now: datetime) -> bool:
        """Ends what is to be cancelled and held by nobody; True when there was something, so that counts are stale."""
        doomed = decision.trials(Standing.CANCEL)
        timeout_s = self._settings.claim_timeout_s
        _concurrently(
            lambda trial: cancel_unheld(self._store, decision.record, trial, now, claim_timeout_s=timeout_s), doomed
        )
        return bool(doomed)


def _has_more_to_do(decision: Decision) -> bool:
    """True when there are trials that no worker holds."""
    waiting = decision.trials(Standing.WAITING, Standing.STALE, Standing.REQUEUE)
    return bool(waiting) or decision.record.next_trial < decision.record.num_trials


def _outlook(decision: Decision, requeued: Sequence[int], age_s: float) -> Outlook:
    running = decision.trials(Standing.RUNNING)
    lacking = [*decision.trials(Standing.WAITING, Standing.STALE), *requeued, *decision.dispatch]
    return Outlook(decision.record, len(running) + len(lacking), lacking, bool(running), age_s)


def _write(store: Store, job: JobRecord, etag: str) -> str | None:
    """Writes the job's record; returns its new ETag, or None when another pass changed it meanwhile."""
    written = store.blobs.replace(RUNS, job.key.record, job.to_json(), etag, job.to_metadata())
    return None if written is None else written.etag


def send_messages(store: Store, job: JobRecord, trials: Sequence[int]) -> None:
    """Sends the messages of these trials to their cluster's queue, a few at a time.

    Raises:
        StorageError: as the storage does; some may have been sent.
    """
    queue = trials_queue(job.cluster, job.priority)
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
