"""How many messages a slot takes at once: more than one only where trials are so short that it begins them all soon."""

import statistics
import threading
from collections import deque
from typing import Final

from dropsweep.names import JobKey

AHEAD_S: Final = 0.3
"""What a slot takes at once it is to begin within this time, as trials went lately.

A request for each message is an eighth of what a trial of some milliseconds asks of storage. Ten at once are nearly as
good as thirty; and the longer it is, the longer other workers may stand idle at the end of a job beside messages that
one of them holds.
"""
MAX_AT_ONCE: Final = 32
"""The service gives no more.

Source: https://learn.microsoft.com/rest/api/storageservices/get-messages
"""
_NUM_REMEMBERED: Final = 5


class Pace:
    """How long the last trials of one job kept the slots of a worker. Safe to use from many threads.

    Nothing is known of a job none of whose trials has ended here, so of its trials one is taken at a time; nor of what
    comes after a moment without work, which is most often another job. A worker that then went by the trials before
    would hold a whole sweep of long ones, and others would stand idle beside it.

    That the trials of a job have become longer is learned when three of the last five were. Until then a slot may
    receive more than it begins soon, and the others get those back once they have been held for `receiving.HELD_S`.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._job: JobKey | None = None
        self._lasted_s: deque[float] = deque(maxlen=_NUM_REMEMBERED)

    def note(self, job: JobKey, seconds: float) -> None:
        """A trial whose command was started has left its slot, `seconds` after its message was looked at."""
        with self._guard:
            if job != self._job:
                self._job = job
                self._lasted_s.clear()
            self._lasted_s.append(seconds)

    def forget(self) -> None:
        """No message waits: what comes next may be of another kind."""
        with self._guard:
            self._lasted_s.clear()

    @property
    def num_at_once(self) -> int:
        """How many messages to receive for one slot: from 1, which it is while nothing is known, to `MAX_AT_ONCE`."""
        with self._guard:
            if not self._lasted_s:
                return 1
            # The median: one trial that took longer, as the first of a job does, says little of the next.
            typical_s = statistics.median(self._lasted_s)
        return MAX_AT_ONCE if typical_s * MAX_AT_ONCE <= AHEAD_S else max(1, int(AHEAD_S / typical_s))
