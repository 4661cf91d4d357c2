"""The order in which a worker takes messages from its cluster's queues, and how often it looks into an empty one."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dropsweep.errors import NotFoundError
from dropsweep.names import trials_queue, trials_queues
from dropsweep.storage import Message, Store

_log = logging.getLogger(__name__)
WAITS_S: Final = (0.1, 0.1, 0.2, 0.3, 0.5, 1.0)
"""Between two looks into a queue that is empty: short at first, then a look a second."""
_MISSING_S: Final = 60.0


@dataclass(slots=True)
class _Queue:
    """What is known of one queue.

    Attributes:
        num_empty: looks in a row that found nothing; 0: it may hold something.
        ask_at: when to look again, once it was found empty.
        emptied_at: when the last look began that found nothing; None: there was none.
    """

    name: str
    num_empty: int = 0
    ask_at: float = 0.0
    emptied_at: float | None = None
    is_missing: bool = False


class Receiver:
    """Takes the messages of one cluster for all slots of a worker, those of high priority first.

    The order is strict: a message of lower priority is taken only when the queues above were found empty, at most 1 s
    ago. That second is what keeps their looks from costing each trial a request.
    """

    def __init__(
        self, store: Store, cluster: str, *, visibility_s: float, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Makes a receiver; nothing is sent.

        Args:
            store: the storage account.
            cluster: whose queues these are.
            visibility_s: how long a received message stays hidden.
            now_s: a clock that never jumps.
        """
        self._store = store
        self._visibility_s = visibility_s
        self._now_s = now_s
        self._normal = trials_queue(cluster)
        self._guard = threading.Lock()
        self._queues = [_Queue(name) for name in trials_queues(cluster)]

    def receive(self) -> Message | None:
        """Returns the next message; None when there is none now, or the queues were found empty a moment ago.

        Safe to call from many threads: only one of them looks into a queue that was empty.

        Raises:
            StorageError, NotFoundError: as the storage does.
        """
        for queue in self._queues:
            with self._guard:
                now, num_empty = self._now_s(), queue.num_empty
                if num_empty and now < queue.ask_at:
                    continue
                queue.ask_at = now + WAITS_S[min(num_empty, len(WAITS_S)) - 1] if num_empty else 0.0
            found = self._ask(queue)
            with self._guard:
                queue.is_missing = found is None
                if found:
                    queue.num_empty = 0
                    return found[0]
                queue.emptied_at = now
                # Of slots that looked at the same time, one counts.
                queue.num_empty = max(queue.num_empty, num_empty + 1)
                wait_s = _MISSING_S if found is None else WAITS_S[min(queue.num_empty, len(WAITS_S)) - 1]
                queue.ask_at = self._now_s() + wait_s
        return None

    @property
    def next_look_s(self) -> float:
        """Seconds until `receive` will look into a queue again."""
        with self._guard:
            now = self._now_s()
            return max(0.0, min(queue.ask_at - now if queue.num_empty else 0.0 for queue in self._queues))

    def are_empty_since(self, moment_s: float) -> bool:
        """True when every queue was found empty by a look that began at `moment_s` of the clock, or later."""
        with self._guard:
            asked = [queue for queue in self._queues if not queue.is_missing]
            return all(queue.emptied_at is not None and queue.emptied_at >= moment_s for queue in asked)

    def _ask(self, queue: _Queue) -> list[Message] | None:
        """Looks into a queue; None when it does not exist, and the cluster can do without it."""
        try:
            return self._store.queues.receive(queue.name, visibility_s=self._visibility_s)
        except NotFoundError:
            if queue.name == self._normal:
                raise
            if not queue.is_missing:
                _log.warning(
                    "queue %s does not exist, so no work comes by it; deploy again to have it made", queue.name
                )
            return None
