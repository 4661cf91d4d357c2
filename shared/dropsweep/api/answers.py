"""Answers with a representation: versions (ETag), what a client has already, and parts of bytes."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request, Response

from dropsweep.api.problems import Refused
from dropsweep.records.codec import dump
from dropsweep.storage import Fresh, Part, Store, Unchanged

JSON: Final = "application/json"
_REVALIDATE: Final = {"Cache-Control": "private, no-cache"}
"""May be kept, but is asked about each time: a record changes at any moment."""
_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))")


def document(body: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Returns JSON that no cache may keep: the answer to a change."""
    told = {"Cache-Control": "no-store", **(headers or {})}
    return Response(dump(body), status_code=status, headers=told, media_type=JSON)


def representation(request: Request, body: Mapping[str, Any]) -> Response:
    """Returns JSON with the digest of its bytes as its version, or 304 when the client has it already."""
    content = dump(body)
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    if is_known(request, etag):
        return not_modified(etag)
    return Response(content, headers={**_REVALIDATE, "ETag": etag}, media_type=JSON)


def blob(request: Request, store: Store, container: str, name: str) -> Response | None:
    """Returns a JSON blob as it lies there, under its own ETag, or 304; None when there is none. One storage request.

    When the client names one version the storage service compares it, so that nothing is read for a 304.
    """
    known = request.headers.get("if-none-match", "")
    tags = tags_of(known)
    found = store.blobs.read_unless(container, name, tags[0] if len(tags) == 1 else "")
    match found:
        case None:
            return None
        case Unchanged(etag):
            return not_modified(etag)
        case Fresh(body, etag):
            if is_known(request, etag):
                return not_modified(etag)
            return Response(body, headers={**_REVALIDATE, "ETag": etag}, media_type=JSON)


def tags_of(text: str) -> list[str]:
    """Returns the opaque parts, in their quotes, of a header's list of entity tags: the comparison is weak."""
    return _TAG.findall(text)


def is_known(request: Request, etag: str) -> bool:
    """True when the client has this version (If-None-Match).

    Source: RFC 9110, section 13.1.2, with the weak comparison of section 8.8.3.2.
    """
    known = request.headers.get("if-none-match", "").strip()
    return known == "*" or etag.removeprefix("W/") in tags_of(known)


def not_modified(etag: str) -> Response:
    """Returns 304."""
    return Response(status_code=304, headers={**_REVALIDATE, "ETag": etag})


@dataclass(frozen=True, slots=True)
class Wanted:
    """The bytes that a request asks for.

    Attributes:
        first: the first byte, or None for the last `last` bytes.
        last: the last byte, inclusive; None: up to the end.
    """

    first: int | None
    last: int | None


def wanted_range(request: Request) -> Wanted | None:
    """Reads the header Range; None when all is asked for.

    Several ranges at once, units other than bytes and what cannot be read are passed over, as RFC 9110 (section 14.2)
    allows: then all is asked for.
    """
    match = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if match is None:
        return None
    if match[3] is not None:
        return Wanted(None, int(match[3]))
    first, last = int(match[1]), int(match[2]) if match[2] else None
    return None if last is not None and last < first else Wanted(first, last)


def part(
    request: Request,
    store: Store,
    container: str,
    name: str,
    *,
    limit: int,
    headers: Mapping[str, str],
    media_type: str | None = None,
    is_always_there: bool = False,
) -> Response | None:
    """Returns the bytes of a blob that the request asks for, at most `limit` of them; None when there is no blob.

    The whole blob is answered with 200, a part of it with 206. What is longer than `limit` and asked for as a whole is
    answered with its first part: the header Content-Range tells so.

    Args:
        request: may have the headers Range and If-None-Match.
        store: the storage account.
        container: where the blob lies.
        name: its path.
        limit: bytes in one answer.
        headers: what to send along.
        media_type: of the bytes; None: what the blob's writer said.
        is_always_there: a blob that is absent counts as empty.

    Raises:
        Refused: 416, no byte of the range exists.
    """
    wanted = wanted_range(request)
    if request.scope["dropsweep.is_head"]:
        return _head(store.blobs.read_part(container, name, 0, 1), headers, media_type, is_always_there)
    first, length = 0, limit
    if wanted is not None and wanted.first is None:
        found = store.blobs.head(container, name)
        if found is not None:
            first = max(0, found.size_bytes - (wanted.last or 0))
    elif wanted is not None and wanted.first is not None:
        first = wanted.first
        length = limit if wanted.last is None else min(limit, wanted.last - first + 1)
    read = store.blobs.read_part(container, name, first, length)
    if read is None and not is_always_there:
        return None
    size_bytes = read.size_bytes if read else 0
    body = read.body if read else b""
    told = {**_REVALIDATE, **headers, "Accept-Ranges": "bytes"}
    if read is not None:
        told["ETag"] = read.etag
        if is_known(request, read.etag):
            return Response(status_code=304, headers=told)
    if wanted is not None and not body:
        beyond = {**headers, "Content-Range": f"bytes */{size_bytes}"}
        raise Refused(
            416, f"the file has {size_bytes} bytes. Ask for some of those, or try again later", headers=beyond
        )
    kind = media_type or (read.content_type if read else "") or "application/octet-stream"
    if wanted is None and len(body) == size_bytes:
        return Response(body, headers=told, media_type=kind)
    told["Content-Range"] = f"bytes {first}-{first + len(body) - 1}/{size_bytes}"
    return Response(body, status_code=206, headers=told, media_type=kind)


def _head(
    read: Part | None, headers: Mapping[str, str], media_type: str | None, is_always_there: bool
) -> Response | None:
    """Returns what `part` would say of a whole file, without its bytes."""
    if read is None and not is_always_there:
        return None
    told = {**_REVALIDATE, **headers, "Accept-Ranges": "bytes", "Content-Length": str(read.size_bytes if read else 0)}
    if read is not None:
        told["ETag"] = read.etag
    kind = media_type or (read.content_type if read else "") or "application/octet-stream"
    return Response(headers=told, media_type=kind)
