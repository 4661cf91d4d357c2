"""Looks at the account itself: whether it answers, who asks, what stands in its queues; changes and hides nothing."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from itertools import islice
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from azure.core.exceptions import HttpResponseError

from dropsweep.errors import NotFoundError
from dropsweep.storage.retrying import PATIENCE
from dropsweep.storage.store import Store
from dropsweep.storage.translate import translated

PATIENCE_S: Final = 3.0
"""How long a first request is repeated: who asks whether the account is well waits for the answer."""
_READ_TIMEOUT_S: Final = 5.0
_HASTE: Final[Mapping[str, Any]] = {PATIENCE: PATIENCE_S, "read_timeout": _READ_TIMEOUT_S}
_NO_BLOB: Final = ".none"
MAX_QUEUES: Final = 2000
MAX_PEEKED: Final = 32
"""The most messages that the service shows at once."""


@dataclass(frozen=True, slots=True)
class Access:
    """How a service is reached.

    Attributes:
        url: its address, without a signature.
        identity: what proves who asks: `account key`, `shared access signature` or `identity`.
    """

    url: str
    identity: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer tells besides its content.

    Attributes:
        served: its Date, by the service's clock (whole seconds); None when it had none.
        took_s: seconds from the request to its answer; the first one includes the making of the connection.
    """

    served: datetime | None
    took_s: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """What stands in a queue.

    Attributes:
        num_messages: about how many messages it has, hidden ones included.
        num_visible: how many could be received now, as far as `MAX_PEEKED`.
        oldest: when the oldest of these was sent, by the service's clock; None without one. A message that was
            received and given back keeps its time.
    """

    num_messages: int
    num_visible: int
    oldest: datetime | None


def blob_access(store: Store) -> Access:
    """Returns how the blobs are reached; sends nothing."""
    return _access(store.blobs._service)


def queue_access(store: Store) -> Access:
    """Returns how the queues are reached; sends nothing."""
    return _access(store.queues._service)


def reach(store: Store, container: str, name: str) -> Answer:
    """Asks whether there is a blob, and for nothing but the answer; the request is repeated for 3 s at most.

    That there is no such blob, or no such container, is an answer.

    Raises:
        StorageUnavailable, StorageDenied, StorageError.
    """
    clock = _Clock()
    with translated(f"looking at {container}/{name}"):
        store.blobs._service.get_blob_client(container, name).exists(raw_response_hook=clock, **_HASTE)
    return clock.answer()


def has_container(store: Store, container: str) -> bool:
    """True when there is such a container; one operation.

    Raises:
        StorageUnavailable, StorageDenied, StorageError.
    """
    try:
        # A blob's properties and not the container's own: a role on one container allows no more.
        store.blobs.head(container, _NO_BLOB)
    except NotFoundError:
        return False
    return True


def container_made(store: Store, container: str) -> datetime | None:
    """Returns when a container was made, or its own properties last changed; None when it may not be asked for them.

    Raises:
        NotFoundError: there is no such container. StorageUnavailable, StorageError.
    """
    with translated(f"looking at {container}"):
        try:
            found = store.blobs._service.get_container_client(container).get_container_properties()
        except HttpResponseError as error:
            if error.status_code != HTTPStatus.FORBIDDEN:
                raise
            return None
    return found.last_modified


def queue_names(store: Store) -> tuple[list[str], bool]:
    """Lists the account's queues in the order of their names; the request is repeated for 3 s at most.

    Returns:
        The names of the first `MAX_QUEUES`, and whether these are all.

    Raises:
        StorageUnavailable, StorageDenied, StorageError.
    """
    with translated("listing the queues"):
        found = [str(queue.name) for queue in islice(store.queues._service.list_queues(**_HASTE), MAX_QUEUES + 1)]
    return found[:MAX_QUEUES], len(found) <= MAX_QUEUES


def waiting(store: Store, queue: str) -> Waiting:
    """Returns what stands in a queue; two operations, one for an empty queue.

    Raises:
        NotFoundError: there is no such queue. StorageUnavailable, StorageDenied, StorageError.
    """
    num_messages = store.queues.count(queue)
    if not num_messages:
        return Waiting(0, 0, None)
    with translated(f"looking into queue {queue}"):
        shown = store.queues._queue(queue).peek_messages(max_messages=MAX_PEEKED)
    sent = [message.inserted_on for message in shown if message.inserted_on is not None]
    return Waiting(max(num_messages, len(shown)), len(shown), min(sent, default=None))


class _Clock:
    """Times one request and keeps the Date of its answer."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._served: datetime | None = None

    def __call__(self, response: Any) -> None:
        date = response.http_response.headers.get("Date")
        self._served = parsedate_to_datetime(date) if date else None

    def answer(self) -> Answer:
        return Answer(self._served, time.monotonic() - self._began_s)


def _access(service: Any) -> Access:
    parts = urlsplit(str(service.url))
    credential = service.credential
    if hasattr(credential, "account_key"):
        identity = "account key"
    elif "sig" in parse_qs(parts.query):
        identity = "shared access signature"
    else:
        identity = "identity"
    return Access(f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/"), identity)
