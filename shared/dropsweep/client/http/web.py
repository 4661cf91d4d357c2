"""Requests to the HTTP API: repeated where that is safe, cheap where nothing changed, and errors as ours."""

import json
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import requests
from urllib3.exceptions import NewConnectionError

from dropsweep.client.http.refusals import error_of
from dropsweep.errors import ConfigError, StorageUnavailable
from dropsweep.settings import KEY, URL
from dropsweep.storage.retrying import retry_after_s
from dropsweep.storage.transport import CONNECT_TIMEOUT_S, new_session

Json = dict[str, Any]

KEY_HEADER: Final = "x-functions-key"
READ_TIMEOUT_S: Final = 60.0
"""A list of thousands of jobs takes the functions some seconds."""
_LATER: Final = frozenset({408, 429, 502, 503, 504})
_UNPROCESSED: Final = 429
"""The only answer that vouches for nothing having been done."""
_FIRST_WAIT_S: Final = 0.25
_LONGEST_WAIT_S: Final = 8.0
_MAX_KEPT: Final = 256
_MAX_KEPT_BYTES: Final = 16 * 1024 * 1024
_MAX_ONE_KEPT_BYTES: Final = 1024 * 1024
_CHUNK_BYTES: Final = 1024 * 1024
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; the names of its headers are in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def document(self) -> Json:
        """Reads the body as a JSON object.

        Raises:
            StorageUnavailable: it is none, as when something between here and the API answers in its place.
        """
        try:
            document = json.loads(self.body)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            kind = self.headers.get("Content-Type", "no type")
            raise StorageUnavailable(
                f"the API answered with {kind} in place of JSON: something else may listen there. Look at {URL}"
            )
        return document


