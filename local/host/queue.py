"""The queue trigger: fetches messages, runs the function, settles each message by how it ended."""

import base64
import binascii
import logging
import math
import threading
import time
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Final

from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.functions.queue import QueueMessage
from azure.storage.queue import QueueMessage as StoredMessage
from azure.storage.queue import QueueServiceClient

from dropsweep.names import poison_queue
from local.host.config import QueueLimits
from local.host.functions import Function, FunctionFailed, invoke

logger = logging.getLogger(__name__)

HIDDEN_S: Final = 30
"""How long a running message stays hidden without renewal. The real host hides for 600 s; here a host that was killed
and started again must not wait ten minutes for the messages that it held."""
_LEAST_POLLING_S: Final = 0.02
_TROUBLE_S: Final = 1.0
"""Pause after the service refused or could not be reached."""


@dataclass(slots=True)
class _Held:
    """A message that this host hides; `lock` guards the receipt, which each renewal replaces."""

    message: StoredMessage
    receipt: str
    renew_at: float
    is_settled: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class QueueListener:
    """Runs one function for the messages of one queue."""

    def __init__(
        self,
        function: Function,
        queue: str,
        service: QueueServiceClient,
        limits: QueueLimits,
        executor: Executor,
        stopping: threading.Event,
        *,
        hidden_s: int = HIDDEN_S,
        stirred: threading.Event | None = None,
    ) -> None:
        """Prepares; `listen` starts it.

        Args:
            function: gets each message as `azure.functions.QueueMessage`.
            queue: need not exist yet.
            service: of the account that holds the queue.
            limits: from host.json.
            executor: runs the function; shared by all listeners.
            stopping: when set, nothing more is fetched.
            hidden_s: how long a running message stays hidden without renewal; at least 2.
            stirred: when set, a pause between two looks ends, and it is cleared; only for pauses below a second.
        """
        self._function = function
        self._queue = queue
        self._service = service
        self._client = service.get_queue_client(queue)
        self._limits = limits
        self._executor = executor
        self._stopping = stopping
        self._hidden_s = hidden_s
        self._stirred = stirred
        # As the real host: what fails in a poison queue stays there and is tried again, for ever.
        self._max_deliveries = math.inf if queue.endswith(poison_queue("")) else limits.max_dequeue_count
        self._renew_each_s = hidden_s / 3
        self._held: dict[str, _Held] = {}
        self._freed = threading.Condition()
        self._drained = threading.Event()

    def listen(self) -> None:
        """Fetches and runs until `stopping` is set, then waits for what is running; gives back what had not begun."""
        threading.Thread(target=self._keep_hidden, name=f"renew-{self._queue}", daemon=True).start()
        # What functions of triggers send is told of: to look again in ever longer pauses would tell of the rest alone.
        least_s = _LEAST_POLLING_S if self._stirred is None else self._limits.max_polling_interval_s
        wait_s = least_s
        while not self._stopping.is_set():
            with self._freed:
                if not self._freed.wait_for(lambda: len(self._held) <= self._limits.new_batch_threshold, timeout=0.2):
                    continue
            try:
                messages = self._fetch()
            except AzureError as error:
                logger.warning("queue %s cannot be read, trying again: %s", self._queue, str(error).splitlines()[0])
                self._stopping.wait(_TROUBLE_S)
                continue
            for message in messages:
                self._start(message)
            if messages:
                wait_s = least_s
            if len(messages) < self._limits.batch_size:  # the queue is empty now
                self._pause(wait_s)
                wait_s = min(2 * wait_s, self._limits.max_polling_interval_s)
        with self._freed:
            self._freed.wait_for(lambda: not self._held)
        self._drained.set()

    def _pause(self, wait_s: float) -> None:
        if self._stirred is None:
            self._stopping.wait(wait_s)
        elif self._stirred.wait(wait_s):
            self._stirred.clear()

    def _fetch(self) -> list[StoredMessage]:
        # By page: the plain iterator asks again until the queue is empty, which costs a second request each time.
        pages = self._client.receive_messages(
            messages_per_page=self._limits.batch_size, visibility_timeout=self._hidden_s
        ).by_page()
        try:
            return list(next(pages, []))
        except ResourceNotFoundError:
            return []  # as the real host: a queue that is not there yet is an empty one

    def _start(self, message: StoredMessage) -> None:
        held = _Held(message, str(message.pop_receipt), time.monotonic() + self._renew_each_s)
        with self._freed:
            self._held[str(message.id)] = held
        self._executor.submit(self._run, held)

    def _run(self, held: _Held) -> None:
        try:
            if self._stopping.is_set():
                self._hide_for(held, 0)
            elif (held.message.dequeue_count or 0) > self._max_deliveries:
                self._bury(held)  # each of its tries ended with the host
            else:
                self._try(held)
        except AzureError as error:
            # The message comes back by itself when its time is over.
            logger.warning(
                "message %s of %s was not settled: %s", held.message.id, self._queue, str(error).splitlines()[0]
            )
        finally:
            self._forget(held)

    def _try(self, held: _Held) -> None:
        try:
            value = self._to_function(held.message)
        except ValueError:
            logger.error("message %s of %s is not base64, as host.json says it is", held.message.id, self._queue)
            self._bury(held)
            return
        try:
            invoke(self._function, value, f"New queue message detected on '{self._queue}'.")
        except FunctionFailed:
            if (held.message.dequeue_count or 0) >= self._max_deliveries:
                self._bury(held)
            else:
                self._hide_for(held, self._limits.visibility_timeout_s)
        else:
            self._delete(held)

    def _to_function(self, message: StoredMessage) -> QueueMessage:
        body: str | bytes = str(message.content)
        if self._limits.is_base64:
            try:
                body = base64.b64decode(body, validate=True)
            except binascii.Error as error:
                raise ValueError(str(error)) from error
        return QueueMessage(  # type: ignore[no-untyped-call]  # the library has no types here
            id=message.id,
            body=body,
            dequeue_count=message.dequeue_count,
            expiration_time=message.expires_on,
            insertion_time=message.inserted_on,
            time_next_visible=message.next_visible_on,
            pop_receipt=message.pop_receipt,
        )

    def _delete(self, held: _Held) -> None:
        with held.lock:
            held.is_settled = True
            try:
                self._client.delete_message(str(held.message.id), held.receipt)
            except HttpResponseError as error:
                if error.status_code not in (400, 404):
                    raise
                logger.warning("message %s of %s was taken by another host meanwhile", held.message.id, self._queue)

    def _hide_for(self, held: _Held, timeout_s: float) -> None:
        with held.lock:
            held.is_settled = True
            self._client.update_message(str(held.message.id), held.receipt, visibility_timeout=round(timeout_s))

    def _bury(self, held: _Held) -> None:
        name = poison_queue(self._queue)
        poison = self._service.get_queue_client(name)
        try:
            poison.send_message(held.message.content)
        except ResourceNotFoundError:
            poison.create_queue()
            poison.send_message(held.message.content)
        self._delete(held)
        logger.error(
            "Message has reached MaxDequeueCount of %d. Moved message %s to queue '%s'.",
            self._limits.max_dequeue_count,
            held.message.id,
            name,
        )

    def _forget(self, held: _Held) -> None:
        with self._freed:
            self._held.pop(str(held.message.id), None)
            self._freed.notify_all()

    def _keep_hidden(self) -> None:
        while not self._drained.wait(self._renew_each_s / 5):
            with self._freed:
                held_now = list(self._held.values())
            for held in held_now:
                if time.monotonic() >= held.renew_at:
                    self._renew(held)

    def _renew(self, held: _Held) -> None:
        with held.lock:
            if held.is_settled:
                return
            try:
                message_id = str(held.message.id)
                renewed = self._client.update_message(message_id, held.receipt, visibility_timeout=self._hidden_s)
            except AzureError as error:
                logger.warning("message %s of %s was not renewed: %s", held.message.id, self._queue, error)
                held.renew_at = time.monotonic() + _TROUBLE_S
                return
            held.receipt = str(renewed.pop_receipt)
            held.renew_at = time.monotonic() + self._renew_each_s
