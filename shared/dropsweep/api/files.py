"""Files of a job: lists, bytes, and links that read one for a while."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request, Response

from dropsweep.api import answers, models
from dropsweep.api.jobs import record_of
from dropsweep.api.paging import bad_cursor, cursor_in, cursor_out
from dropsweep.api.parameters import (
    ACCEPT_RANGES,
    CONTENT_RANGE,
    ETAG,
    MAX_PATH,
    MAX_TRIAL,
    Account,
    Cursor,
    Key,
    Limit,
    Responses,
    is_blob_path,
    responses,
)
from dropsweep.api.problems import Refused
from dropsweep.client.transfer import results_of
from dropsweep.errors import NotFoundError
from dropsweep.names import RUNS, JobKey
from dropsweep.records.codec import time_out
from dropsweep.storage import Store

router = APIRouter(tags=["files"])
_FILES: Final = "/jobs/{workspace}/{experiment}/{job}/files"

MAX_FILE_BYTES: Final = 32 * 1024 * 1024
"""Of a file in one answer: the Functions host keeps whole answers in memory."""
_DEFAULT_LIMIT: Final = 500
# What a trial wrote is shown to people in a browser, where it must neither act in the name of whoever is signed in nor
# tell anybody the key that may stand in the page's address: no script runs, and nothing is fetched.
_FETCHES_NOTHING: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_SAFE: Final = {"Content-Security-Policy": f"sandbox; {_FETCHES_NOTHING}"}
_OF_REPORT: Final = {
    "Content-Security-Policy": f"sandbox allow-scripts; script-src 'unsafe-inline'; {_FETCHES_NOTHING}"
}
"""The report is the functions' own page, and holds its own script; no trial can write it."""


@router.get(
    _FILES,
    operation_id="list_files",
    summary="List the files of a job, or of one trial with the job's results",
    response_class=Response,
    responses=responses(models.Files, 404),
)
def list_them(
    request: Request,
    store: Account,
    key: Key,
    trial: Annotated[int | None, Query(ge=0, le=MAX_TRIAL, description="this trial's, and the job's results")] = None,
    limit: Limit = _DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """In the order of their paths; with `trial` the job's results come first, on the first page and beyond `limit`."""
    place = cursor_in(cursor)
    items: list[dict[str, Any]] = []
    if not place:
        record_of(store, key)
        if trial is not None:
            items += [found for name in (*results_of(key), key.trial(trial)) if (found := _entry(store, key, name))]
    prefix = f"{key.path}/" if trial is None else key.trial_folder(trial)
    page = store.blobs.page(RUNS, prefix, limit=limit, cursor=place)
    if page is None:
        raise bad_cursor()
    items += [_told(key, found.name, found.size_bytes, time_out(found.modified)) for found in page.items]
    return answers.representation(request, {"items": items, "next": cursor_out(page.next)})


_BYTES: Final[dict[str, Any]] = {"content": {"*/*": {"schema": {}}}}
_FILE: Final[Responses] = {
    **responses(None, 404, 416, 501),
    200: {
        "description": "All of it, as the type that its writer gave it; with `link` a JSON object with `url`, which "
        "reads the file for 15 minutes without a key, and `expires`, without an ETag",
        "headers": {**ETAG, **ACCEPT_RANGES},
        **_BYTES,
    },
    206: {
        "description": f"A part of it, at most {MAX_FILE_BYTES:,} bytes",
        "headers": {**ETAG, **ACCEPT_RANGES, **CONTENT_RANGE},
        **_BYTES,
    },
}


@router.get(
    f"{_FILES}/{{path:path}}",
    operation_id="get_file",
    summary="One file of a job",
    response_class=Response,
    responses=_FILE,
)
def read(
    request: Request,
    store: Account,
    key: Key,
    path: Annotated[str, Path(max_length=MAX_PATH, description="below the job's folder; slashes stay as they are")],
    link: Annotated[bool, Query(description="answer a link that reads the file for 15 minutes without a key")] = False,
) -> Response:
    """The bytes, or those that the header Range asks for.

    Without Range a file is sent whole or not at all: 422 for a longer one than an answer holds.
    """
    if not is_blob_path(path):
        raise _no_file(key, path)
    name = f"{key.path}/{path}"
    if link:
        return _link(store, key, name)
    headers = _OF_REPORT if name == key.report else _SAFE
    found = answers.part(
        request, store, RUNS, name, limit=MAX_FILE_BYTES, otherwise="the query link=true", headers=headers
    )
    if found is None:
        raise _no_file(key, path)
    return found


def _link(store: Store, key: JobKey, name: str) -> Response:
    head = store.blobs.head(RUNS, name)
    if head is None:
        raise _no_file(key, name.removeprefix(f"{key.path}/"))
    made = store.blobs.link(RUNS, name, head.served)
    if made is None:
        raise Refused(
            501,
            "the function app reaches its storage account by a shared access signature, which cannot sign a link. "
            "Read the file itself, or give the app an identity or the account's key",
        )
    return answers.document({"url": made.url, "expires": time_out(made.expires)})


def _entry(store: Store, key: JobKey, name: str) -> dict[str, Any] | None:
    head = store.blobs.head(RUNS, name)
    return None if head is None else _told(key, name, head.size_bytes, time_out(head.modified))


def _told(key: JobKey, name: str, size_bytes: int, modified: str | None) -> dict[str, Any]:
    return {"path": name.removeprefix(f"{key.path}/"), "size_bytes": size_bytes, "modified": modified}


def _no_file(key: JobKey, path: str) -> NotFoundError:
    shown = path if path.isprintable() else ascii(path)
    return NotFoundError(f"{key.path} has no file {shown[:80]}. GET its /files lists what there is")
