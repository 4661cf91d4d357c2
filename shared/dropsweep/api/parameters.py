"""What the routes take: the account, names in paths, what every list and every body have in common."""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from fastapi import Depends, Path, Query, Request
from pydantic import AwareDatetime, BeforeValidator

from dropsweep.api import models
from dropsweep.api.paging import MAX_CURSOR, MAX_LIMIT
from dropsweep.api.problems import MEDIA_TYPE, Refused
from dropsweep.names import NAME_RULE, JobKey
from dropsweep.settings import Settings
from dropsweep.storage import Store

# As names.is_name and names.is_job_id have them, in the form of a JSON schema.
NAME_PATTERN: Final = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
JOB_PATTERN: Final = "^[A-Za-z0-9][A-Za-z0-9_-]{0,74}$"
MAX_TRIAL: Final = models.MAX_INTEGER
MAX_PATH: Final = 1024
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:")
_UNFIT = re.compile(r"[\\\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def _store(request: Request) -> Store:
    store: Store = request.app.state.store()
    return store


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings()
    return settings


def _rfc3339(value: object) -> object:
    """Refuses what pydantic would take for a time beside RFC 3339, such as seconds since 1970."""
    if not isinstance(value, str) or _TIME.match(value) is None:
        raise ValueError("a time is written as 2026-01-02T03:04:05Z")
    return value


Time = Annotated[AwareDatetime, BeforeValidator(_rfc3339)]
Account = Annotated[Store, Depends(_store)]
Deployment = Annotated[Settings, Depends(_settings)]
Workspace = Annotated[str, Path(pattern=NAME_PATTERN, description=f"workspace: {NAME_RULE}")]
ExperimentName = Annotated[str, Path(pattern=NAME_PATTERN, description=f"experiment: {NAME_RULE}")]
JobName = Annotated[str, Path(pattern=JOB_PATTERN, description="id of the job, with its suffix")]
TrialNumber = Annotated[int, Path(ge=0, le=MAX_TRIAL, description="number of the trial, from 0")]
AttemptNumber = Annotated[int | None, Query(ge=1, le=2**31 - 1, description="number of the attempt, from 1")]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="most items of the answer")]
Cursor = Annotated[str | None, Query(max_length=MAX_CURSOR, description="`next` of the page before")]


def _key(workspace: Workspace, experiment: ExperimentName, job: JobName) -> JobKey:
    return JobKey(workspace, experiment, job)


Key = Annotated[JobKey, Depends(_key)]


def raw_body(max_bytes: int) -> Callable[[Request], Any]:
    """Returns a dependency that reads the body as it is.

    Raises:
        Refused: 413, it is larger than `max_bytes`.
    """

    async def read(request: Request) -> bytes:
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > max_bytes:
            raise Refused(413, f"the body has {length} bytes: it must have at most {max_bytes:,}. Send less at once")
        parts: list[bytes] = []
        num_bytes = 0
        async for chunk in request.stream():
            parts.append(chunk)
            num_bytes += len(chunk)
            if num_bytes > max_bytes:
                raise Refused(413, f"the body must have at most {max_bytes:,} bytes. Send less at once")
        return b"".join(parts)

    return read


def needs_json(request: Request) -> None:
    """Lets a body through that is named JSON.

    Raises:
        Refused: 415, it is named otherwise.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Refused(415, f"Content-Type is {media_type[:80]!a}: it must be application/json. Name it so")


def is_blob_path(path: str) -> bool:
    """True for a path that leads to a blob below the folder it is appended to, and nowhere else.

    The service takes a backslash for a slash, and whoever builds a URL resolves the dots in it.
    """
    parts = path.split("/")
    return len(path) <= MAX_PATH and _UNFIT.search(path) is None and not {"", ".", ".."} & set(parts)


Responses = dict[int | str, dict[str, Any]]

_DESCRIPTIONS: Final[Mapping[int, str]] = {
    400: "The request cannot be read",
    404: "There is no such thing",
    405: "The path has no such method",
    409: "It cannot be done as things stand",
    412: "It is at another version than If-Match names",
    413: "The body is too large",
    415: "The body is of a type that is not read here",
    416: "There are no bytes in this range",
    422: "The parameters or the body are wrong; `problems` says what",
    500: "Something is wrong on this side",
    501: "Links cannot be made: the function app has no right to sign them",
    502: "The storage service refused what was asked",
    503: "The storage service does not answer; Retry-After says when to ask again",
}


def _header(name: str, description: str) -> dict[str, Any]:
    return {name: {"description": description, "schema": {"type": "string"}}}


ETAG: Final = _header("ETag", "names this version, for If-None-Match")
ACCEPT_RANGES: Final = _header("Accept-Ranges", "`bytes`: parts can be asked for by Range")
CONTENT_RANGE: Final = _header("Content-Range", "which bytes of how many these are")
_HEADERS: Final[Mapping[int, dict[str, Any]]] = {
    405: _header("Allow", "the methods that the path has"),
    416: _header("Content-Range", "how many bytes there are, after `bytes */`"),
    503: _header("Retry-After", "after how many seconds to ask again"),
}


def responses(
    ok: type[models.Document] | None,
    *problems: int,
    status: int = 200,
    description: str = "Done",
    has_version: bool = True,
    asks_storage: bool = True,
) -> Responses:
    """Returns what an operation may answer, for the OpenAPI document.

    Args:
        ok: the document of success; None: it is described elsewhere.
        problems: the statuses of its problems, besides those that every operation has.
        status: of success.
        description: of success.
        has_version: it has an ETag, and is 304 when the client has it.
        asks_storage: it asks the storage service, whose troubles are told.
    """
    told: Responses = {}
    if ok is not None:
        told[status] = {"model": ok, "description": description}
        if has_version:
            told[status]["headers"] = ETAG
    if has_version:
        told[304] = {"description": "The client has this version already (If-None-Match)", "headers": ETAG}
    told[401] = {"description": "The key is missing or wrong: the answer of the Functions host, without a body"}
    of_storage = (502, 503) if asks_storage else ()
    for code in sorted({*problems, 400, 405, 422, 500, *of_storage}):
        told[code] = {"description": _DESCRIPTIONS[code], "model": models.Problem, "content": {MEDIA_TYPE: {}}}
        if code in _HEADERS:
            told[code]["headers"] = _HEADERS[code]
    return told
