"""The heartbeat of one trial: keeps its record fresh and its message hidden, and hears that it shall end."""

import logging
import threading
import time
from collections.abc import Callable

from dropsweep.errors import ClaimLost, StorageError
from dropsweep.names import JobKey
from dropsweep.records import JobRecord
from dropsweep.steps.attempt import Claim
from dropsweep.storage import Message, Store
from dropsweep_trainer.files.reported import Reported

_log = logging.getLogger(__name__)


class Heartbeat:
    """Beats from a thread of its own until it is stopped.

    Attributes:
        message: the trial's message with its latest pop receipt.
        is_claim_lost: another worker has the trial; nothing more may be written.
        job: the job's record as of the last heartbeat; None once it is gone.
        has_progressed: tells whether the attempt has made a checkpoint.
    """

    def __init__(
        self,
        store: Store,
        claim: Claim,
        message: Message,
        reported: Reported,
        *,
        job: JobRecord,
        job_record: Callable[[JobKey], JobRecord | None],
        primary_metric: str | None,
        interval_s: float,
        visibility_s: float,
    ) -> None:
        self.message = message
        self.is_claim_lost = False
        self.job: JobRecord | None = job
        self.has_progressed: Callable[[], bool] = lambda: False
        self._store = store
        self._claim = claim
        self._reported = reported
        self._job_record = job_record
        self._primary_metric = primary_metric
        self._interval_s = interval_s
        self._visibility_s = visibility_s
        self._beaten_at = claim.asked_at
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    @property
    def is_fresh(self) -> bool:
        """False when the last heartbeat is so old that another worker may have taken the trial over."""
        return not self.is_claim_lost and time.monotonic() - self._beaten_at <= self._visibility_s

    def assure(self) -> None:
        """Makes sure that the claim stands, by a heartbeat when the last one is too old.

        A worker that was stopped for longer than the claim timeout finds out here, before it writes anything.

        Raises:
            ClaimLost: another worker has the trial.
            StorageError: as the storage does; the claim may stand.
        """
        if not self.is_fresh:
            if not self.is_claim_lost:
                self._touch()
            if self.is_claim_lost:
                record = self._claim.record
                raise ClaimLost(f"{record.job.path} trial {record.trial}: attempt {record.attempt} has lost its claim")

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
                return
            except StorageError as error:
                # The claim's age tells others whether to take over; here the next beat may get through.
                _log.warning("a heartbeat failed: %s", error)
            except Exception:  # noqa: BLE001 - the edge of a thread: without beats the trial is lost
                _log.exception("a heartbeat failed")

    def _beat(self) -> None:
        self._touch()
        renewed = self._store.queues.renew(self.message, visibility_s=self._visibility_s)
        if renewed is not None:
            self.message = renewed
        self.job = self._job_record(self._claim.record.job)

    def _touch(self) -> None:
        latest = self._reported.latest()
        metric = latest.values.get(self._primary_metric) if self._primary_metric else None
        # Before the request: it is from then on that the service counts at the latest.
        asked_at = time.monotonic()
        try:
            self._claim.beat(
                metric=metric, step=latest.step, metrics=latest.values, has_progressed=self.has_progressed()
            )
        except ClaimLost:
            self.is_claim_lost = True
            raise
        self._beaten_at = asked_at
