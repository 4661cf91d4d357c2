"""The connections to the account: shared by many threads, past proxies on this machine, and strict about answers."""

import http.client
from collections.abc import Mapping
from typing import IO, Any, Final, cast
from urllib.parse import urlsplit

import requests
from azure.core.pipeline.transport import RequestsTransport
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager, ProxyManager

CONNECT_TIMEOUT_S: Final = 5
_POOL_SIZE: Final = 256
"""Connections to a host that stay open between requests; with more at once, each further one is opened anew.

A trainer of 16 slots has up to 192: for a slot's trial, and for what the one before it left, four parts of a file and
two more each.
"""
_PIECE_BYTES: Final = 256 * 1024
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_PLAIN: Final = frozenset(
    {"headers", "data", "files", "timeout", "verify", "cert", "allow_redirects", "proxies", "stream"}
)
"""What the SDK's transport says of a request (azure-core 1.41). It follows redirects itself."""


def transport(read_timeout_s: float) -> RequestsTransport:
    """Returns a connection pool that many threads can share without closing each other's connections."""
    return RequestsTransport(
        session=_mounted(_ServiceSession()),
        session_owner=False,
        connection_timeout=min(CONNECT_TIMEOUT_S, read_timeout_s),
        read_timeout=read_timeout_s,
    )


def new_session() -> requests.Session:
    """Returns a session with such a pool; it follows no proxy to this machine."""
    return _mounted(_Session())


def _mounted(session: requests.Session) -> requests.Session:
    adapter = _Adapter(pool_connections=4, pool_maxsize=_POOL_SIZE)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


class _Session(requests.Session):
    """Uses the proxy that the environment names, except for addresses of this machine, which no proxy can reach."""

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        merged = super().merge_environment_settings(url, proxies, stream, verify, cert)
        return {**merged, "proxies": {}} if urlsplit(url).hostname in _LOOPBACK else merged


class _ServiceSession(_Session):
    """Sends what the SDK has made ready, without what `requests` would add to it; safe to use from many threads.

    A session merges its own headers, cookies, parameters and hooks into each request, looks for a password in the
    user's netrc file, which would take the place of the SDK's signature, and goes through the whole environment for
    proxies: more than a third of the CPU time of a call, and nothing of it is of use to a request that is signed as it
    stands and goes to one of two hosts.

    The environment is looked at once for each host.
    """

    def __init__(self) -> None:
        super().__init__()
        self.auth = _as_signed
        self._surroundings: dict[tuple[Any, ...], Mapping[str, Any]] = {}

    def request(self, method: Any, url: Any, *args: Any, **options: Any) -> requests.Response:
        """Sends a request whose body is bytes, or none; any other one as `requests` does."""
        body = options.get("data")
        others = any(options.get(name) for name in ("files", "proxies")) or options.get("allow_redirects", True)
        is_plain = not args and options.keys() <= _PLAIN and not others
        if not is_plain or not (body is None or isinstance(body, bytes)):
            return super().request(method, url, *args, **options)
        request = requests.PreparedRequest()
        request.prepare_method(method)
        request.prepare_url(url, None)
        request.prepare_headers(options.get("headers"))
        request.prepare_body(body, None)
        verify, cert, stream = options.get("verify"), options.get("cert"), bool(options.get("stream"))
        settings = {**self._around(request.url, verify, cert), "stream": stream}
        response = self.get_adapter(str(request.url)).send(request, timeout=options.get("timeout"), **settings)
        response.__class__ = _Answer
        if not stream:
            _ = response.content  # reads it, so that the connection is free for the next request
        return response

    def _around(self, url: Any, verify: Any, cert: Any) -> Mapping[str, Any]:
        """Returns the proxies and certificates with which requests go to a host."""
        parts = urlsplit(url)
        key = (parts.scheme, parts.netloc, verify, cert)
        found = self._surroundings.get(key)
        if found is None:
            found = self._surroundings[key] = dict(self.merge_environment_settings(url, {}, None, verify, cert))
        return found


def _as_signed(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Stands for a password, so that none is looked for."""
    return request


class _Answer(requests.Response):
    """Gives its body in large pieces.

    In pieces of 10 KiB, as `requests` takes them, and of 4 KiB, as the SDK does, a download costs twice the CPU time.
    """

    def iter_content(self, chunk_size: int | None = None, decode_unicode: Any = False) -> Any:
        return super().iter_content(max(chunk_size or 0, _PIECE_BYTES), decode_unicode)


class _Lines:
    """Passes the lines of an answer on and remembers the last one."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.last = b""

    def readline(self, limit: int = -1) -> bytes:
        self.last = self._stream.readline(limit)
        return self.last

    def close(self) -> None:
        self._stream.close()


class _Response(http.client.HTTPResponse):
    """An answer whose headers have come as a whole.

    Python takes the end of the connection for the end of the headers (3.11 to 3.13), and so an answer that broke off
    within them for a success with a few headers and no body.
    """

    def begin(self) -> None:
        stream = self.fp
        if stream is None:  # as the parent says: it has been closed
            return
        lines = _Lines(cast(IO[bytes], stream))
        self.fp = cast(Any, lines)
        try:
            super().begin()
        finally:
            if self.fp is not None:
                self.fp = stream
        if lines.last not in (b"\r\n", b"\n"):
            self.close()
            raise ConnectionResetError("the answer broke off within its headers")


class _Connection(HTTPConnection):
    response_class = _Response


class _TlsConnection(HTTPSConnection):
    response_class = _Response


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    """Makes connections that are strict about answers, through proxies too."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _be_strict(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        return _be_strict(super().proxy_manager_for(*args, **kwargs))


def _be_strict(manager: PoolManager) -> PoolManager:
    if type(manager) in (PoolManager, ProxyManager):  # the one for SOCKS proxies has connections of its own
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return manager
