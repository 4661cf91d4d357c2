"""What goes wrong, as problem details (RFC 9457): one table from our errors to statuses, and no secrets."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from dropsweep import errors
from dropsweep.errors import DropsweepError, Problem, SpecError
from dropsweep.records.codec import dump

_log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
TYPES: Final = "/problems/"
"""How the `type` of every problem begins; docs/http-api.md has a row for each."""
RETRY_AFTER_S: Final = 5
_MAX_SHOWN: Final = 80
_PLAIN: Final = "/:@!$&'()*+,;=-._~"
"""What stands in the path of a URI as it is (RFC 3986, section 3.3), beside letters and digits."""
_NOT_ANSWERED: Final = "The storage account does not answer. Ask again"


@dataclass(frozen=True, slots=True)
class Kind:
    """What the answer to one class of errors is.

    Attributes:
        status: the HTTP status.
        slug: the last part of the problem's `type`.
        title: the same for all problems of this type.
        detail: what is told in place of the error's own text, where that may hold what is not the caller's business,
            such as names of hosts; empty: the error's own text is told.
    """

    status: HTTPStatus
    slug: str
    title: str
    detail: str = ""


_REFUSED = Kind(HTTPStatus.CONFLICT, "conflict", "It cannot be done as things stand")
_OURS = Kind(
    HTTPStatus.INTERNAL_SERVER_ERROR,
    "internal",
    "Something is wrong on this side",
    "The request may be right and was not carried out. The log of the functions says why",
)
_STORAGE = Kind(
    HTTPStatus.BAD_GATEWAY,
    "storage",
    "The storage service did not do what was asked",
    "The storage account refused a request of the functions. Their log says which; `dropsweep doctor` may tell why",
)

BY_CLASS: Final[Mapping[type[DropsweepError], Kind]] = {
    errors.DropsweepError: _REFUSED,
    errors.SpecError: Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "job-file", "The job file cannot be accepted"),
    errors.ConfigError: Kind(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "deployment",
        "The deployment is not set up right",
        "A setting of the function app is missing or wrong. Its log names the setting and the remedy",
    ),
    errors.NotFoundError: Kind(HTTPStatus.NOT_FOUND, "not-found", "There is no such thing"),
    errors.NoSuchJob: Kind(HTTPStatus.NOT_FOUND, "not-found", "There is no such thing"),
    errors.MessageError: Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "message", "The message cannot be read"),
    errors.StorageError: _STORAGE,
    errors.StorageUnavailable: Kind(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "storage-unavailable",
        "The storage service does not answer",
        "The request may or may not have been carried out. Send it again later, a submission with its Idempotency-Key",
    ),
    errors.StorageDenied: Kind(
        HTTPStatus.BAD_GATEWAY,
        "storage-denied",
        "The storage service refuses the functions",
        "The functions' key or identity is refused by the storage account. Give the identity the roles Storage Blob "
        "Data Contributor and Storage Queue Data Contributor",
    ),
    errors.StorageCorrupt: Kind(
        HTTPStatus.INTERNAL_SERVER_ERROR, "storage-corrupt", "A record does not hold what its writer put there"
    ),
    errors.ConflictError: _REFUSED,
    errors.SubmissionReused: Kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "submission-reused", "The Idempotency-Key was used for something else"
    ),
    errors.IllegalMove: Kind(HTTPStatus.CONFLICT, "illegal-move", "The job or trial is in no state for that"),
    errors.ClaimLost: _REFUSED,
    errors.StagingError: _OURS,
    errors.CheckpointError: _OURS,
}
"""Every class of `errors`; one that is not here is answered as the nearest class above it that is."""

_TITLES: Final[Mapping[int, tuple[str, str]]] = {
    400: ("bad-request", "The request cannot be read"),
    404: ("not-found", "There is no such thing"),
    405: ("method", "The method is not for this resource"),
    409: ("conflict", "It cannot be done as things stand"),
    412: ("changed", "It is not at the version that was named"),
    413: ("too-large", "The body is too large"),
    415: ("media-type", "The body is of a type that is not read here"),
    416: ("range", "There are no bytes in this range"),
    422: ("parameters", "The request's parameters are wrong"),
    501: ("no-links", "Links cannot be made"),
}


TOO_LONG: Final = ("too-long", "It is too long for one answer")
"""The `type` and title of a 422 that has nothing to do with parameters."""


class Refused(Exception):
    """Ends a request with a problem that no error of ours stands for.

    Attributes:
        status: the HTTP status.
        detail: what is told.
        headers: what is sent along.
        problems: all that is wrong.
        kind: the last part of the problem's `type`, and its title.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        problems: Sequence[Problem] = (),
        kind: tuple[str, str] | None = None,
    ) -> None:
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.problems = tuple(problems)
        self.kind = kind or _TITLES[status]
        super().__init__(detail)


class Told(Exception):
    """Ends a request with one of our errors and a code that tells programs more than its class does."""

    def __init__(self, error: DropsweepError, code: str) -> None:
        self.error = error
        self.code = code
        super().__init__(str(error))


