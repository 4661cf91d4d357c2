"""The http trigger: a small web server on the loopback interface."""

import hmac
import logging
import re
import select
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl

import azure.functions as func

from dropsweep.errors import ConfigError
from local.host.config import resolve
from local.host.functions import Function, FunctionFailed, invoke
from local.host.wire import BadRequest, TooLarge, decoded_path, encoded_path, read_body

logger = logging.getLogger(__name__)

KEY_SETTING: Final = "DROPSWEEP_LOCAL_KEY"
"""App setting with the key that functions above `anonymous` ask for; unset, none is, as under `func start`."""
LISTENS: Final = "Now listening on: "
"""Begins the line of the log that tells where; the URL with the prefix of all routes follows."""
_IDLE_S: Final = 30.0
"""How long a connection stays open on which nothing is asked."""
_LOOK_S: Final = 0.2
_NO_BODY: Final = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
_PARAMETER = re.compile(r"\{(?P<all>\*)?(?P<name>\w+)(?::(?P<kind>\w+))?(?P<optional>\?)?\}")
_KINDS: Final = {"int": r"-?\d+", "alpha": "[A-Za-z]+", "guid": "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"}
_ALL_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


@dataclass(frozen=True, slots=True)
class Route:
    """One function's paths and methods."""

    function: Function
    pattern: re.Pattern[str]
    methods: frozenset[str]
    needs_key: bool


def to_route(function: Function, prefix: str, settings: Mapping[str, str]) -> Route:
    """Reads the function's binding.

    Raises:
        ConfigError: when its route template holds what this host does not know.
    """
    trigger = function.trigger
    template = resolve(str(trigger.get("route") or function.name), settings)
    pattern = f"/{re.escape(prefix)}" if prefix else ""
    for part in template.strip("/").split("/"):
        parameter = _PARAMETER.fullmatch(part)
        if parameter is None:
            if "{" in part:
                raise ConfigError(
                    f"route {template!r}: a parameter must fill a whole part of the path. Change {part!r}"
                )
            pattern += f"/{re.escape(part)}"
            continue
        kind = parameter["kind"]
        if kind and kind not in _KINDS:
            raise ConfigError(f"route {template!r}: {kind!r} must be one of {', '.join(_KINDS)}. Change {part!r}")
        value = ".*" if parameter["all"] else _KINDS.get(kind, "[^/]+")
        piece = f"/(?P<{parameter['name']}>{value})"
        pattern += f"(?:{piece})?" if parameter["optional"] or parameter["all"] else piece
    methods = frozenset(str(getattr(method, "value", method)).upper() for method in trigger.get("methods") or ())
    level = str(getattr(trigger.get("authLevel"), "value", trigger.get("authLevel") or "function"))
    # Routes of the real host do not tell upper case from lower case.
    compiled = re.compile(pattern + "/?", re.IGNORECASE | re.DOTALL)
    return Route(function, compiled, methods or _ALL_METHODS, level.lower() != "anonymous")


