"""A worker without trial processes: it treats messages, claims and results as the trainer does, one move at a time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from dropsweep.errors import ClaimLost, MessageError
from dropsweep.messages import AdvanceMessage, TrialMessage
from dropsweep.names import ADVANCE_QUEUE, RUNS, JobKey, suffix, trials_queue
from dropsweep.records import JobRecord
from dropsweep.settings import Settings
from dropsweep.spec import JobSpec
from dropsweep.states import TRIAL_STATE, TrialReason, TrialState, Wish
from dropsweep.steps.attempt import Claim, FinalTrial, Held, claim
from dropsweep.steps.bury import bury
from dropsweep.steps.report import read_spec
from dropsweep.storage import Message, Store
from dropsweep_trainer.attempt.outcome import cancellation

METRIC: Final = "score"


class Ending(StrEnum):
    """How a trial's process ends."""

    SUCCEEDS = "succeeds"
    FAILS = "fails"
    IS_PREEMPTED = "is preempted"
    MEETS_NODE_ERROR = "meets a node error"


@dataclass(slots=True)
class Running:
    """A trial that a worker holds.

    Attributes:
        job: the job's record as the worker saw it last.
    """

    claim: Claim
    message: Message
    job: JobRecord
    spec: JobSpec


@dataclass(slots=True)
class Serving:
    """One worker.

    Attributes:
        running: the trials that it holds, or believes to hold.
        num_buried: how many messages it buried.
    """

    store: Store
    settings: Settings
    name: str
    now: Callable[[], datetime]
    running: list[Running] = field(default_factory=list)
    num_buried: int = 0
    _records: dict[JobKey, tuple[datetime, JobRecord | None]] = field(default_factory=dict)

    def serve(self, *, may_be_old: bool) -> bool:
        """Receives a message and treats it; False when there is none.

        Args:
            may_be_old: what it remembers of the job's record is young enough to be used.
        """
        received = self.store.queues.receive(
            trials_queue(self.settings.cluster_names[0]), visibility_s=self.settings.claim_timeout_s
        )
        if not received:
            return False
        (message,) = received
        try:
            hint = TrialMessage.from_text(message.text)
        except MessageError as error:
            self._bury(message, str(error))
            return True
        job = self._record(hint.job, may_be_old=may_be_old)
        if job is None or hint.trial >= job.num_trials or not _shall_run(job, hint.trial):
            job = self._record(hint.job, may_be_old=False)
        if job is None or hint.trial >= job.num_trials:
            self._bury(message, "there is no such trial")
        elif not _shall_run(job, hint.trial):
            self.store.queues.delete(message)
        else:
            self._claim(hint, job, message)
        return True

    def beat(self, running: Running, *, may_be_old: bool, has_progressed: bool) -> None:
        """Touches the record, renews the message, looks what became of the job."""
        try:
            running.claim.beat(metric=1.0, step=1.0, metrics={METRIC: 1.0}, has_progressed=has_progressed)
        except ClaimLost:
            self.running.remove(running)
            return
        renewed = self.store.queues.renew(running.message, visibility_s=self.settings.claim_timeout_s)
        running.message = renewed or running.message
        found = self._record(running.job.key, may_be_old=may_be_old)
        assert found is not None, f"{running.job.key.path} has lost its record"
        running.job = found
        if found.wish(running.claim.record.trial) is not Wish.RUN:
            self.obey(running)

    def obey(self, running: Running) -> None:
        """Ends a trial that shall not run any longer."""
        if running.job.wish(running.claim.record.trial) is Wish.CANCEL:
            self._end(running, *cancellation(running.job, running.claim.record.trial))
        else:
            self._end(running, TrialReason.PAUSED, "paused by request")

    def finish(self, running: Running, ending: Ending) -> None:
        """Commits how the trial's process ended, and settles its message."""
        record = running.claim.record
        metric = float((7 * record.trial + record.attempt) % 5)
        match ending:
            case Ending.SUCCEEDS:
                self._end(running, TrialReason.SUCCEEDED, "", exit_code=0, metric=metric, metrics={METRIC: metric})
            case Ending.FAILS:
                retry = running.spec.retry
                if retry is not None and record.num_retries < retry.max_retries and retry.covers(1):
                    self._end(running, TrialReason.RETRYING, "", num_retries=record.num_retries + 1, num_lost=0)
                else:
                    self._end(running, TrialReason.EXIT_CODE, "exit code 1", exit_code=1)
            case Ending.IS_PREEMPTED:
                self._end(running, TrialReason.PREEMPTED, "", num_preempted=record.num_preempted + 1, num_lost=0)
            case Ending.MEETS_NODE_ERROR:
                self._end(running, None, "the node could not go on")

    def die(self) -> None:
        """Forgets everything; what it held is left as it is."""
        self.running.clear()
        self._records.clear()

    def _end(self, running: Running, reason: TrialReason | None, message: str, **changes: Any) -> None:
        """Commits, then settles; without a reason the trial is given back for the node's sake."""
        if running in self.running:
            self.running.remove(running)
        try:
            if reason is None:
                record = running.claim.give_back(
                    TrialReason.NODE_ERROR, message, max_lost_workers=self.settings.max_lost_workers
                )
            else:
                record = running.claim.end(reason, message, **changes)
        except ClaimLost:
            return
        match TRIAL_STATE[record.reason]:
            case TrialState.QUEUED:
                delay_s = 0.0 if record.reason is TrialReason.PREEMPTED else self.settings.retry_delay_s
                if not self.store.queues.release(running.message, delay_s=delay_s):
                    text = TrialMessage(record.job, record.trial).to_text()
                    self.store.queues.send(running.message.queue, text, delay_s=delay_s)
            case TrialState.PAUSED:
                self._settle(record.job, None, running.message)
            case _:
                self._settle(record.job, None if record.round else record.trial, running.message)

    def _claim(self, hint: TrialMessage, job: JobRecord, message: Message) -> None:
        spec = read_spec(self.store, hint.job)
        outcome = claim(
            self.store,
            hint.job,
            hint.trial,
            spec.parameters(hint.trial),
            worker=self.name,
            claim_timeout_s=self.settings.claim_timeout_s,
            max_lost_workers=self.settings.max_lost_workers,
            retry_round=job.retries.due(hint.trial),
        )
        match outcome:
            case Held():
                self.store.queues.release(message, delay_s=outcome.free_in_s)
            case FinalTrial():
                self._settle(hint.job, None if job.retries.round else hint.trial, message)
            case Claim():
                running = Running(outcome, message, job, spec)
                if job.wish(hint.trial) is Wish.CANCEL:
                    self.obey(running)
                else:
                    self.running.append(running)

    def _settle(self, job: JobKey, trial: int | None, message: Message) -> None:
        self.store.queues.send(ADVANCE_QUEUE, AdvanceMessage(job, () if trial is None else (trial,)).to_text())
        self.store.queues.delete(message)

    def _bury(self, message: Message, why: str) -> None:
        identity = suffix(message.queue, message.text)
        self.num_buried += bury(self.store, message.queue, identity, message.text.encode(), why, message.dequeue_count)
        self.store.queues.delete(message)

    def _record(self, key: JobKey, *, may_be_old: bool) -> JobRecord | None:
        read_at, record = self._records.get(key, (None, None))
        if read_at is None or not may_be_old or (self.now() - read_at).total_seconds() > self.settings.heartbeat_s / 2:
            blob = self.store.blobs.read(RUNS, key.record)
            record = None if blob is None else JobRecord.from_json(blob.body)
            self._records[key] = (self.now(), record)
        return record


def _shall_run(job: JobRecord, trial: int) -> bool:
    return not job.state.is_final and job.wish(trial) is not Wish.PAUSE
