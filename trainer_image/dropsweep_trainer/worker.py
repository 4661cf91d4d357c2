"""The worker: its slots receive trial messages, claim, run and settle, until it is told to stop."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from dropsweep.errors import ClaimLost, MessageError, NotFoundError, SpecError, StorageCorrupt, StorageError
from dropsweep.manifests import delete_torn
from dropsweep.messages import TrialMessage
from dropsweep.names import RUNS, JobKey, suffix, trials_queue
from dropsweep.records import JobRecord, TrialRecord
from dropsweep.settings import Settings
from dropsweep.spec import JobSpec
from dropsweep.states import TRIAL_STATE, TrialReason, TrialState, Wish
from dropsweep.steps.attempt import Claim, FinalTrial, Held, claim
from dropsweep.steps.bury import bury
from dropsweep.steps.report import read_spec
from dropsweep.storage import Message, Store
from dropsweep_trainer.folders import WorkerFolder
from dropsweep_trainer.outcome import cancellation
from dropsweep_trainer.settling import Settler
from dropsweep_trainer.staging import Stage
from dropsweep_trainer.trial import Node, Trial

_log = logging.getLogger(__name__)
_IDLE_S: Final = (0.1, 0.1, 0.2, 0.3, 0.5, 1.0)
"""Waits between two looks at an empty queue: short at first, then a look a second."""
_PAUSE_S: Final = 5.0
_HEAR_S: Final = 0.5
_LONGEST_REST_S: Final = 900.0
_MAX_JOBS: Final = 64


class Jobs:
    """Specs and records of the jobs at hand. Specs never change; a record is at most `max_age_s` old."""

    def __init__(self, store: Store, max_age_s: float) -> None:
        self._store = store
        self._max_age_s = max_age_s
        self._guard = threading.Lock()
        self._specs: OrderedDict[JobKey, JobSpec] = OrderedDict()
        self._records: OrderedDict[JobKey, tuple[float, JobRecord | None]] = OrderedDict()

    def spec(self, key: JobKey) -> JobSpec:
        """Returns a job's spec.

        Raises:
            StorageError: as the storage does.
        """
        with self._guard:
            spec = self._specs.get(key)
        if spec is None:
            spec = read_spec(self._store, key)
            with self._guard:
                self._specs[key] = spec
                while len(self._specs) > _MAX_JOBS:
                    self._specs.popitem(last=False)
        return spec

    def record(self, key: JobKey, *, is_fresh: bool = False) -> JobRecord | None:
        """Returns a job's record, read anew when `is_fresh`; None when it has none.

        Raises:
            StorageError: as the storage does.
        """
        with self._guard:
            read_at, record = self._records.get(key, (float("-inf"), None))
        if not is_fresh and time.monotonic() - read_at < self._max_age_s:
            return record
        asked_at = time.monotonic()
        blob = self._store.blobs.read(RUNS, key.record)
        record = None if blob is None else JobRecord.from_json(blob.body)
        with self._guard:
            self._records[key] = (asked_at, record)
            while len(self._records) > _MAX_JOBS:
                self._records.popitem(last=False)
        return record


class Worker:
    """All slots of one trainer process."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        name: str,
        cluster: str,
        slot_environments: Sequence[dict[str, str]],
        work: Path,
        exit_when_idle_s: float | None,
        stopping: threading.Event | None = None,
    ) -> None:
        """Makes a worker; nothing happens before `run`.

        Args:
            store: the storage account.
            settings: the deployment's settings.
            name: names the worker in records.
            cluster: whose queue it reads.
            slot_environments: one a slot: what its trials see beside their own variables, such as their GPU.
            work: a folder for the cache, which other workers may share, and for running trials.
            exit_when_idle_s: seconds without a message after which it ends; None: never.
            stopping: set by whoever wants the worker to end; the store may watch it too.
        """
        self.stopping = stopping or threading.Event()
        self._store = store
        self._settings = settings
        self._name = name
        self._queue = trials_queue(cluster)
        self._slots = slot_environments
        self._exit_when_idle_s = exit_when_idle_s
        self._jobs = Jobs(store, settings.heartbeat_s / 2)
        self._folder = WorkerFolder(work)
        stage = Stage(store, work / "cache", self._folder.path)
        self._node = Node(store, settings, stage, self.stopping, self._jobs.record)
        self._outage_at = float("-inf")
        self._settler = Settler(store)

    def run(self) -> None:
        """Serves the queue until `stopping` is set, or it has been idle for long enough."""
        threads = [
            threading.Thread(target=self._serve, args=(slot,), name=f"slot-{slot}") for slot in range(len(self._slots))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                # Not for ever: a signal that does not wake the main thread is heard only after the wait.
                thread.join(_HEAR_S)
        self._settler.finish()
        self._folder.close()

    def _serve(self, slot: int) -> None:
        idle_since = time.monotonic()
        num_empty = 0
        rest_s = 0.0
        while not self.stopping.is_set():
            try:
                received = self._store.queues.receive(self._queue, visibility_s=self._settings.claim_timeout_s)
                if received:
                    num_empty = 0
                    least_s = self._handle(slot, received[0])
                    # A node that is not well leaves the trials to others, for longer each time.
                    rest_s = min(max(least_s, 2 * rest_s), _LONGEST_REST_S) if least_s else 0.0
                    self.stopping.wait(rest_s)
                    idle_since = time.monotonic()
                    continue
            except (StorageError, NotFoundError) as error:
                self._outage_at = time.monotonic()
                _log.warning("slot %d: %s", slot, error)
                self.stopping.wait(_PAUSE_S)
                continue
            except Exception:  # noqa: BLE001 - the edge of the slot: a message that nobody foresaw must not end it
                _log.exception("slot %d goes on after a rest; the message becomes visible again", slot)
                self.stopping.wait(_PAUSE_S)
                continue
            if self._exit_when_idle_s is not None and time.monotonic() - idle_since >= self._exit_when_idle_s:
                return
            self.stopping.wait(_IDLE_S[min(num_empty, len(_IDLE_S) - 1)])
            num_empty += 1

    def _handle(self, slot: int, message: Message) -> float:
        """Takes one message to its end; returns for how many seconds the slot is to rest, if its node is not well.

        Raises:
            StorageError, NotFoundError: as the storage does; the message becomes visible again.
        """
        try:
            hint = TrialMessage.from_text(message.text)
        except MessageError as error:
            return self._bury(message, str(error))
        try:
            job = self._jobs.record(hint.job)
            if job is None or hint.trial >= job.num_trials or not _shall_run(job, hint.trial):
                # Read anew before the message is thrown away: whoever changes the record sends a message after it, so
                # this one, which was received before, is not the one that is needed.
                job = self._jobs.record(hint.job, is_fresh=True)
            if job is None and self._store.blobs.head(RUNS, hint.job.tombstone) is not None:
                self._store.queues.delete(message)  # doubled, and late
                return 0.0
            if job is None:
                return self._bury(message, f"{hint.job.path} has no record: was its folder deleted?")
            if hint.trial >= job.num_trials:
                return self._bury(message, f"{hint.job.path} has {job.num_trials} trials, so none {hint.trial}")
            if not _shall_run(job, hint.trial):
                self._store.queues.delete(message)
                return 0.0
            spec = self._jobs.spec(hint.job)
            outcome = self._claim(slot, hint, spec.parameters(hint.trial), job.retries.due(hint.trial))
        except (StorageCorrupt, SpecError, ValueError) as error:
            return self._bury(message, f"{hint.job.path} trial {hint.trial}: {error}")
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
                return self._run(slot, outcome, job, spec, message)
        return 0.0

    def _claim(
        self, slot: int, hint: TrialMessage, parameters: Mapping[str, Any], retry_round: int
    ) -> Claim | Held | FinalTrial:
        return claim(
            self._store,
            hint.job,
            hint.trial,
            parameters,
            worker=f"{self._name}/{slot}",
            claim_timeout_s=self._settings.claim_timeout_s,
            max_lost_workers=self._settings.max_lost_workers,
            may_take_over=self._may_take_over,
            retry_round=retry_round,
        )

    def _may_take_over(self) -> bool:
        """False soon after an outage: others' heartbeats may have failed with ours, and get through only now."""
        outage_age_s = min(time.monotonic() - self._outage_at, self._store.outage_age_s)
        return outage_age_s >= self._settings.claim_timeout_s

    def _run(self, slot: int, claimed: Claim, job: JobRecord, spec: JobSpec, message: Message) -> float:
        """Runs a claimed trial and settles it, or gives it back; returns as `_handle` does."""
        record = claimed.record
        _log.info("%s trial %d attempt %d starts in slot %d", record.job.path, record.trial, record.attempt, slot)
        is_well = True
        trial: Trial | None = None
        try:
            try:
                root = self._folder.attempt(record.trial)
                trial = Trial(self._node, claimed, job, spec, message, root, self._slots[slot])
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
            return 0.0 if is_well else _PAUSE_S
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
        return 0.0 if is_well else max(_PAUSE_S, 2 * delay_s)

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

    def _bury(self, message: Message, why: str) -> float:
        """Moves a message that can never be acted on out of the way: recorded first, then deleted."""
        # The body names the record: a message that is sent anew and fails the same way is buried once.
        identity = suffix(message.queue, message.text)
        bury(self._store, message.queue, identity, message.text.encode(), why, message.dequeue_count)
        self._store.queues.delete(message)
        return 0.0


def _shall_run(job: JobRecord, trial: int) -> bool:
    """True when a worker has something to do for the trial; a trial that waits to be cancelled is claimed for it."""
    return not job.state.is_final and job.wish(trial) is not Wish.PAUSE
