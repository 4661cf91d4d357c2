"""How many messages a slot takes at once: more than one only where trials are so short that it begins them all soon."""

import statistics
import threading
from collections import defaultdict, deque
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
    """How long the last trials of a worker kept their slots. Safe to use from many threads.

    After a moment without work nothing is known, for what comes then is most often another job: one trial is taken
    until the first has ended. A worker that went by the trials before would hold a whole sweep of long ones, and
    others would stand idle beside it.

    Where trials of several jobs come in turns, it goes by the job whose trials are the longest. That trials have become
    longer it learns when most of those that it remembers of their job were. Until then a slot may receive more than it
    begins soon, and the others get those back once they have been held for `receiving.HELD_S`.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._last: deque[tuple[JobKey, float]] = deque(maxlen=_NUM_REMEMBERED)

    def note(self, job: JobKey, seconds: float) -> None:
        """A trial whose command was started has left its slot, `seconds` after its message was looked at."""
        with self._guard:
            self._last.append((job, seconds))

    def forget(self) -> None:
        """No message waits: what comes next may be of another kind."""
        with self._guard:
            self._last.clear()

    @property
    def num_at_once(self) -> int:
        """How many messages to receive for one slot: from 1, which it is while nothing is known, to `MAX_AT_ONCE`."""
        lasted_s: dict[JobKey, list[float]] = defaultdict(list)
        with self._guard:
            for job, seconds in self._last:
                lasted_s[job].append(seconds)
        # Medians: one trial that took longer, as the first of a job does, says little of the next.
        typical_s = max(map(statistics.median, lasted_s.values()), default=AHEAD_S)
        return MAX_AT_ONCE if typical_s * MAX_AT_ONCE <= AHEAD_S else max(1, int(AHEAD_S / typical_s))
