"""What the HTTP API refuses, as the error that the same work on the storage account raises."""

import inspect
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from dropsweep import errors
from dropsweep.errors import (
    ConfigError,
    ConflictError,
    DropsweepError,
    NotFoundError,
    Problem,
    Severity,
    SpecError,
    StorageDenied,
    StorageError,
    StorageUnavailable,
)
from dropsweep.settings import KEY, URL

_PROBLEM: Final = "application/problem+json"
_KINDS: Final[Mapping[str, type[DropsweepError]]] = {
    name: kind
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, DropsweepError) and kind not in (SpecError, ConfigError)
}
"""The classes that an answer may name. A setting that is wrong over there is none of this side's."""
_BY_STATUS: Final[Mapping[int, type[DropsweepError]]] = {
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.PRECONDITION_FAILED: ConflictError,
    HTTPStatus.REQUEST_TIMEOUT: StorageUnavailable,
    HTTPStatus.TOO_MANY_REQUESTS: StorageUnavailable,
    HTTPStatus.BAD_GATEWAY: StorageUnavailable,
    HTTPStatus.SERVICE_UNAVAILABLE: StorageUnavailable,
    HTTPStatus.GATEWAY_TIMEOUT: StorageUnavailable,
}


class NotBegun(NotFoundError):
    """A trial that may still begin; for those who wait for it."""


class NoSuchPath(NotFoundError):
    """The API has nothing of this path, whatever it names: one of an earlier version may lack what a later one has."""


def error_of(status: int, headers: Mapping[str, str], body: bytes, *, url: str, has_key: bool) -> DropsweepError:
    """Returns the error for an answer that is no success.

    Args:
        status: its HTTP status.
        headers: its headers.
        body: problem details (RFC 9457), or whatever stands between here and the API says.
        url: the API, for the message.
        has_key: whether a key was sent.
    """
    if status == HTTPStatus.UNAUTHORIZED or (status == HTTPStatus.FORBIDDEN and _PROBLEM not in _type(headers)):
        return _denied(url, has_key=has_key)
    if 300 <= status < 400:
        there = headers.get("Location", "").partition("?")[0]
        return ConfigError(f"{url} leads elsewhere ({status}), to {there}: a redirect is not followed. Name that URL")
    document = _document(headers, body)
    if document is None:
        return _foreign(status, url)
    detail = str(document.get("detail") or document.get("title") or f"the API answered with {status}")
    kind = document.get("kind")
    if kind == SpecError.__name__:
        return SpecError(problems_in(document.get("problems")) or (Problem("", "", detail, "Correct it"),))
    if document.get("code") == "not_begun":
        return NotBegun(detail)
    if status == HTTPStatus.NOT_FOUND and kind is None:
        return NoSuchPath(detail)
    named = _KINDS.get(kind) if isinstance(kind, str) else None
    fallback = _BY_STATUS.get(status, StorageError if status >= HTTPStatus.INTERNAL_SERVER_ERROR else DropsweepError)
    found = named or fallback
    # Of the two that may not answer it is the one behind the API.
    return found(f"{url}: {detail}" if issubclass(found, StorageUnavailable) else detail)


def problems_in(document: object) -> tuple[Problem, ...]:
    """Reads the problems of a job file; what is none is left out."""
    found = []
    for entry in document if isinstance(document, list) else []:
        try:
            known = {name: str(entry[name]) for name in ("path", "value", "rule", "remedy")}
            found.append(Problem(**known, severity=Severity(entry["severity"])))
        except (KeyError, TypeError, ValueError):
            continue
    return tuple(found)


def _type(headers: Mapping[str, str]) -> str:
    return headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _document(headers: Mapping[str, str], body: bytes) -> dict[str, Any] | None:
    if _type(headers) != _PROBLEM:
        return None
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _denied(url: str, *, has_key: bool) -> StorageDenied:
    if has_key:
        return StorageDenied(f"{url} refuses the key in {KEY}. Copy a function key anew, of this very function app")
    return StorageDenied(f"{url} asks for a key and got none. Set {KEY} to a function key")


def _foreign(status: int, url: str) -> DropsweepError:
    if status in _BY_STATUS and _BY_STATUS[status] is StorageUnavailable:
        return StorageUnavailable(f"{url} answers, but with {status}: the functions may be starting. Try again")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return StorageError(f"{url} answers with {status}: something is wrong on that side. Look at the functions' log")
    return ConfigError(
        f"{url} answers with {status} and not as Dropsweep's API does: its URL ends in /api, as in "
        f"https://NAME.azurewebsites.net/api. Correct {URL} or --url"
    )
