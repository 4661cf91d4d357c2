"""Keeping what a trial left while its slot goes on with the next one."""

import itertools
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Final

from dropsweep.names import JobKey

_log = logging.getLogger(__name__)
_LOOK_S: Final = 0.1
_LONGEST_REST_S: Final = 900.0


class Keepers:
    """Threads that keep what trials left: uploads, then the commit, then the message. At most one trial a slot.

    A slot has nothing to do for a trial whose processes are gone, and most of what is left is waiting for the storage.
    A worker that is to end has no time for this order: what its last trials left is kept at once, beside what is being
    kept already, for the platform ends the worker without asking whose turn it is.
    """

    def __init__(self, stopping: threading.Event) -> None:
        """Begins with nothing to keep.

        Args:
            stopping: set when the worker is to end.
        """
        self._stopping = stopping
        self._under_way: dict[int, list[tuple[JobKey, threading.Thread]]] = {}

    def begin(self, slot: int, job: JobKey, keep: Callable[[], None]) -> None:
        """Begins to keep what a slot's trial left; called by the slot's thread.

        Waits until all is kept that its trials before left, or the worker is to end.

        Args:
            slot: its number.
            job: the trial's.
            keep: what to do; what it raises is logged.
        """
        self.wait(slot)
        thread = threading.Thread(target=_guarded, args=(keep,), name=f"keeper-{slot}")
        try:
            thread.start()
        except RuntimeError:  # the node has no room for another thread, which must not leave a trial without an end
            _guarded(keep)
        else:
            self._under_way[slot] = [*self._alive(slot), (job, thread)]

    def wait(self, slot: int, *, unless: JobKey | None = None, limit_s: float = math.inf) -> bool:
        """Waits until all is kept that a slot's trials left; called by the slot's thread.

        Args:
            slot: its number.
            unless: what trials of this job left is not waited for.
            limit_s: how long to wait at most.

        Returns:
            False when the worker is to end, or the time was over, before that was done.
        """
        end = time.monotonic() + limit_s
        while others := [thread for job, thread in self._alive(slot) if job != unless]:
            left_s = end - time.monotonic()
            if self._stopping.is_set() or left_s <= 0:
                return False
            others[0].join(min(left_s, _LOOK_S))
        return True

    def finish(self) -> None:
        """Waits until all is kept, also when the worker is to end; called when the slots' threads have ended."""
        for _, thread in itertools.chain.from_iterable(self._under_way.values()):
            thread.join()
        self._under_way.clear()

    def _alive(self, slot: int) -> list[tuple[JobKey, threading.Thread]]:
        return [(job, thread) for job, thread in self._under_way.get(slot, ()) if thread.is_alive()]


class Rests:
    """For how long each slot is to leave trials to others, because its node is not well. Safe to use from many threads.

    A slot learns of it late: what is left of a trial may fail while the next one runs.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._last_s: dict[int, float] = {}
        self._owed_s: dict[int, float] = {}

    def note(self, slot: int, asked_s: float) -> None:
        """A trial of the slot has ended and asks for a rest of so many seconds, for more each time; 0: all is well."""
        with self._guard:
            rest_s = min(max(asked_s, 2 * self._last_s.get(slot, 0.0)), _LONGEST_REST_S) if asked_s else 0.0
            self._last_s[slot] = rest_s
            if rest_s:
                self._owed_s[slot] = rest_s

    def take_s(self, slot: int) -> float:
        """Returns for how many seconds the slot is to rest now; asked again, 0."""
        with self._guard:
            return self._owed_s.pop(slot, 0.0)


def _guarded(keep: Callable[[], None]) -> None:
    try:
        keep()
    except Exception:  # noqa: BLE001 - the edge of a thread: told, and the slot goes on
        _log.exception("what a trial left could not be dealt with; its message becomes visible again")
