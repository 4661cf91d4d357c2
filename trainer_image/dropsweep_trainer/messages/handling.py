"""What a slot does with a message: claim its trial, run it and settle it, or put the message out of the way."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from dropsweep.clusters import Cluster
from dropsweep.errors import MessageError, NotFoundError, SpecError, StorageCorrupt, StorageError
from dropsweep.manifests import delete_torn
from dropsweep.messages import TrialMessage
from dropsweep.names import RUNS, JobKey, suffix
from dropsweep.nodes import Budgets
from dropsweep.records import JobRecord, TrialRecord
from dropsweep.settings import Settings
from dropsweep.spec import JobSpec
from dropsweep.states import TrialState, Wish
from dropsweep.steps.attempt import Claim, FinalTrial, Held, claim
from dropsweep.steps.bury import bury
from dropsweep.storage import Message, Store
from dropsweep_trainer.attempt.node import Node
from dropsweep_trainer.attempt.outcome import cancellation
from dropsweep_trainer.attempt.trial import Trial
from dropsweep_trainer.checkpoints.rate import Rate
from dropsweep_trainer.files.folders import WorkerFolder
from dropsweep_trainer.messages.ending import PAUSE_S, Ended, Ender
from dropsweep_trainer.messages.jobs import Jobs
from dropsweep_trainer.messages.keepers import Keepers, Rests
from dropsweep_trainer.messages.pace import Pace
from dropsweep_trainer.messages.receiving import HELD_S
from dropsweep_trainer.messages.settling import INTERVAL_S, Settler
from dropsweep_trainer.sharing.alone import Gate
from dropsweep_trainer.sharing.limits import Limits
from dropsweep_trainer.sharing.slots import Slot
from dropsweep_trainer.staging.stage import Stage
from dropsweep_trainer.warm.starter import Starter
from dropsweep_trainer.warm.template import Options

_log = logging.getLogger(__name__)


class Handler:
    """Takes messages to their end, for all slots of a worker.

    Attributes:
        gate: what trials pass on their way to their processes; closed while one is alone on the node, or is to be.
        pace: how fast the slots go through trials.
        rests: for how long slots are to leave trials to others.
    """

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
        is_dry: Callable[[], bool],
        num_slots: int = 1,
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
            running: entered while a slot has a trial, and while what that left is kept.
            is_dry: True while no message is known to wait for a slot.
            num_slots: how many trials the worker runs at once.
        """
        self.gate = Gate()
        self.pace = Pace()
        self.rests = Rests()
        self._store = store
        self._settings = settings
        self._name = name
        self._cluster = cluster
        self._folder = folder
        self._running = running
        self._jobs = Jobs(store, settings.heartbeat_s / 2)
        self._budgets = Budgets()
        stage = Stage(store, cache, cluster.cache_size_bytes)
        starter = Starter(folder.path / "warm", options=Options(cluster.preload), is_on=cluster.warm_start)
        self._node = Node(
            store,
            settings,
            stage,
            stopping,
            self._jobs.record,
            starter,
            limits=Limits.of(cluster),
            limits_alone=Limits.of_one_alone(cluster, num_slots),
            gate=self.gate,
            rate=Rate(cluster.checkpoint_rate_bytes_s),
        )
        self._outage_at = float("-inf")
        # Messages are to be hidden still when their time to be settled comes.
        self._settler = Settler(store, is_dry, interval_s=min(INTERVAL_S, settings.claim_timeout_s / 4))
        self._ender = Ender(store, settings, self._settler, name=name)
        self._stopping = stopping
        self._keepers = Keepers(stopping)
        self._in_hand: set[tuple[JobKey, int]] = set()

    def note_outage(self) -> None:
        """The storage did not answer: heartbeats of other workers may not have got through either."""
        self._outage_at = time.monotonic()

    def note_dry(self) -> None:
        """A slot has found no message: what is to be settled is settled now, for more work may hang on it."""
        self.pace.forget()
        self._settler.hurry()

    def finish(self) -> None:
        """Keeps and settles what is left; nothing may be handled afterwards."""
        self._keepers.finish()
        self._settler.finish()
        self._node.starter.close()

    def handle(self, number: int, slot: Slot, message: Message) -> None:
        """Takes one message to its end, or its trial to the end of its process: what that left is kept meanwhile.

        Args:
            number: the slot's, from 0.
            slot: where the trial runs.
            message: as received.

        Raises:
            StorageError, NotFoundError: as the storage does; the message becomes visible again.
        """
        try:
            hint = TrialMessage.from_text(message.text)
        except MessageError as error:
            self._bury(message, str(error))
            return
        if (hint.job, hint.trial) in self._in_hand:
            # Heartbeats did not get through, so the message came back and the claim may look stale. It is not: what
            # the trial left waits here for the storage.
            self._store.queues.release(message, delay_s=HELD_S)
            return
        if slot.user is not None and not self._may_follow(number, hint.job):
            self._store.queues.release(message)
            self._keepers.wait(number)
            return
        began = time.monotonic()
        try:
            job = self._job_of(hint, message)
            if job is None:
                return
            spec = self._jobs.spec(hint.job)
            outcome = self._claim(number, hint, spec.parameters(hint.trial), job.retries.due(hint.trial))
        except (StorageCorrupt, SpecError, ValueError) as error:
            self._bury(message, f"{hint.job.path} trial {hint.trial}: {error}")
            return
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
                if self._run(number, slot, outcome, job, spec, message):
                    self.pace.note(hint.job, time.monotonic() - began)

    def _may_follow(self, number: int, job: JobKey) -> bool:
        """Waits a moment until a trial of this job may run as its slot's user; False: it may not, or the worker ends.

        Files of the trial before are within reach of the next one, which is the same user: of its own job alone. A
        message that waits for that is hidden from other workers, and nobody renews it: not for longer than one that
        was received ahead of need.
        """
        return self._keepers.wait(number, unless=job, limit_s=HELD_S) and not self._stopping.is_set()

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

    def _run(self, number: int, slot: Slot, claimed: Claim, job: JobRecord, spec: JobSpec, message: Message) -> bool:
        """Runs the process of a claimed trial; what it left is kept beside the slot's next trial, if there is any.

        Returns:
            True when there was a process.
        """
        record = claimed.record
        _log.info("%s trial %d attempt %d starts in slot %d", record.job.path, record.trial, record.attempt, number)
        trial: Trial | None = None
        failure: Exception | None = None
        with ExitStack() as stack:
            stack.enter_context(self._running())
            stack.enter_context(self._holding(record))
            try:
                root = self._folder.attempt(record.trial)
                trial = Trial(self._node, claimed, job, spec, message, root, slot)
                trial.train()
            except Exception as error:  # noqa: BLE001 - told, and dealt with, where the attempt ends
                failure = error
            ended = Ended(claimed, message, trial, failure)
            end = partial(self._end, number, ended, stack.pop_all())
        if failure is None:
            self._keepers.begin(number, record.job, end)
        else:
            end()  # at once, so that the slot rests before it takes another message
        return trial is not None and trial.has_started

    @contextmanager
    def _holding(self, record: TrialRecord) -> Iterator[None]:
        """Notes that this worker has the trial, so that none of its slots takes it over from another."""
        trial = (record.job, record.trial)
        self._in_hand.add(trial)
        try:
            yield
        finally:
            self._in_hand.discard(trial)

    def _end(self, number: int, ended: Ended, stack: ExitStack) -> None:
        """Takes a trial from the end of its process to the end of its message, and closes the stack."""
        with stack:
            try:
                asked_s = self._ender.end(ended)
            except (StorageError, NotFoundError) as error:
                self.note_outage()
                _log.warning("slot %d: %s", number, error)
                asked_s = PAUSE_S
            self.rests.note(number, asked_s)

    def _bury(self, message: Message, why: str) -> None:
        """Moves a message that can never be acted on out of the way: recorded first, then deleted."""
        # The body names the record: a message that is sent anew and fails the same way is buried once.
        identity = suffix(message.queue, message.text)
        bury(self._store, message.queue, identity, message.text.encode(), why, message.dequeue_count)
        self._store.queues.delete(message)


def _shall_run(job: JobRecord, trial: int) -> bool:
    """True when a worker has something to do for the trial; a trial that waits to be cancelled is claimed for it."""
    return not job.state.is_final and job.wish(trial) is not Wish.PAUSE
