"""What asks for an attempt's end: while it is staged, while its command runs, and while what that left is uploaded."""

import threading
import time
from enum import Enum, auto
from typing import Final, Protocol, assert_never

from dropsweep.records import JobRecord
from dropsweep.states import Wish

_LEAST_LIMIT_S: Final = 60.0


class Interruption(Enum):
    """Why an attempt is ended by us."""

    CLAIM_LOST = auto()
    CANCELLED = auto()
    PAUSED = auto()
    TIMED_OUT = auto()
    EXCESSIVE = auto()
    STOPPING = auto()


class Interrupted(Exception):
    """The attempt is asked to end while it is staged, or while what its command left is uploaded."""

    def __init__(self, interruption: Interruption) -> None:
        self.interruption = interruption
        super().__init__(interruption.name)


class Heard(Protocol):
    """What a heartbeat has heard."""

    @property
    def is_claim_lost(self) -> bool:
        """Another worker has the trial."""

    @property
    def job(self) -> JobRecord | None:
        """The job's record as of the last heartbeat; None once it is gone."""


class Asked:
    """Looks what asks for one attempt's end."""

    def __init__(self, heard: Heard, trial: int, stopping: threading.Event, grace_s: float) -> None:
        """Nothing is looked at yet.

        Args:
            heard: the attempt's heartbeat.
            trial: its trial.
            stopping: set when the worker is to end.
            grace_s: for so long uploads go on after the trial was cancelled.
        """
        self._heard = heard
        self._trial = trial
        self._stopping = stopping
        self._grace_s = grace_s
        self._first_at: float | None = None
        self._asked_at: float | None = None

    @property
    def limit_s(self) -> float | None:
        """Seconds that the command may take, as of the last heartbeat; it may be edited meanwhile."""
        job = self._heard.job
        return job.trial_timeout_s if job else None

    def now(self) -> Interruption | None:
        """Returns what asks for the end of the command, apart from its own time and use of the node."""
        if self._heard.is_claim_lost:
            return Interruption.CLAIM_LOST
        match self._wish():
            case Wish.CANCEL:
                return Interruption.CANCELLED
            case Wish.PAUSE:
                return Interruption.PAUSED
            case Wish.RUN:
                return Interruption.STOPPING if self._stopping.is_set() else None
            case wish:
                assert_never(wish)

    def check(self) -> None:
        """Ends the staging, in the middle of a large file too, when something asks for the attempt's end.

        Raises:
            Interrupted: something does.
        """
        interruption = self.now()
        if interruption is not None:
            raise Interrupted(interruption)

    def check_rest(self) -> None:
        """Ends the uploads after the command's end, whose time counts from the first call.

        They may go on for `grace_s` after the trial was cancelled, and have as long as the command had, at least a
        minute: a file may say that it is as large as it likes. A wish to pause is left to them, for it is as good when
        they are done. So is a worker's end: hours of training may hang on a checkpoint that is nearly there, and who
        stops the worker knows how long it may take.

        Raises:
            Interrupted: that time is over, or the claim is lost.
        """
        now = time.monotonic()
        if self._first_at is None:
            self._first_at = now
        if self._heard.is_claim_lost:
            raise Interrupted(Interruption.CLAIM_LOST)
        is_cancelled = self._wish() is Wish.CANCEL
        if not is_cancelled:
            self._asked_at = None
        elif self._asked_at is None:
            self._asked_at = now
        elif now - self._asked_at > self._grace_s:
            raise Interrupted(Interruption.CANCELLED)
        limit_s = self.limit_s
        if limit_s is not None and now - self._first_at > max(limit_s, _LEAST_LIMIT_S):
            raise Interrupted(Interruption.TIMED_OUT)

    def _wish(self) -> Wish:
        job = self._heard.job
        return Wish.CANCEL if job is None else job.wish(self._trial)
