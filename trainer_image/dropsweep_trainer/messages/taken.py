"""Messages that a worker has taken before it can run them."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from dropsweep.errors import NotFoundError, StorageError
from dropsweep.storage import Message, Store
from dropsweep_trainer.messages.receiving import Receiver

_log = logging.getLogger(__name__)
_RENEWALS: Final = 3
"""In the time for which a message is hidden."""


class Kept:
    """Messages that stay hidden while the node is being prepared.

    Scalers start nodes for messages that they see. One that has its node already must not be seen, or each of their
    looks would start another node for it, for as long as the first one's setup takes.
    """

    def __init__(self, store: Store, visibility_s: float) -> None:
        self._store = store
        self._visibility_s = visibility_s
        self._guard = threading.Lock()
        self._messages: list[Message] = []
        self._renewed_at = time.monotonic()

    def __len__(self) -> int:
        return len(self._messages)

    def fill(self, receiver: Receiver, num_messages: int, is_wanted: Callable[[Message], bool]) -> None:
        """Takes up to so many messages.

        Args:
            receiver: where they come from.
            num_messages: how many to keep.
            is_wanted: asked of each; one that it refuses it has dealt with itself.

        Raises:
            StorageError, NotFoundError: as the storage does; what was taken before is kept.
        """
        while len(self._messages) < num_messages and (message := receiver.receive()):
            if is_wanted(message):
                self._renewed_at = self._renewed_at if self._messages else time.monotonic()
                self._messages.append(message)
            self.renew()

    def renew(self) -> None:
        """Hides the messages for longer when it is time to, and drops what is not ours any more; to be called often."""
        if time.monotonic() - self._renewed_at < self._visibility_s / _RENEWALS:
            return
        self._renewed_at = time.monotonic()
        kept = []
        for message in self._messages:
            try:
                renewed = self._store.queues.renew(message, visibility_s=self._visibility_s)
            except (StorageError, NotFoundError) as error:
                _log.warning("a message could not be kept hidden: %s", error)
                renewed = message  # the next renewal may get through
            kept += [renewed] if renewed else []
        self._messages = kept

    def take(self) -> Message | None:
        """Hands one over to a slot; None when there is none left."""
        with self._guard:
            return self._messages.pop(0) if self._messages else None

    def release(self, *, delay_s: float = 0.0) -> None:
        """Makes what is left visible for other workers, after a while."""
        while message := self.take():
            try:
                self._store.queues.release(message, delay_s=delay_s)
            except (StorageError, NotFoundError) as error:
                _log.warning("a message becomes visible only in %g s: %s", self._visibility_s, error)