def kind_of(error: DropsweepError) -> Kind:
    """Returns how an error is answered."""
    return next(BY_CLASS[base] for base in type(error).__mro__ if base in BY_CLASS)


def answer(
    request: Request,
    status: int,
    slug: str,
    title: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    problems: Sequence[Problem] = (),
    **more: str,
) -> Response:
    """Returns the answer; `more` are members beyond those of the RFC."""
    document: dict[str, Any] = {
        "type": f"{TYPES}{slug}",
        "title": title,
        "status": int(status),
        "detail": detail,
        "instance": path_of(request),
        **more,
    }
    if problems:
        document["problems"] = [problem.to_json() for problem in problems]
    told = {"Cache-Control": "no-store", **(headers or {})}
    return Response(dump(document), status_code=int(status), headers=told, media_type=MEDIA_TYPE)


def path_of(request: Request) -> str:
    """Returns the path of a request as it stands in a URI: in ASCII, and with nothing in it that a terminal acts on."""
    return quote(request.scope["path"], safe=_PLAIN, errors="replace")


def words_of(error: DropsweepError) -> str:
    """Returns what is told of one of our errors; that of one job among many is told by this within a good answer."""
    return kind_of(error).detail or str(error)


def note(what: str, error: DropsweepError) -> None:
    """Logs what is wrong on this side, all of which may be told to nobody; `what` says what failed."""
    if kind_of(error).status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("%s: %s: %s", what, type(error).__name__, error)


def of_error(request: Request, error: DropsweepError, **more: str) -> Response:
    """Returns the answer to one of our errors, and logs what is told to nobody."""
    kind = kind_of(error)
    note(f"{request.method} {path_of(request)}", error)
    detail = words_of(error)
    if kind.status == HTTPStatus.SERVICE_UNAVAILABLE and request.method == "GET":
        detail = _NOT_ANSWERED  # nothing can have been carried out
    problems = error.problems if isinstance(error, SpecError) else ()
    headers = {"Retry-After": str(RETRY_AFTER_S)} if kind.status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return answer(
        request,
        kind.status,
        kind.slug,
        kind.title,
        detail,
        headers=headers,
        problems=problems,
        kind=type(error).__name__,
        **more,
    )


def of_crash(request: Request, error: Exception) -> Response:
    """Returns the answer to what nobody foresaw, and logs it with its traceback."""
    _log.error("%s %s failed", request.method, path_of(request), exc_info=error)
    return answer(request, _OURS.status, _OURS.slug, _OURS.title, _OURS.detail)


def install(app: FastAPI) -> None:
    """Makes every error of the app a problem."""
    app.add_exception_handler(DropsweepError, _on_error)
    app.add_exception_handler(Told, _on_told)
    app.add_exception_handler(Refused, _on_refused)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_parameters)


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, DropsweepError)
    return of_error(request, error)


async def _on_told(request: Request, error: Exception) -> Response:
    assert isinstance(error, Told)
    return of_error(request, error.error, code=error.code)


async def _on_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    slug, title = error.kind
    return answer(request, error.status, slug, title, error.detail, headers=error.headers, problems=error.problems)


async def _on_http(request: Request, error: Exception) -> Response:
    """What the framework says by itself: no such route, no such method."""
    assert isinstance(error, HTTPException)
    slug, title = _TITLES.get(error.status_code, ("http", HTTPStatus(error.status_code).phrase))
    detail = {
        # What FastAPI says when the reader of JSON fails in any other way than that the body is none.
        400: "The body cannot be read as JSON: it may be nested too deeply. Send a plainer one",
        404: f"{shown(request.url.path)}: there is no such resource. The paths are listed in /api/openapi.json",
        405: f"{request.method} is not possible here. The header Allow names what is",
    }.get(error.status_code, str(error.detail))
    headers = {"Allow": _allowed(request)} if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED else error.headers
    return answer(request, error.status_code, slug, title, detail, headers=headers)


def _allowed(request: Request) -> str:
    """Returns the methods of all routes of a path; the framework names those of the first one."""
    methods: set[str] = set()
    for route in request.app.state.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            methods |= set(getattr(route, "methods", None) or ())
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))


async def _on_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if any(entry["type"] == "json_invalid" for entry in found):
        slug, title = _TITLES[400]
        return answer(request, 400, slug, title, "The body is not JSON. Correct it")
    problems = [
        Problem(
            ".".join(str(part) for part in entry["loc"]),
            shown(entry.get("input", "")) if entry["type"] != "missing" else "",
            str(entry["msg"])[:1].lower() + str(entry["msg"])[1:],
            "Correct it as /api/openapi.json says",
        )
        for entry in found
    ]
    slug, title = _TITLES[422]
    return answer(request, 422, slug, title, "\n".join(str(problem) for problem in problems), problems=problems)


def shown(value: object) -> str:
    """Returns a value in at most 80 printable characters."""
    shown = value if isinstance(value, str) and value.isprintable() else ascii(value)
    return shown if len(shown) <= _MAX_SHOWN else f"{shown[: _MAX_SHOWN - 1]}…"
