"""The heartbeat of one trial: keeps its record fresh and its message hidden, and hears that it shall end."""

import logging
import threading
from collections.abc import Callable

from dropsweep.errors import ClaimLost, StorageError
from dropsweep.names import JobKey
from dropsweep.states import JobState
from dropsweep.steps.attempt import Claim
from dropsweep.storage import Message, Store
from dropsweep_trainer.reported import Reported

_log = logging.getLogger(__name__)


class Heartbeat:
    """Beats from a thread of its own until it is stopped.

    Attributes:
        message: the trial's message with its latest pop receipt.
        is_claim_lost: another worker has the trial; nothing more may be written.
        is_cancelled: the job is being cancelled.
        has_progressed: tells whether the attempt has made a checkpoint.
    """

    def __init__(
        self,
        store: Store,
        claim: Claim,
        message: Message,
        reported: Reported,
        *,
        job_state: Callable[[JobKey], JobState | None],
        primary_metric: str | None,
        interval_s: float,
        visibility_s: float,
    ) -> None:
        self.message = message
        self.is_claim_lost = False
        self.is_cancelled = False
        self.has_progressed: Callable[[], bool] = lambda: False
        self._store = store
        self._claim = claim
        self._reported = reported
        self._job_state = job_state
        self._primary_metric = primary_metric
        self._interval_s = interval_s
        self._visibility_s = visibility_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; the claim stands until it is ended, or too old."""
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(self._interval_s):
            try:
                self._beat()
            except ClaimLost as error:
                _log.warning("%s", error)
                self.is_claim_lost = True
                return
            except StorageError as error:
                # The claim's age tells others whether to take over; here the next beat may get through.
                _log.warning("a heartbeat failed: %s", error)
            except Exception:  # noqa: BLE001 - the edge of a thread: without beats the trial is lost
                _log.exception("a heartbeat failed")

    def _beat(self) -> None:
        latest = self._reported.latest()
        metric = latest.values.get(self._primary_metric) if self._primary_metric else None
        self._claim.beat(metric=metric, step=latest.step, metrics=latest.values, has_progressed=self.has_progressed())
        renewed = self._store.queues.renew(self.message, visibility_s=self._visibility_s)
        if renewed is not None:
            self.message = renewed
        if self._job_state(self._claim.record.job) in (JobState.CANCELLING, JobState.CANCELLED, None):
            self.is_cancelled = True