class HttpListener:
    """Answers the requests of all HTTP functions."""

    def __init__(
        self,
        functions: Sequence[Function],
        prefix: str,
        settings: Mapping[str, str],
        port: int,
        stopping: threading.Event,
    ) -> None:
        """Opens the port; `listen` starts to answer.

        Raises:
            ConfigError: when a route is wrong or the port is taken.
        """
        # As the real host does: a fixed path comes before a parameter, and that before one that takes all the rest.
        self._routes = sorted((to_route(function, prefix, settings) for function in functions), key=_rank)
        self._key = settings.get(KEY_SETTING)
        self.stopping = stopping
        handler = type("Handler", (_Handler,), {"listener": self})
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        except OSError as error:
            raise ConfigError(f"port {port} cannot be opened ({error.strerror}). Choose another by --port") from error
        # Requests in progress are waited for when the host stops.
        self._server.daemon_threads = False
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}/{prefix}".rstrip("/")
        logger.info("%s%s", LISTENS, self.url)
        for route in self._routes:
            logger.info("Functions.%s: http://127.0.0.1:%d%s", route.function.name, self.port, route.pattern.pattern)

    def listen(self) -> None:
        """Answers until `stopping` is set, then ends what it has begun."""
        threading.Thread(target=self._stop_with_host, daemon=True).start()
        self._server.serve_forever(poll_interval=0.1)
        self._server.server_close()

    def _stop_with_host(self) -> None:
        self.stopping.wait()
        self._server.shutdown()

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> func.HttpResponse:
        """Runs the function that a request is for; an answer comes in every case but one.

        Raises:
            BadRequest: the path is none.
        """
        raw, mark, raw_query = target.partition("?")
        path = decoded_path(raw)
        query = dict(parse_qsl(raw_query, keep_blank_values=True))
        fitting = [(route, match) for route in self._routes if (match := route.pattern.fullmatch(path))]
        allowed = [(route, match) for route, match in fitting if method in route.methods]
        if not allowed:
            # The real host answers 404 in both cases.
            return func.HttpResponse(status_code=HTTPStatus.NOT_FOUND)
        route, match = allowed[0]
        given = headers.get("x-functions-key") or query.get("code") or ""
        if route.needs_key and self._key and not hmac.compare_digest(given.encode(), self._key.encode()):
            return func.HttpResponse(status_code=HTTPStatus.UNAUTHORIZED)
        request = func.HttpRequest(
            method,
            f"http://127.0.0.1:{self.port}{encoded_path(path)}{mark}{raw_query}",
            headers=headers,
            params=query,
            route_params={name: value for name, value in match.groupdict().items() if value is not None},
            body=body,
        )
        try:
            result: Any = invoke(route.function, request, "This function was called over HTTP.")
        except FunctionFailed:
            return func.HttpResponse(status_code=HTTPStatus.INTERNAL_SERVER_ERROR)
        return result if isinstance(result, func.HttpResponse) else func.HttpResponse(result)


def _rank(route: Route) -> tuple[int, ...]:
    template = str(route.function.trigger.get("route") or route.function.name)
    parts = [_PARAMETER.fullmatch(part) for part in template.strip("/").split("/")]
    return tuple(0 if part is None else 2 if part["all"] else 1 for part in parts)


class _Handler(BaseHTTPRequestHandler):
    """Passes each request to the listener and its answer back; a connection serves one request after the other."""

    listener: HttpListener
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S
    # Unbuffered, so that whether something is asked can be seen on the socket itself.
    rbufsize = 0
    # An answer is sent at once and as one: its parts would wait for each other's acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Answers until the client closes the connection, or nothing is asked for a while, or the host stops."""
        self.close_connection = True
        while self._is_asked():
            self.handle_one_request()
            if self.close_connection:
                return

    def _is_asked(self) -> bool:
        deadline = time.monotonic() + _IDLE_S
        while time.monotonic() < deadline and not self.listener.stopping.is_set():
            if select.select([self.connection], [], [], _LOOK_S)[0]:
                return True
        return False

    def _respond(self) -> None:
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            known = headers.get(name.lower())
            headers[name.lower()] = value if known is None else f"{known},{value}"
        try:
            response = self.listener.answer(self.command, self.path, headers, read_body(self.rfile, headers))
        except (BadRequest, TooLarge) as error:
            self.close_connection = True
            is_large = isinstance(error, TooLarge)
            self._send(func.HttpResponse(status_code=HTTPStatus.REQUEST_ENTITY_TOO_LARGE if is_large else 400))
            return
        self._send(response)

    def _send(self, response: func.HttpResponse) -> None:
        body = response.get_body()
        self.send_response(response.status_code)
        for name, value in response.headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        if response.status_code not in _NO_BODY:
            if "Content-Type" not in response.headers:
                self.send_header("Content-Type", f"{response.mimetype}; charset={response.charset}")
            # Of an answer to HEAD it is the function that knows how long the body would have been.
            told = response.headers.get("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", told or str(len(body)))
        if self.listener.stopping.is_set():
            self.close_connection = True
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD" and response.status_code not in _NO_BODY:
            self.wfile.write(body)
        self.wfile.flush()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = _respond  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Left to the log of the calls themselves."""
