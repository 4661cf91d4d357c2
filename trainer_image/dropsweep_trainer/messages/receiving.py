"""The order in which a worker takes messages from its cluster's queues, and how often it looks into an empty one."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from dropsweep.errors import NotFoundError, StorageError
from dropsweep.names import trials_queue, trials_queues
from dropsweep.storage import Message, Store

_log = logging.getLogger(__name__)
WAITS_S: Final = (*(0.1,) * 40, *(0.2,) * 15, *(0.5,) * 6, 1.0)
"""Between two looks into a queue that is empty: short for ten seconds after the last message, for the next job of
somebody who waits for this one often comes then; afterwards a look a second."""
HELD_S: Final = 1.0
"""What was received with other messages goes back to the queue when no slot has taken it within this time."""
_MISSING_S: Final = 60.0


@dataclass(slots=True)
class _Queue:
    """What is known of one queue.

    Attributes:
        num_empty: looks in a row that found nothing; 0: it may hold something.
        ask_at: when to look again, once it was found empty.
        is_asked: a slot looks into it, which was found empty before; no other one need.
        emptied_at: when the last look began that found nothing; None: there was none.
        held: messages that were received with others and that no slot has taken yet, with when they were asked for.
    """

    name: str
    num_empty: int = 0
    ask_at: float = 0.0
    is_asked: bool = False
    emptied_at: float | None = None
    is_missing: bool = False
    held: deque[tuple[float, Message]] = field(default_factory=deque)


class Receiver:
    """Takes the messages of one cluster for all slots of a worker, those of high priority first.

    The order is strict: a message of lower priority is taken only when the queues above were found empty, at most 1 s
    ago. That second is what keeps their looks from costing each trial a request. It is the order in which messages are
    handed to slots: those that were received with another one, and wait here, are no exception.
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

    def receive(self, num_at_once: int = 1) -> Message | None:
        """Returns the next message; None when there is none now, or the queues were found empty a moment ago.

        Safe to call from many threads: only one of them looks into a queue that was empty.

        Args:
            num_at_once: how many messages a request may bring, up to 32; those beyond the first are held for later
                calls, hidden from other workers.

        Raises:
            StorageError, NotFoundError: as the storage does.
        """
        for queue in self._queues:
            with self._guard:
                now, num_empty = self._now_s(), queue.num_empty
                if message := self._take(queue, now):
                    return message
                if num_empty and (queue.is_asked or now < queue.ask_at):
                    continue
                queue.is_asked = num_empty > 0
                queue.ask_at = now + WAITS_S[min(num_empty, len(WAITS_S)) - 1] if num_empty else 0.0
            try:
                found = self._ask(queue, num_at_once)
            finally:
                queue.is_asked = False
            with self._guard:
                queue.is_missing = found is None
                if found:
                    queue.num_empty = 0
                    self._leave_those_above(queue)
                    queue.held.extend((now, message) for message in found[1:])
                    return found[0]
                queue.emptied_at = now
                # Of slots that looked at the same time, one counts.
                queue.num_empty = max(queue.num_empty, num_empty + 1)
                wait_s = _MISSING_S if found is None else WAITS_S[min(queue.num_empty, len(WAITS_S)) - 1]
                queue.ask_at = self._now_s() + wait_s
        return None

    def release(self, *, older_than_s: float = 0.0) -> None:
        """Makes messages visible again that are held, for other workers.

        Args:
            older_than_s: only those that were asked for longer ago.
        """
        for queue in self._queues:
            while True:
                with self._guard:
                    if not queue.held or self._now_s() - queue.held[0][0] < older_than_s:
                        break
                    message = queue.held.popleft()[1]
                try:
                    self._store.queues.release(message)
                except (StorageError, NotFoundError) as error:
                    with self._guard:
                        num_left = 1 + len(queue.held)
                        queue.held.clear()
                    # Not one after the other: each would be tried for as long as this one was.
                    _log.warning("%d messages become visible only in %g s: %s", num_left, self._visibility_s, error)

    @property
    def is_dry(self) -> bool:
        """True when the last look into each queue found nothing, so that no message is known to wait for a slot."""
        with self._guard:
            return all(queue.num_empty and not queue.held for queue in self._queues)

    @property
    def next_look_s(self) -> float:
        """Seconds until `receive` will look into a queue again."""
        with self._guard:
            now = self._now_s()
            return max(0.0, min(self._wait_s(queue, now) for queue in self._queues))

    def are_empty_since(self, moment_s: float) -> bool:
        """True when every queue was found empty by a look that began at `moment_s` of the clock, or later."""
        with self._guard:
            asked = [queue for queue in self._queues if not queue.is_missing]
            return not any(queue.held for queue in asked) and all(
                queue.emptied_at is not None and queue.emptied_at >= moment_s for queue in asked
            )

    def _wait_s(self, queue: _Queue, now: float) -> float:
        if not queue.num_empty:
            return 0.0
        return max(WAITS_S[0], queue.ask_at - now) if queue.is_asked else queue.ask_at - now

    def _leave_those_above(self, queue: _Queue) -> None:
        """Looks into queues of higher priority once a second only, while there is work in another one."""
        for above in self._queues[: self._queues.index(queue)]:
            if above.emptied_at is not None:
                above.ask_at = max(above.ask_at, above.emptied_at + WAITS_S[-1])

    def _take(self, queue: _Queue, now: float) -> Message | None:
        """Returns the oldest message that is held and still ours."""
        while queue.held:
            asked_at, message = queue.held.popleft()
            if now - asked_at < self._visibility_s:
                return message
            # This worker was asleep: others see the message by now. To claim its trial would only get in their way.
            _log.warning("a message was held for too long and is left to others")
        return None

    def _ask(self, queue: _Queue, num_at_once: int) -> list[Message] | None:
        """Looks into a queue; None when it does not exist, and the cluster can do without it."""
        try:
            return self._store.queues.receive(queue.name, visibility_s=self._visibility_s, max_messages=num_at_once)
        except NotFoundError:
            if queue.name == self._normal:
                raise
            if not queue.is_missing:
                _log.warning(
                    "queue %s does not exist, so no work comes by it; deploy again to have it made", queue.name
                )
            return None
