"""Queues: hints that are sent, received for a while, renewed, released and deleted."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import QueueClient, QueueMessage, QueueServiceClient

from dropsweep.storage.retrying import PATIENCE
from dropsweep.storage.translate import code_of, translated

MAX_DELAY_S: Final = 7 * 24 * 3600 - 60
"""Longest visibility timeout of the service (seven days), less a minute of slack."""
MAX_PEEKED: Final = 32
"""Most messages that the service shows at once."""
_FOREVER: Final = -1
_RENEWAL_SHARE: Final = 1 / 6
_LEAST_READ_TIMEOUT_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Message:
    """A received message; the pop receipt proves that it is still ours."""

    queue: str
    id: str
    pop_receipt: str
    text: str
    dequeue_count: int


class Queues:
    """The queues of one account. Safe to use from many threads.

    Every method may raise StorageUnavailable, StorageDenied, StorageError or NotFoundError (no such queue).
    """

    def __init__(self, service: QueueServiceClient) -> None:
        self._service = service
        self._clients: dict[str, QueueClient] = {}

    def send(self, queue: str, text: str, *, delay_s: float = 0.0) -> None:
        """Sends a message that becomes visible after `delay_s` (at most `MAX_DELAY_S`) and never expires."""
        delay = min(int(delay_s), MAX_DELAY_S)
        with translated(f"sending to queue {queue}"):
            self._queue(queue).send_message(text, visibility_timeout=delay, time_to_live=_FOREVER)

    def receive(self, queue: str, *, visibility_s: float, max_messages: int = 1) -> list[Message]:
        """Receives up to 32 visible messages and hides them for `visibility_s`; empty when there is none now."""
        with translated(f"receiving from queue {queue}"):
            found = self._queue(queue).receive_messages(
                messages_per_page=max_messages, max_messages=max_messages, visibility_timeout=int(visibility_s)
            )
            return [_message(queue, message) for message in found]

    def renew(self, message: Message, *, visibility_s: float) -> Message | None:
        """Hides a message for longer and returns it with its new receipt; None when it is not ours any more.

        An answer is waited for, and the request repeated, for a sixth of `visibility_s` only: who renews does so again
        and again, and has other things to keep alive meanwhile. When the answer of a renewal is lost that was applied,
        its receipt is lost too: the message then counts as not ours, and becomes visible after `visibility_s`.
        """
        patience_s = visibility_s * _RENEWAL_SHARE
        options = {PATIENCE: patience_s, "read_timeout": max(_LEAST_READ_TIMEOUT_S, patience_s)}
        return self._update("renewing", message, visibility_s, options)

    def release(self, message: Message, *, delay_s: float = 0.0) -> bool:
        """Makes a message visible again, after `delay_s`; False when it is not ours any more, or no answer told so."""
        return self._update("releasing", message, min(delay_s, MAX_DELAY_S), {}) is not None

    def delete(self, message: Message) -> None:
        """Settles a message; that it is not ours any more is as good, for its next reader finds the work done."""
        with translated(f"deleting a message of queue {message.queue}"):
            try:
                self._queue(message.queue).delete_message(message.id, message.pop_receipt)
            except HttpResponseError as error:
                _raise_unless_lost(error)

    def count(self, queue: str) -> int:
        """Returns about how many messages the queue has, hidden ones included."""
        with translated(f"counting queue {queue}"):
            return int(self._queue(queue).get_queue_properties().approximate_message_count or 0)

    def num_visible(self, queue: str) -> int:
        """Returns how many messages could be received now, as the platform's scalers count them.

        Exact up to 31. From 32 (`MAX_PEEKED`) on the service shows no more of them: then it is about how many the queue
        has, hidden ones included, and never below 32. One request, or two from 32 on; nothing is received or hidden.

        Source:
            KEDA's azure-queue scaler with `queueLengthStrategy: visibleonly`,
            https://keda.sh/docs/2.16/scalers/azure-storage-queue/
        """
        with translated(f"looking into queue {queue}"):
            num_peeked = len(self._queue(queue).peek_messages(max_messages=MAX_PEEKED))
        # Some may be received between the two requests: those that were seen were there.
        return num_peeked if num_peeked < MAX_PEEKED else max(num_peeked, self.count(queue))

    def has_visible(self, queue: str) -> bool:
        """True when a message could be received now."""
        with translated(f"looking into queue {queue}"):
            return bool(self._queue(queue).peek_messages(max_messages=1))

    def create_queue(self, queue: str) -> None:
        """Creates a queue; that it exists is as good."""
        with translated(f"creating queue {queue}"):
            try:
                self._queue(queue).create_queue()
            except ResourceExistsError:
                return

    def _update(self, what: str, message: Message, visibility_s: float, options: Mapping[str, Any]) -> Message | None:
        with translated(f"{what} a message of queue {message.queue}"):
            try:
                answer = self._queue(message.queue).update_message(
                    message.id, message.pop_receipt, visibility_timeout=int(visibility_s), **options
                )
            except HttpResponseError as error:
                _raise_unless_lost(error)
                return None
        return replace(message, pop_receipt=str(answer.pop_receipt))

    def _queue(self, queue: str) -> QueueClient:
        client = self._clients.get(queue)
        if client is None:
            client = self._clients[queue] = self._service.get_queue_client(queue)
        return client


def _message(queue: str, message: QueueMessage) -> Message:
    return Message(queue, message.id, str(message.pop_receipt), str(message.content), int(message.dequeue_count or 0))


def _raise_unless_lost(error: HttpResponseError) -> None:
    """A superseded receipt gives 400 PopReceiptMismatch or 404, depending on the service: the message is lost to us."""
    is_lost = isinstance(error, ResourceNotFoundError) or code_of(error) == "PopReceiptMismatch"
    if not is_lost or code_of(error) == "QueueNotFound":
        raise error
