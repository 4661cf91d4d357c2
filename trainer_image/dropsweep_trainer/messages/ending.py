"""From the end of a trial's process to the end of its message: keep what it left, commit, and settle or give back."""

import logging
from dataclasses import dataclass
from typing import Final

from dropsweep.errors import ClaimLost
from dropsweep.messages import TrialMessage
from dropsweep.records import TrialRecord
from dropsweep.settings import Settings
from dropsweep.states import TRIAL_STATE, TrialReason, TrialState
from dropsweep.steps.attempt import Claim
from dropsweep.storage import Message, Store
from dropsweep_trainer.attempt.trial import Trial
from dropsweep_trainer.messages.settling import Settler

_log = logging.getLogger(__name__)
PAUSE_S: Final = 5.0
"""After a fault of the node or the storage, until a slot goes on."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt of which no process runs any more.

    Attributes:
        claim: on its trial.
        received: the trial's message as it was received.
        trial: what there is to keep; None when the attempt did not come to be.
        failure: why there is nothing to keep; None: there is.
    """

    claim: Claim
    received: Message
    trial: Trial | None = None
    failure: Exception | None = None

    @property
    def message(self) -> Message:
        """The trial's message with its latest pop receipt."""
        return self.trial.message if self.trial else self.received

    def keep(self) -> TrialReason:
        """Keeps what the attempt left and commits.

        Raises:
            ClaimLost, StorageError, OSError: as `Trial.keep` does, or why there is nothing to keep.
        """
        if self.failure is not None:
            raise self.failure
        assert self.trial is not None, "an attempt that has not failed is there"
        return self.trial.keep()


class Ender:
    """Takes attempts to their end. Safe to use from many threads."""

    def __init__(self, store: Store, settings: Settings, settler: Settler, *, name: str) -> None:
        """Makes one; nothing is sent.

        Args:
            store: the storage account.
            settings: the deployment's settings.
            settler: what settles trials that are over.
            name: names the worker in records.
        """
        self._store = store
        self._settings = settings
        self._settler = settler
        self._name = name

    def end(self, ended: Ended) -> float:
        """Keeps an attempt and settles its message, or gives its trial back.

        Returns:
            For how many seconds the slot is to rest, if its node is not well; else 0.

        Raises:
            StorageError, NotFoundError: as the storage does; the message becomes visible again.
        """
        claimed = ended.claim
        is_well = True
        try:
            try:
                reason = ended.keep()
            except ClaimLost:
                raise
            except Exception as error:  # noqa: BLE001
                # The edge of the slot: whatever an attempt stumbles over (a full disk, storage that is away, a fault
                # of ours) is told in full and left to another attempt, best on another node; the slot goes on.
                record = claimed.record
                _log.exception("%s trial %d: this node cannot go on with it", record.job.path, record.trial)
                is_well = False
                reason = self._give_back(claimed, error)
        except ClaimLost as error:
            _log.warning("%s", error)
            return 0.0 if is_well else PAUSE_S
        record = claimed.record
        began = f" (start: {record.start})" if record.start else ""
        _log.info("%s trial %d: %s%s", record.job.path, record.trial, reason, began)
        delay_s = self._delay_s(record)
        self._settle(record, ended.message, delay_s)
        # Longer than the trial stays hidden, so that another node gets it.
        return 0.0 if is_well else max(PAUSE_S, 2 * delay_s)

    def _settle(self, record: TrialRecord, message: Message, delay_s: float) -> None:
        match TRIAL_STATE[record.reason]:
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
