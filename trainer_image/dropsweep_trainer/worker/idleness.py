"""When a worker has nothing to do any more. Idle is the worker, not a slot: one that runs a trial keeps all of them."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_LOOK_S: Final = 0.1


class Idleness:
    """What the slots of one worker are doing, and whether it is time for all of them to end.

    A worker that has run a trial ends after `limit_s` without another one; messages that it only reads do not count.
    One that is a scaler's and has not run any was one too many: it ends as soon as it found all queues empty. One that
    is a scaler's and cannot look into its queues ends as well, for it costs as much as one that works.
    """

    def __init__(
        self,
        stopping: threading.Event,
        are_empty_since: Callable[[float], bool],
        *,
        num_slots: int,
        limit_s: float | None,
        is_scaled: bool,
        may_leave: Callable[[], bool],
        leave_after_s: float | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Describes a worker with nothing to do yet.

        Args:
            stopping: set when it is to end in any case.
            are_empty_since: True when every queue was found empty at this moment of the clock or later.
            num_slots: how many slots it has.
            limit_s: seconds without a trial after which it ends; None: never.
            is_scaled: a scaler started it for work that was there.
            may_leave: asked before it ends for want of work, by one slot at a time; may take a while.
            leave_after_s: seconds from now on after which no slot takes another message; None: never.
            now_s: a clock that never jumps.
        """
        self._stopping = stopping
        self._are_empty_since = are_empty_since
        self._num_slots = num_slots
        self._limit_s = limit_s
        self._is_scaled = is_scaled
        self._may_leave = may_leave
        self._now_s = now_s
        self._guard = threading.Lock()
        self._asking = threading.Lock()
        self._num_active = 0
        self._num_running = 0
        self._num_resting = 0
        self._has_run = False
        self._is_leaving = False
        self._idle_since = now_s()
        self._leave_at = math.inf if leave_after_s is None else now_s() + leave_after_s

    @property
    def is_over(self) -> bool:
        """True when no slot is to take another message; what runs is ended only when the worker was told to stop."""
        return self._is_leaving or self._stopping.is_set() or self._now_s() >= self._leave_at

    @property
    def num_running(self) -> int:
        """Slots that have a trial, be it one of which only what it left is still being kept."""
        return min(self._num_running, self._num_slots)

    def begin_to_serve(self) -> None:
        """The node is prepared: from now on it counts as idle when there is nothing to do."""
        with self._guard:
            self._idle_since = self._now_s()

    def begin(self) -> bool:
        """A slot is going to look for a message; False: it is to end instead."""
        with self._guard:
            if self.is_over:
                return False
            self._num_active += 1
            return True

    def end(self) -> None:
        """A slot has done with what it began, whether there was a message or not."""
        with self._guard:
            self._num_active -= 1

    def end_if_cut_off(self) -> None:
        """To be called when a slot could not look: ends a scaler's worker that has long been of no use.

        That is one which for the whole limit has run no trial and never found its queues empty. Its cluster is not
        asked, for who cannot look would hardly get an answer.
        """
        if not self._is_scaled or self._limit_s is None:
            return
        with self._guard:
            now = self._now_s()
            is_unused = not self._num_running and now - self._idle_since >= self._limit_s
            # Slots that are looking are not waited for: what they find they still run.
            if is_unused and not self._are_empty_since(now - self._limit_s):
                self._is_leaving = True

    @contextmanager
    def running(self) -> Iterator[None]:
        """A slot has a trial, or keeps what one left while the next one runs."""
        with self._guard:
            self._num_running += 1
            self._has_run = True
        try:
            yield
        finally:
            with self._guard:
                self._num_running -= 1
                self._idle_since = self._now_s()

    def rest(self, seconds: float) -> None:
        """A slot takes no message for a while, because its node is not well; shorter when the worker ends.

        Raises:
            StorageError: as `leave_if_idle` does.
        """
        with self._guard:
            self._num_resting += 1
        try:
            end = self._now_s() + seconds
            while not self.is_over and self._now_s() < end:
                self.wait(end - self._now_s())
                self.leave_if_idle()
        finally:
            with self._guard:
                self._num_resting -= 1

    def wait(self, seconds: float) -> None:
        """A slot has nothing to do for the moment; short, so that it hears soon what the others have found out."""
        self._stopping.wait(max(0.0, min(seconds, _LOOK_S)))

    def leave_if_idle(self) -> None:
        """Ends the worker if it has been idle for long enough.

        Raises:
            StorageError: as `may_leave` does.
        """
        if not self._is_idle_enough() or not self._asking.acquire(blocking=False):
            return
        try:
            if self._may_leave():
                with self._guard:
                    self._is_leaving = self._is_idle_enough()
        finally:
            self._asking.release()

    def _is_idle_enough(self) -> bool:
        limit_s = 0.0 if self._is_scaled and not self._has_run else self._limit_s
        if limit_s is None or self._num_active or self._num_running or self._now_s() - self._idle_since < limit_s:
            return False
        return self._are_empty_since(self._idle_since) or self._num_resting == self._num_slots
