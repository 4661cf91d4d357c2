"""The http trigger: a small web server on the loopback interface."""

import hmac
import logging
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import azure.functions as func

from dropsweep.errors import ConfigError
from local.host.config import resolve
from local.host.functions import Function, FunctionFailed, invoke

logger = logging.getLogger(__name__)

KEY_SETTING: Final = "DROPSWEEP_LOCAL_KEY"
"""App setting with the key that functions above `anonymous` ask for; unset, none is, as under `func start`."""
_MAX_BODY_BYTES: Final = 100 * 2**20
"""The real host's limit of a request's body."""
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
    compiled = re.compile(pattern + "/?", re.IGNORECASE)
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
        self._routes = [to_route(function, prefix, settings) for function in functions]
        self._key = settings.get(KEY_SETTING)
        self._stopping = stopping
        handler = type("Handler", (_Handler,), {"listener": self})
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        except OSError as error:
            raise ConfigError(f"port {port} cannot be opened ({error.strerror}). Choose another by --port") from error
        # Requests in progress are waited for when the host stops.
        self._server.daemon_threads = False
        self.port = int(self._server.server_address[1])
        for route in self._routes:
            logger.info("Functions.%s: http://127.0.0.1:%d%s", route.function.name, self.port, route.pattern.pattern)

    def listen(self) -> None:
        """Answers until `stopping` is set, then ends what it has begun."""
        threading.Thread(target=self._stop_with_host, daemon=True).start()
        self._server.serve_forever(poll_interval=0.1)
        self._server.server_close()

    def _stop_with_host(self) -> None:
        self._stopping.wait()
        self._server.shutdown()

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> func.HttpResponse:
        """Runs the function that a request is for; an answer comes in every case."""
        url = urlsplit(target)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        fitting = [(route, match) for route in self._routes if (match := route.pattern.fullmatch(url.path))]
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
            f"http://127.0.0.1:{self.port}{target}",
            headers=headers,
            params=query,
            route_params={name: unquote(value) for name, value in match.groupdict().items() if value is not None},
            body=body,
        )
        try:
            result: Any = invoke(route.function, request, "This function was called over HTTP.")
        except FunctionFailed:
            return func.HttpResponse(status_code=HTTPStatus.INTERNAL_SERVER_ERROR)
        return result if isinstance(result, func.HttpResponse) else func.HttpResponse(result)


class _Handler(BaseHTTPRequestHandler):
    """Passes each request to the listener and its answer back."""

    listener: HttpListener
    protocol_version = "HTTP/1.1"
    timeout = 30

    def _respond(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > _MAX_BODY_BYTES:
            self.close_connection = True
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        response = self.listener.answer(self.command, self.path, headers, self.rfile.read(length))
        body = response.get_body()
        self.send_response(response.status_code)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if "content-type" not in {name.lower() for name in response.headers}:
            self.send_header("Content-Type", f"{response.mimetype}; charset={response.charset}")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _respond  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Left to the log of the calls themselves."""
