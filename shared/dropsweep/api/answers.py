"""Answers with a representation: its version (ETag), whole or in part."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from fastapi import Request, Response

from dropsweep.api import conditions, ranges
from dropsweep.api.problems import TOO_LONG, Refused
from dropsweep.records.codec import dump
from dropsweep.storage import Fresh, Part, Store, Unchanged

JSON: Final = "application/json"
_REVALIDATE: Final = {"Cache-Control": "private, no-cache"}
"""May be kept, but is asked about each time: a record changes at any moment."""
_LOOK_BYTES: Final = 4 * 1024 * 1024
"""What is read at first of a file that is asked for as a whole: it may be too long to be sent."""
_NOTHING: Final = Part(b"", 0, 0, "", "")


def document(body: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Returns JSON that no cache may keep: the answer to a change."""
    told = {"Cache-Control": "no-store", **(headers or {})}
    return Response(dump(body), status_code=status, headers=told, media_type=JSON)


def representation(request: Request, body: Mapping[str, Any]) -> Response:
    """Returns JSON with the digest of its bytes as its version, or 304 when the client has it already."""
    content = dump(body)
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    if conditions.is_known(request, etag):
        return _not_modified(etag)
    return Response(content, headers={**_REVALIDATE, "ETag": etag}, media_type=JSON)


def blob(request: Request, store: Store, container: str, name: str) -> Response | None:
    """Returns a JSON blob as it lies there, under its own ETag, or 304; None when there is none. One storage request.

    When the client names one version the storage service compares it, so that nothing is read for a 304.
    """
    tags = conditions.tags_of(request.headers.get("if-none-match", ""))
    found = store.blobs.read_unless(container, name, tags[0] if len(tags) == 1 else "")
    match found:
        case None:
            return None
        case Unchanged(etag):
            return _not_modified(etag)
        case Fresh(body, etag):
            if conditions.is_known(request, etag):
                return _not_modified(etag)
            return Response(body, headers={**_REVALIDATE, "ETag": etag}, media_type=JSON)


def _not_modified(etag: str) -> Response:
    return Response(status_code=304, headers={**_REVALIDATE, "ETag": etag})


def part(
    request: Request,
    store: Store,
    container: str,
    name: str,
    *,
    limit: int,
    otherwise: str,
    headers: Mapping[str, str],
    media_type: str | None = None,
    is_always_there: bool = False,
) -> Response | None:
    """Returns the bytes of a blob that the request asks for, or 304; None when there is no blob.

    A blob that is asked for as a whole is answered with 200, and never cut. A range is answered with 206, with at most
    `limit` bytes of it: the header Content-Range tells which. HEAD tells the size, however long the blob is.

    Args:
        request: may have the headers Range, If-Range and If-None-Match.
        store: the storage account.
        container: where the blob lies.
        name: its path.
        limit: bytes in one answer.
        otherwise: how else to get a blob that is longer.
        headers: what to send along.
        media_type: of the bytes; None: what the blob's writer said.
        is_always_there: a blob that is absent counts as empty.

    Raises:
        Refused: 416, no byte of the range exists; 422, the whole was asked for and is longer than `limit`.
    """
    is_head = request.scope["dropsweep.is_head"]
    wanted = None if is_head else ranges.wanted_range(request)
    found = _read(store, container, name, wanted, 1 if is_head else limit)
    if wanted is not None and not conditions.range_counts(request, found.etag if found else ""):
        wanted, found = None, _read(store, container, name, None, limit)
    if found is None and not is_always_there:
        return None
    read = found or _NOTHING
    told = {**_REVALIDATE, **headers, "Accept-Ranges": "bytes"} | ({"ETag": read.etag} if read.etag else {})
    if read.etag and conditions.is_known(request, read.etag):
        return Response(status_code=304, headers=told)
    kind = media_type or read.content_type or "application/octet-stream"
    if is_head:
        return Response(headers={**told, "Content-Length": str(read.size_bytes)}, media_type=kind)
    if wanted is None:
        if len(read.body) < read.size_bytes:
            raise _too_long(read.size_bytes, limit, otherwise)
        return Response(read.body, headers=told, media_type=kind)
    if not read.body:
        raise Refused(
            416,
            f"the file has {read.size_bytes} bytes. Ask for some of those, or try again later",
            headers={**headers, "Content-Range": f"bytes */{read.size_bytes}"},
        )
    told["Content-Range"] = f"bytes {read.offset}-{read.offset + len(read.body) - 1}/{read.size_bytes}"
    return Response(read.body, status_code=206, headers=told, media_type=kind)


def _read(store: Store, container: str, name: str, wanted: ranges.Wanted | None, limit: int) -> Part | None:
    """Reads the bytes that are asked for, at most `limit`; of a whole that is longer just its beginning."""
    if wanted is None:
        begin = store.blobs.read_part(container, name, 0, min(limit, _LOOK_BYTES))
        if begin is None or not len(begin.body) < begin.size_bytes <= limit:
            return begin
        return store.blobs.read_part(container, name, 0, limit)
    size_bytes = 0
    if wanted.first is None:
        head = store.blobs.head(container, name)
        size_bytes = head.size_bytes if head else 0
    return store.blobs.read_part(container, name, *wanted.within(size_bytes, limit))


def _too_long(size_bytes: int, limit: int, otherwise: str) -> Refused:
    return Refused(
        422,
        f"this has {size_bytes:,} bytes, and one answer holds at most {limit:,}: it is not sent as a whole. Ask for "
        f"parts of it (Range: bytes=0-{limit - 1} is the first), or for a link to all of it ({otherwise})",
        kind=TOO_LONG,
    )
