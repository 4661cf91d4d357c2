"""What a slot does with a message: claim its trial, run it and settle it, or put the message out of the way."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from dropsweep.clusters import Cluster
from dropsweep.errors import ClaimLost, MessageError, SpecError, StorageCorrupt
from dropsweep.manifests import delete_torn
from dropsweep.messages import TrialMessage
from dropsweep.names import RUNS, suffix
from dropsweep.nodes import Budgets
from dropsweep.records import JobRecord, TrialRecord
from dropsweep.settings import Settings
from dropsweep.spec import JobSpec
from dropsweep.states import TRIAL_STATE, TrialReason, TrialState, Wish
from dropsweep.steps.attempt import Claim, FinalTrial, Held, claim
from dropsweep.steps.bury import bury
from dropsweep.storage import Message, Store
from dropsweep_trainer.folders import WorkerFolder
from dropsweep_trainer.jobs import Jobs
from dropsweep_trainer.limits import Limits
from dropsweep_trainer.outcome import cancellation
from dropsweep_trainer.settling import Settler
from dropsweep_trainer.slots import Slot
from dropsweep_trainer.staging import Stage
from dropsweep_trainer.trial import Node, Trial

_log = logging.getLogger(__name__)
PAUSE_S: Final = 5.0
"""After a fault of the node or the storage, until a slot goes on."""


class Handler:
    """Takes messages to their end, for all slots of a worker."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        name: str,
        cluster: Cluster,
        cache: Path,
        folder: WorkerFolder,
        stopping: threading.Event,
        running: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """Makes a handler; nothing is sent.

        Args:
            store: the storage account.
            settings: the deployment's settings.
            name: names the worker in records.
            cluster: whose trials these are.
            cache: where code and inputs are kept, which other workers may share.
            folder: where trials work.
            stopping: set when the worker is to end; its trials are given back.
            running: entered while a slot has a trial.
        """
        self._store = store
        self._settings = settings
        self._name = name
        self._cluster = cluster
        self._folder = folder
        self._running = running
        self._jobs = Jobs(store, settings.heartbeat_s / 2)
        self._budgets = Budgets()
        self._node = Node(
            store, settings, Stage(store, cache, folder.path), stopping, self._jobs.record, Limits.of(cluster)
        )
        self._outage_at = float("-inf")
        self._settler = Settler(store)

    def note_outage(self) -> None:
        """The storage did not answer: heartbeats of other workers may not have got through either."""
        self._outage_at = time.monotonic()

    def finish(self) -> None:
        """Settles what is left to settle; nothing may be handled afterwards."""
        self._settler.finish()

    def handle(self, number: int, slot: Slot, message: Message) -> float:
        """Takes one message to its end.

        Args:
            number: the slot's, from 0.
            slot: where the trial runs.
            message: as received.

        Returns:
            For how many seconds the slot is to rest, if its node is not well; else 0.

        Raises:
            StorageError, NotFoundError: as the storage does; the message becomes visible again.
        """
        try:
            hint = TrialMessage.from_text(message.text)
        except MessageError as error:
            self._bury(message, str(error))
            return 0.0
        try:
            job = self._job_of(hint, message)
            if job is None:
                return 0.0
            spec = self._jobs.spec(hint.job)
            outcome = self._claim(number, hint, spec.parameters(hint.trial), job.retries.due(hint.trial))
        except (StorageCorrupt, SpecError, ValueError) as error:
            self._bury(message, f"{hint.job.path} trial {hint.trial}: {error}")
            return 0.0
        match outcome:
            case Held():
                self._store.queues.release(message, delay_s=outcome.free_in_s)
            case FinalTrial():
                self._settler.settle(hint.job, None if job.retries.round else hint.trial, message)
            case Claim() if job.wish(hint.trial) is Wish.CANCEL:
                if outcome.record.attempt > 1:
                    delete_torn(self._store, hint.job, hint.trial)
                outcome.end(*cancellation(job, hint.trial))
                self._settler.settle(hint.job, hint.trial, message)
            case Claim():
                with self._running():
                    return self._run(number, slot, outcome, job, spec, message)
        return 0.0

    def is_wanted(self, message: Message) -> bool:
        """Looks whether a trial waits for a message, for a node that is to be prepared first; begins none.

        Returns:
            False when there is none: the message has been dealt with. It was doubled, or late; or another worker runs
            the trial, and then it is hidden for as long as that one's claim stands.

        Raises:
            StorageError, NotFoundError: as the storage does; the message becomes visible again.
        """
        try:
            hint = TrialMessage.from_text(message.text)
        except MessageError as error:
            self._bury(message, str(error))
            return False
        try:
            job = self._job_of(hint, message)
            blob = None if job is None else self._store.blobs.read(RUNS, hint.job.trial(hint.trial))
            state = None if blob is None else TrialRecord.from_json(blob.body).state
        except (StorageCorrupt, ValueError) as error:
            self._bury(message, f"{hint.job.path} trial {hint.trial}: {error}")
            return False
        if job is None or blob is None or state is None:
            return job is not None
        if state.is_final:
            self._settler.settle(hint.job, None if job.retries.round else hint.trial, message)
            return False
        free_in_s = self._settings.claim_timeout_s - blob.age_s
        if state is TrialState.RUNNING and free_in_s >= 0:
            self._store.queues.release(message, delay_s=free_in_s + 1.0)
            return False
        return True

    def _job_of(self, hint: TrialMessage, message: Message) -> JobRecord | None:
        """Returns the job of a trial that is to run, or to be cancelled; None: neither, and the message is gone.

        A trial of a cluster that has used its hours of the month may not run. Its message goes too, so that no scaler
        sees it: the timer's pass sends another one as soon as the trial may.
        """
        job = self._jobs.record(hint.job)
        if job is None or hint.trial >= job.num_trials or not _shall_run(job, hint.trial):
            # Read anew before the message is thrown away: whoever changes the record sends a message after it, so
            # this one, which was received before, is not the one that is needed.
            job = self._jobs.record(hint.job, is_fresh=True)
        if job is None and self._store.blobs.head(RUNS, hint.job.tombstone) is not None:
            self._store.queues.delete(message)  # doubled, and late
        elif job is None:
            self._bury(message, f"{hint.job.path} has no record: was its folder deleted?")
        elif hint.trial >= job.num_trials:
            self._bury(message, f"{hint.job.path} has {job.num_trials} trials, so none {hint.trial}")
        elif not _shall_run(job, hint.trial):
            self._store.queues.delete(message)
        elif job.wish(hint.trial) is Wish.RUN and (spent := self._budgets.spent(self._store, self._cluster)):
            _log.warning("%s trial %d %s", hint.job.path, hint.trial, spent.why())
            self._store.queues.delete(message)
        else:
            return job
        return None

    def _claim(
        self, number: int, hint: TrialMessage, parameters: Mapping[str, Any], retry_round: int
    ) -> Claim | Held | FinalTrial:
        return claim(
            self._store,
            hint.job,
            hint.trial,
            parameters,
            worker=f"{self._name}/{number}",
            claim_timeout_s=self._settings.claim_timeout_s,
            max_lost_workers=self._settings.max_lost_workers,
            may_take_over=self._may_take_over,
            retry_round=retry_round,
        )

    def _may_take_over(self) -> bool:
        """False soon after an outage: others' heartbeats may have failed with ours, and get through only now."""
        outage_age_s = min(time.monotonic() - self._outage_at, self._store.outage_age_s)
        return outage_age_s >= self._settings.claim_timeout_s

    def _run(self, number: int, slot: Slot, claimed: Claim, job: JobRecord, spec: JobSpec, message: Message) -> float:
        """Runs a claimed trial and settles it, or gives it back; returns as `handle` does."""
        record = claimed.record
        _log.info("%s trial %d attempt %d starts in slot %d", record.job.path, record.trial, record.attempt, number)
        is_well = True
        trial: Trial | None = None
        try:
            try:
                root = self._folder.attempt(record.trial)
                trial = Trial(self._node, claimed, job, spec, message, root, dict(slot.environment), slot.user)
                reason = trial.run()
            except ClaimLost:
                raise
            except Exception as error:  # noqa: BLE001
                # The edge of the slot: whatever an attempt stumbles over (a full disk, storage that is away, a fault
                # of ours) is told in full and left to another attempt, best on another node; the slot goes on.
                _log.exception("%s trial %d: this node cannot go on with it", record.job.path, record.trial)
                is_well = False
                reason = self._give_back(claimed, error)
        except ClaimLost as error:
            _log.warning("%s", error)
            return 0.0 if is_well else PAUSE_S
        _log.info("%s trial %d: %s", record.job.path, record.trial, reason)
        message = trial.message if trial else message
        record = claimed.record
        delay_s = self._delay_s(record)
        match TRIAL_STATE[reason]:
            case TrialState.QUEUED:
                if not self._store.queues.release(message, delay_s=delay_s):
                    # Its last renewal was not confirmed, so it stays hidden for a while: another one takes its place.
                    text = TrialMessage(record.job, record.trial).to_text()
                    self._store.queues.send(message.queue, text, delay_s=delay_s)
            case TrialState.PAUSED:
                # Advance is to hear of it too: the trial may have been resumed meanwhile.
                self._settler.settle(record.job, None, message)
            case _:
                # Who remembers this trial as final knows nothing of its retry, and must look.
                self._settler.settle(record.job, None if record.round else record.trial, message)
        # Longer than the trial stays hidden, so that another node gets it.
        return 0.0 if is_well else max(PAUSE_S, 2 * delay_s)

    def _delay_s(self, record: TrialRecord) -> float:
        """How long a trial that was given back stays hidden: not at all when its worker was told to stop."""
        match record.reason:
            case TrialReason.RETRYING:
                return self._settings.backoff_s(record.num_retries)
            case TrialReason.NODE_ERROR:
                return self._settings.backoff_s(record.num_lost)
            case _:
                return 0.0

    def _give_back(self, claimed: Claim, error: Exception) -> TrialReason:
        return claimed.give_back(
            TrialReason.NODE_ERROR,
            f"{self._name} could not go on: {type(error).__name__}: {error}",
            max_lost_workers=self._settings.max_lost_workers,
        ).reason

    def _bury(self, message: Message, why: str) -> None:
        """Moves a message that can never be acted on out of the way: recorded first, then deleted."""
        # The body names the record: a message that is sent anew and fails the same way is buried once.
        identity = suffix(message.queue, message.text)
        bury(self._store, message.queue, identity, message.text.encode(), why, message.dequeue_count)
        self._store.queues.delete(message)


def _shall_run(job: JobRecord, trial: int) -> bool:
    """True when a worker has something to do for the trial; a trial that waits to be cancelled is claimed for it."""
    return not job.state.is_final and job.wish(trial) is not Wish.PAUSE