class Web:
    """One API. Safe to use from many threads."""

    def __init__(self, url: str, key: str | None, *, patience_s: float, read_timeout_s: float = READ_TIMEOUT_S) -> None:
        """Opens it; nothing is sent yet.

        Args:
            url: where the API is, up to and with `/api`.
            key: a function key; None: none is sent.
            patience_s: how long a request is repeated that got no answer, or one that means "later"; 0: never.
            read_timeout_s: how long an answer may stand still before its request counts as failed.

        Raises:
            ConfigError: the URL is none, or a key would be sent in the clear.
        """
        self.url = _checked(url, has_key=bool(key))
        self.has_key = bool(key)
        self._headers = {"Accept-Encoding": "identity"} | ({KEY_HEADER: key} if key else {})
        if key and not (key.isascii() and key.isprintable() and " " not in key):
            raise ConfigError(f"{KEY} is no function key: a key has no spaces and line ends. Copy it anew")
        self._patience_s = patience_s
        self._session = new_session()
        self._timeouts_s = (min(CONNECT_TIMEOUT_S, read_timeout_s), read_timeout_s)
        self._kept: OrderedDict[str, tuple[str, Answer]] = OrderedDict()
        self._num_kept_bytes = 0
        self._lock = threading.Lock()

    def get(self, *path: str | int, params: Mapping[str, Any] | None = None, also: int = 0) -> Answer:
        """Reads a resource; one that did not change since the last time is not sent again.

        Args:
            path: the parts of its path below `/api`; each is encoded.
            params: the query.
            also: a status that comes with a document, too.

        Raises:
            DropsweepError: as `error_of` says.
        """
        url = self._url(path)
        name = f"{url}?{json.dumps(params, sort_keys=True, default=str)}"
        with self._lock:
            etag, kept = self._kept.get(name, ("", None))
        answer = self._send("GET", url, params=params, headers={"If-None-Match": etag} if etag else {}, also=also)
        if answer.status == 304 and kept is not None:
            return kept
        self._keep(name, answer)
        return answer

    def _keep(self, name: str, answer: Answer) -> None:
        """Keeps an answer that can be asked for again by its ETag; the oldest ones make room."""
        with self._lock:
            _, before = self._kept.pop(name, ("", None))
            self._num_kept_bytes -= len(before.body) if before else 0
            if "ETag" not in answer.headers or len(answer.body) > _MAX_ONE_KEPT_BYTES:
                return
            self._kept[name] = (answer.headers["ETag"], answer)
            self._num_kept_bytes += len(answer.body)
            while len(self._kept) > _MAX_KEPT or self._num_kept_bytes > _MAX_KEPT_BYTES:
                _, (_, oldest) = self._kept.popitem(last=False)
                self._num_kept_bytes -= len(oldest.body)

    def get_range(
        self, *path: str | int, first: int, num_bytes: int | None = None, params: Mapping[str, Any] | None = None
    ) -> Answer:
        """Reads a file's bytes from `first` on; status 416 and no body when there are none.

        Raises:
            DropsweepError: as `error_of` says.
        """
        last = "" if num_bytes is None else str(first + num_bytes - 1)
        return self._send("GET", self._url(path), params=params, headers={"Range": f"bytes={first}-{last}"})

    def send(
        self,
        method: str,
        *path: str | int,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        is_idempotent: bool,
    ) -> Answer:
        """Sends a change.

        Args:
            method: POST, PUT, PATCH or DELETE.
            path: the parts of its path below `/api`; each is encoded.
            params: the query.
            headers: beside the key.
            body: what to send.
            is_idempotent: sending it twice does no more than sending it once; else it is repeated only if it
                certainly did not arrive.

        Raises:
            DropsweepError: as `error_of` says.
        """
        return self._send(
            method, self._url(path), params=params, headers=headers or {}, body=body, is_idempotent=is_idempotent
        )

    def fetch(self, url: str, file: Path) -> None:
        """Writes what a link leads to into a file; the key is not sent, and the link is not told in errors.

        Raises:
            StorageUnavailable: it does not answer, or not with the file.
            OSError: the file cannot be written.
        """
        host = urlsplit(url).hostname
        try:
            with self._session.get(
                url,
                headers={"Accept-Encoding": "identity"},
                stream=True,
                timeout=self._timeouts_s,
                allow_redirects=False,
            ) as response:
                if response.status_code != requests.codes.ok:
                    raise StorageUnavailable(f"{host} answers a link with {response.status_code}. Try again")
                with file.open("wb") as target:
                    for chunk in response.iter_content(_CHUNK_BYTES):
                        target.write(chunk)
        except requests.RequestException as error:
            raise StorageUnavailable(f"{host} does not answer a link: {type(error).__name__}. Try again") from None

    def _url(self, path: tuple[str | int, ...]) -> str:
        return "/".join([self.url, *(quote(str(part), safe="") for part in path)])

    def _send(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str],
        body: bytes | None = None,
        is_idempotent: bool = True,
        also: int = 0,
    ) -> Answer:
        deadline_s = time.monotonic() + self._patience_s
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                answer = self._try(method, url, params, headers, body)
            except requests.RequestException as error:
                if time.monotonic() >= deadline_s or not (is_idempotent or _was_not_sent(error)):
                    raise StorageUnavailable(
                        f"{self.url} does not answer: {_why(error)}. Is the URL right, and do the functions run?"
                    ) from error
                asked_s = 0.0
            else:
                verdict = _verdict(answer, also=also, is_idempotent=is_idempotent)
                if verdict is _Verdict.GOOD:
                    return answer
                if verdict is _Verdict.BAD or time.monotonic() >= deadline_s:
                    raise error_of(answer.status, answer.headers, answer.body, url=self.url, has_key=self.has_key)
                asked_s = retry_after_s(answer.headers)
            left_s = max(0.0, deadline_s - time.monotonic())
            time.sleep(min(left_s, asked_s + random.uniform(0.0, wait_s)))
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def _try(
        self, method: str, url: str, params: Mapping[str, Any] | None, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        response = self._session.request(
            method,
            url,
            params=params,
            headers={**self._headers, **headers},
            data=body,
            timeout=self._timeouts_s,
            # A redirect to another host would take the key there.
            allow_redirects=False,
        )
        return Answer(response.status_code, response.headers, response.content)


class _Verdict(Enum):
    """What an answer is taken for."""

    GOOD = auto()
    BAD = auto()
    LATER = auto()
    """The same request may succeed, and does no harm if the first one did."""


def _verdict(answer: Answer, *, also: int, is_idempotent: bool) -> _Verdict:
    if answer.status < 300 or answer.status in (304, 416) or (answer.status == also and _is_json(answer)):
        return _Verdict.GOOD
    may_repeat = is_idempotent or answer.status == _UNPROCESSED
    return _Verdict.LATER if answer.status in _LATER and may_repeat else _Verdict.BAD


def _is_json(answer: Answer) -> bool:
    return answer.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "application/json"


def _checked(url: str, *, has_key: bool) -> str:
    parts = urlsplit(url.strip())
    is_url = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment)
    if not is_url or parts.username or parts.password:
        raise ConfigError(
            f"{parts.scheme or 'no scheme'}://{parts.hostname or ''}{parts.path} is no API's URL: it must be like "
            f"https://NAME.azurewebsites.net/api, with no key in it. Correct {URL} or --url; the key belongs in {KEY}"
        )
    if parts.scheme == "http" and has_key and parts.hostname not in _LOOPBACK:
        raise ConfigError(
            f"http://{parts.hostname} would get the key in the clear: beyond this machine a key goes by https alone. "
            "Write https in the URL"
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _was_not_sent(error: requests.RequestException) -> bool:
    """True when there was no connection on which the request could have gone out."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    cause = error.args[0] if error.args else None
    return isinstance(getattr(cause, "reason", None), NewConnectionError)


def _why(error: requests.RequestException | None) -> str:
    """Says in a few words why there was no answer."""
    reason: object = error
    while reason is not None:
        if isinstance(reason, OSError) and reason.strerror:
            return reason.strerror
        inner = getattr(reason, "reason", None) or getattr(reason, "__cause__", None)
        first = reason.args[0] if isinstance(reason, Exception) and reason.args else None
        reason = inner or (first if isinstance(first, Exception) else None)
    return "no answer in time" if isinstance(error, requests.Timeout) else type(error).__name__
