"""The connections to the account: shared by many threads, past proxies on this machine, and strict about answers."""

import http.client
from typing import IO, Any, Final, cast
from urllib.parse import urlsplit

import requests
from azure.core.pipeline.transport import RequestsTransport
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager, ProxyManager

CONNECT_TIMEOUT_S: Final = 5
_POOL_SIZE: Final = 64
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


def transport(read_timeout_s: float) -> RequestsTransport:
    """Returns a connection pool that many threads can share without closing each other's connections."""
    return RequestsTransport(
        session=new_session(),
        session_owner=False,
        connection_timeout=min(CONNECT_TIMEOUT_S, read_timeout_s),
        read_timeout=read_timeout_s,
    )


def new_session() -> requests.Session:
    """Returns a session with such a pool; it follows no proxy to this machine."""
    session = _Session()
    adapter = _Adapter(pool_connections=4, pool_maxsize=_POOL_SIZE)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


class _Session(requests.Session):
    """Uses the proxy that the environment names, except for addresses of this machine, which no proxy can reach."""

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        merged = super().merge_environment_settings(url, proxies, stream, verify, cert)
        return {**merged, "proxies": {}} if urlsplit(url).hostname in _LOOPBACK else merged


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
