"""Keeping what a trial left while its slot goes on with the next one."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from dropsweep.names import JobKey

_log = logging.getLogger(__name__)
_LONGEST_REST_S: Final = 900.0


class Keepers:
    """Threads that keep what trials left: uploads, then the commit, then the message. At most one trial a slot.

    A slot has nothing to do for a trial whose processes are gone, and most of what is left is waiting for the storage.
    """

    def __init__(self) -> None:
        self._under_way: dict[int, tuple[JobKey, threading.Thread]] = {}

    def begin(self, slot: int, job: JobKey, keep: Callable[[], None]) -> None:
        """Begins to keep what a slot's trial left, once that is done for its trial before; called by the slot's thread.

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
            self._under_way[slot] = job, thread

    def wait(self, slot: int, *, unless: JobKey | None = None) -> None:
        """Waits until all is kept that a slot's trials left, `unless` it is this job's; called by the slot's thread."""
        if slot in self._under_way and self._under_way[slot][0] != unless:
            self._under_way.pop(slot)[1].join()

    def finish(self) -> None:
        """Waits until all is kept; called when the slots' threads have ended."""
        for slot in list(self._under_way):
            self.wait(slot)


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
