"""Connections of the http trigger: how many there are, how long they may take, requests in and answers out."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from http.client import responses
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any, Final

import azure.functions as func

from local.host.wire import BadRequest, TooSlow, has_body, read_body, read_head

logger = logging.getLogger(__name__)

Answer = Callable[[str, str, Mapping[str, str], bytes], func.HttpResponse]
"""Gets method, target, headers (named in lower case) and body; may raise BadRequest."""

_LOOK_S: Final = 0.2
"""How often a thread that waits looks whether the host is stopping."""
_LAST_S: Final = 2.0
"""How long a request that is on its way when the host stops may still take to arrive."""
_SEND_S: Final = 60.0
_RECEIVE_BYTES: Final = 2**18
_NO_BODY: Final = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
_BUSY: Final = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may take from all others.

    Attributes:
        num_connections: at once, each with a thread of its own; a further one is answered with 503.
        idle_s: how long a connection stays open on which nothing is asked.
        head_s: how long a request's head may take, from its first byte to its last.
        body_s: how long its body may take after that.
    """

    num_connections: int = 256
    idle_s: float = 30.0
    head_s: float = 10.0
    body_s: float = 30.0


class Server(ThreadingTCPServer):
    """Accepts connections on the loopback interface, each served by a thread of its own."""

    allow_reuse_address = True
    # Requests in progress are waited for when the host stops.
    daemon_threads = False
    # Twenty clients that come at once would find the usual five places taken, and wait a second for the next try.
    request_queue_size = 128

    def __init__(self, port: int, answer: Answer, stopping: threading.Event, limits: Limits) -> None:
        """Opens the port.

        Raises:
            OSError: it is taken.
        """
        self.answer = answer
        self.stopping = stopping
        self.limits = limits
        self._room = threading.Semaphore(limits.num_connections)
        super().__init__(("127.0.0.1", port), _Connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Gives a connection its thread, or sends it away."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        logger.warning("HTTP: more than %d connections at once; one was sent away", self.limits.num_connections)
        try:
            request.settimeout(_LOOK_S)
            request.sendall(_BUSY)
        except OSError:
            logger.info("HTTP: the client was gone before it could be sent away")
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves a connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()


class _Line:
    """The reading side of a connection: buffered, and with a time by which all must have come."""

    def __init__(self, connection: socket.socket, stopping: threading.Event) -> None:
        self._connection = connection
        self._stopping = stopping
        self._kept = bytearray()
        self._deadline_s = 0.0
        self._was_stopping = False

    def is_asked(self, idle_s: float) -> bool:
        """Waits for the first byte of a request; False when none comes, or the host is stopping."""
        deadline_s = time.monotonic() + idle_s
        while not self._kept:
            if time.monotonic() >= deadline_s or self._stopping.is_set():
                return False
            received = self._receive(_LOOK_S)
            if received == b"":
                return False
            self._kept += received or b""
        return True

    def set_time(self, seconds: float) -> None:
        """Says how long what is read from now on may take, all together."""
        self._deadline_s = time.monotonic() + seconds

    def read(self, size: int) -> bytes:
        """Returns at most `size` bytes; none at the end of the connection."""
        if not self._kept:
            self._fill()
        return self._take(min(size, len(self._kept)))

    def readline(self, size: int) -> bytes:
        """Returns one line with its end, at most `size` bytes; less at the end of the connection."""
        begin = 0
        while (end := self._kept.find(b"\n", begin, size)) < 0:
            begin = len(self._kept)
            if begin >= size or not self._fill():
                return self._take(min(size, len(self._kept)))
        return self._take(end + 1)

    def _take(self, num_bytes: int) -> bytes:
        taken = bytes(self._kept[:num_bytes])
        del self._kept[:num_bytes]
        return taken

    def _fill(self) -> bool:
        """Waits for more bytes; False at the end of the connection.

        Raises:
            TooSlow: they did not come in time.
        """
        while True:
            now_s = time.monotonic()
            if self._stopping.is_set() and not self._was_stopping:
                self._was_stopping = True
                self._deadline_s = min(self._deadline_s, now_s + _LAST_S)
            if now_s >= self._deadline_s:
                raise TooSlow("the request did not come in time")
            received = self._receive(min(_LOOK_S, self._deadline_s - now_s))
            if received is not None:
                self._kept += received
                return bool(received)

    def _receive(self, wait_s: float) -> bytes | None:
        """Returns what has come, nothing at the end of the connection, and None when nothing came yet."""
        self._connection.settimeout(wait_s)
        try:
            return self._connection.recv(_RECEIVE_BYTES)
        except TimeoutError:
            return None


class _Connection(BaseRequestHandler):
    """Passes each request on and its answer back; a connection serves one request after the other."""

    server: Server
    request: socket.socket

    def handle(self) -> None:
        """Answers until the client closes the connection, or nothing is asked for a while, or the host stops."""
        # An answer is sent at once, and not held back until what was sent before has been acknowledged.
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        line = _Line(self.request, self.server.stopping)
        try:
            while line.is_asked(self.server.limits.idle_s):
                if not self._serve(line):
                    return
        except OSError as error:
            logger.info("HTTP: a connection broke off: %s", error)

    def _serve(self, line: _Line) -> bool:
        """Answers one request; False when the connection ends with it."""
        limits = self.server.limits
        method, is_last = "", True
        try:
            line.set_time(limits.head_s)
            head = read_head(line)
            method = head.method
            if head.headers.get("expect", "").lower() == "100-continue" and has_body(head.headers):
                self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
            line.set_time(limits.body_s)
            body = read_body(line, head.headers)
            response = self.server.answer(method, head.target, head.headers, body)
            is_last = head.is_last or self.server.stopping.is_set()
        except BadRequest as error:
            logger.info("HTTP: %d: %s", error.status, error)
            response = func.HttpResponse(status_code=error.status)
        self._send(_bytes_of(response, method, is_last=is_last))
        return not is_last

    def _send(self, content: bytes) -> None:
        self.request.settimeout(_SEND_S)
        self.request.sendall(content)


def _bytes_of(response: func.HttpResponse, method: str, *, is_last: bool) -> bytes:
    """Returns an answer as it is sent."""
    status = response.status_code
    body = response.get_body()
    lines = [f"HTTP/1.1 {status} {responses.get(status, '')}", f"Date: {formatdate(usegmt=True)}"]
    skipped = ("content-length", "connection", "transfer-encoding", "date")
    lines += [f"{name}: {value}" for name, value in response.headers.items() if name.lower() not in skipped]
    if status not in _NO_BODY:
        if "Content-Type" not in response.headers:
            lines.append(f"Content-Type: {response.mimetype}; charset={response.charset}")
        # Of an answer to HEAD it is the function that knows how long the body would have been.
        told = response.headers.get("Content-Length") if method == "HEAD" else None
        lines.append(f"Content-Length: {told or len(body)}")
    if is_last:
        lines.append("Connection: close")
    head = "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1", errors="replace")
    return head if method == "HEAD" or status in _NO_BODY else head + body
