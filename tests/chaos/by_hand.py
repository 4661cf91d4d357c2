"""A storage account whose clock is moved by hand: hours pass between two requests, and no test waits for them.

The policy sits right above the transport of everybody who uses the account. It sets the times in each answer (Date,
and Last-Modified of whatever was written through it) to the clock's, and keeps the receipts of hidden messages, which
become visible when the clock has come so far. It also hands on every write that the service applied.
"""

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from enum import StrEnum
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import HTTPPolicy
from azure.core.rest import HttpRequest, HttpResponse
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from dropsweep.names import CONTAINERS

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_LISTED: Final = re.compile(rb"<Blob>.*?</Blob>", re.DOTALL)
_LISTED_ETAG: Final = re.compile(rb"<Etag>([^<]*)</Etag>", re.IGNORECASE)
_LISTED_TIME: Final = re.compile(rb"(<Last-Modified>)[^<]*(</Last-Modified>)")
_SENT: Final = re.compile(rb"<MessageId>([^<]*)</MessageId>.*?<PopReceipt>([^<]*)</PopReceipt>", re.DOTALL)
_META: Final = "x-ms-meta-"


class Role(StrEnum):
    """Who makes requests."""

    FUNCTION = "function"
    WORKER = "worker"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Write:
    """A write of a blob that the service applied.

    Attributes:
        role: of whoever wrote it.
        path: container and name.
        body: None when only the metadata was written, or the blob deleted.
        metadata: names in lower case.
        is_deleted: the blob is gone.
    """

    role: Role
    path: str
    body: bytes | None
    metadata: Mapping[str, str]
    is_deleted: bool = False


@dataclass(frozen=True, slots=True)
class _Hidden:
    queue: str
    receipt: str
    due: datetime


class Account:
    """The account: its clock, its hidden messages, and who is told of writes.

    Attributes:
        now: the clock; whole seconds, as the service's.
        on_write: called with each applied write, before its writer has the answer.
    """

    def __init__(self, connection_string: str) -> None:
        self._blobs = BlobServiceClient.from_connection_string(connection_string)
        self._queues = QueueServiceClient.from_connection_string(connection_string)
        self._guard = threading.RLock()
        self._clear()

    def _clear(self) -> None:
        self.now = START
        self.on_write: Callable[[Write], None] = lambda _: None
        self._modified: dict[str, datetime] = {}
        self._hidden: dict[str, _Hidden] = {}

    def wipe(self) -> None:
        """Empties the account and sets its clock back."""
        for container in CONTAINERS:
            if self._blobs.get_container_client(container).exists():
                self._blobs.delete_container(container)
        for queue in list(self._queues.list_queues()):
            self._queues.delete_queue(queue)
        self._clear()

    def pass_time(self, seconds: float) -> dict[str, str]:
        """Moves the clock; what was hidden until then is visible.

        Returns:
            The new receipts of these messages, by id: a late delete works as long as nobody else has received them.
        """
        self.now += timedelta(seconds=seconds)
        shown = {}
        for message_id, hidden in list(self._hidden.items()):
            if hidden.due <= self.now:
                client = self._queues.get_queue_client(hidden.queue)
                shown[message_id] = str(
                    client.update_message(message_id, hidden.receipt, visibility_timeout=0).pop_receipt
                )
                del self._hidden[message_id]
        return shown

    def policy(self, role: Role) -> "ByHand":
        """Returns what must stand last among the policies of everybody who uses the account."""
        return ByHand(self, role)

    def answered(self, role: Role, request: HttpRequest, response: HttpResponse) -> None:
        """Takes note of an answer and sets its times."""
        url = urlsplit(request.url)
        _, _, path = unquote(url.path).lstrip("/").partition("/")  # the emulator's paths begin with the account
        is_blob = path.partition("/")[0] in CONTAINERS
        with self._guard:
            if response.status_code < 300:
                if is_blob:
                    self._blob(role, request, path, response)
                else:
                    self._queue(request, path, response)
            if "Date" in response.headers:
                response.headers["Date"] = _http_time(self.now)

    def _blob(self, role: Role, request: HttpRequest, path: str, response: HttpResponse) -> None:
        etag = response.headers.get("ETag", "").strip('"')
        if request.method == "DELETE":
            self.on_write(Write(role, path, None, {}, is_deleted=True))
        elif request.method == "PUT" and "/" in path:
            self._modified[etag] = self.now
            metadata = {
                name.lower().removeprefix(_META): value
                for name, value in request.headers.items()
                if name.lower().startswith(_META)
            }
            is_touch = request.query.get("comp") == "metadata"
            self.on_write(Write(role, path, None if is_touch else _body(request), metadata))
        elif request.query.get("comp") == "list":
            # Set, for the SDK has no other way to change what it will decode.
            response._content = _LISTED.sub(self._set_listed, response.read())  # type: ignore[attr-defined]
        if etag in self._modified:
            response.headers["Last-Modified"] = _http_time(self._modified[etag])

    def _set_listed(self, found: re.Match[bytes]) -> bytes:
        etag = _LISTED_ETAG.search(found[0])
        modified = self._modified[etag[1].decode().replace("&quot;", "").strip('"')] if etag else START
        return _LISTED_TIME.sub(rb"\g<1>" + _http_time(modified).encode() + rb"\g<2>", found[0])

    def _queue(self, request: HttpRequest, path: str, response: HttpResponse) -> None:
        queue, _, rest = path.partition("/")
        message_id = rest.partition("/")[2]
        hidden_s = int(request.query.get("visibilitytimeout", 0))
        if request.method == "PUT" and message_id:
            self._hide(queue, message_id, response.headers["x-ms-popreceipt"], hidden_s)
        elif request.method == "DELETE" and message_id:
            self._hidden.pop(message_id, None)
        elif rest == "messages" and request.query.get("peekonly") is None:
            for sent, receipt in _SENT.findall(response.read()):
                self._hide(queue, sent.decode(), receipt.decode(), hidden_s)

    def _hide(self, queue: str, message_id: str, receipt: str, hidden_s: int) -> None:
        self._hidden.pop(message_id, None)
        if hidden_s:
            self._hidden[message_id] = _Hidden(queue, receipt, self.now + timedelta(seconds=hidden_s))


class ByHand(HTTPPolicy[HttpRequest, HttpResponse]):
    """Passes requests on and answers back by way of the account."""

    def __init__(self, account: Account, role: Role) -> None:
        super().__init__()
        self._account = account
        self._role = role

    def send(self, request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, HttpResponse]:
        response = self.next.send(request)
        self._account.answered(self._role, request.http_request, response.http_response)
        return response


def _body(request: HttpRequest) -> bytes:
    content: Any = request.content
    if content is None:
        return b""
    if isinstance(content, bytes):
        return content
    content.seek(0)
    return bytes(content.read())


def _http_time(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)
