"""The http trigger: a small web server on the loopback interface."""

import hmac
import logging
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

import azure.functions as func

from dropsweep.errors import ConfigError
from local.host.config import resolve
from local.host.connection import Limits, Server
from local.host.functions import Function, FunctionFailed, invoke
from local.host.wire import decoded_path, encoded_path

logger = logging.getLogger(__name__)

KEY_SETTING: Final = "DROPSWEEP_LOCAL_KEY"
"""App setting with the key that functions above `anonymous` ask for; unset, none is, as under `func start`."""
LISTENS: Final = "Now listening on: "
"""Begins the line of the log that tells where; the URL with the prefix of all routes follows."""
_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")
"""By these a program on this machine calls it."""
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
        limits: Limits | None = None,
    ) -> None:
        """Opens the port; `listen` starts to answer.

        Args:
            functions: those with an httpTrigger.
            prefix: of all routes.
            settings: the app settings, with the key.
            port: to listen on; 0: any free one.
            stopping: `listen` returns after it was set.
            limits: of connections; None: the usual ones.

        Raises:
            ConfigError: when a route is wrong or the port is taken.
        """
        # As the real host does: a fixed path comes before a parameter, and that before one that takes all the rest.
        self._routes = sorted((to_route(function, prefix, settings) for function in functions), key=_rank)
        self._key = settings.get(KEY_SETTING)
        self.stopping = stopping
        try:
            self._server = Server(port, self.answer, stopping, limits or Limits())
        except OSError as error:
            raise ConfigError(f"port {port} cannot be opened ({error.strerror}). Choose another by --port") from error
        self.port = int(self._server.server_address[1])
        self._hosts = {f"{name}:{self.port}" for name in _NAMES} | (set(_NAMES) if self.port == 80 else set())
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

        Args:
            method: in capitals.
            target: path and query.
            headers: named in lower case.
            body: as it came.

        Raises:
            BadRequest: the path is none.
        """
        if not self._is_from_here(headers):
            return func.HttpResponse(
                f"This host answers requests to {' and '.join(sorted(self._hosts))} alone, and from no page of another "
                "site. Call it by one of these names\n",
                status_code=HTTPStatus.FORBIDDEN,
            )
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

    def _is_from_here(self, headers: Mapping[str, str]) -> bool:
        """False for what a page in the developer's browser could send.

        A name that somebody else points at this machine (DNS rebinding) stands in Host, and the page's own site in
        Origin, which browsers send with everything but plain reads, whose answers the page cannot see.
        """
        origin = headers.get("origin")
        is_own = origin is None or origin.lower() in {f"http://{host}" for host in self._hosts}
        return is_own and headers.get("host", "").lower() in self._hosts


def _rank(route: Route) -> tuple[int, ...]:
    template = str(route.function.trigger.get("route") or route.function.name)
    parts = [_PARAMETER.fullmatch(part) for part in template.strip("/").split("/")]
    return tuple(0 if part is None else 2 if part["all"] else 1 for part in parts)
