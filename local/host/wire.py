"""HTTP/1.1 as the real host's web server (Kestrel) reads it: bodies, and paths."""

import re
from collections.abc import Mapping
from typing import Final, Protocol
from urllib.parse import quote, unquote

MAX_BODY_BYTES: Final = 100 * 2**20
"""The real host's limit of a request's body."""
_MAX_LINE: Final = 4096
_PLAIN: Final = "/%:@!$&'()*+,;=~"
_ENCODED_SLASH = re.compile("(%2[Ff])")
_LONE_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")


class BadRequest(Exception):
    """The request breaks the rules of HTTP; the answer is 400 and the connection ends."""


class TooLarge(Exception):
    """The body is larger than the host takes; the answer is 413 and the connection ends."""


class Reader(Protocol):
    """The reading side of a connection; it may give less than was asked for."""

    def read(self, size: int, /) -> bytes | None:
        """Returns at most `size` bytes; none at the end of the connection."""

    def readline(self, size: int, /) -> bytes:
        """Returns one line with its end, at most `size` bytes."""


def read_body(reader: Reader, headers: Mapping[str, str]) -> bytes:
    """Reads the body of a request, whose headers are named in lower case.

    Raises:
        BadRequest: lengths that are none, or a connection that ended in between. TooLarge: see `MAX_BODY_BYTES`.
    """
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return _read_chunks(reader)
    text = headers.get("content-length", "0").strip()
    if not text.isascii() or not text.isdecimal():
        raise BadRequest(f"Content-Length is {text[:20]!r}")
    if int(text) > MAX_BODY_BYTES:
        raise TooLarge(text)
    return _read_exactly(reader, int(text))


def _read_chunks(reader: Reader) -> bytes:
    """Source: RFC 9112, section 7.1; trailers are read over."""
    body = b""
    while True:
        size = reader.readline(_MAX_LINE).partition(b";")[0].strip()
        if re.fullmatch(b"[0-9A-Fa-f]{1,15}", size) is None:
            raise BadRequest(f"a chunk's size is {size[:20]!r}")
        num_bytes = int(size, 16)
        if num_bytes == 0:
            while reader.readline(_MAX_LINE).strip():
                pass
            return body
        if len(body) + num_bytes > MAX_BODY_BYTES:
            raise TooLarge(str(num_bytes))
        body += _read_exactly(reader, num_bytes)
        if reader.readline(_MAX_LINE).strip():
            raise BadRequest("a chunk is longer than it says")


def _read_exactly(reader: Reader, num_bytes: int) -> bytes:
    parts = []
    while num_bytes:
        part = reader.read(min(num_bytes, 2**20))
        if not part:
            raise BadRequest("the connection ended before the body did")
        parts.append(part)
        num_bytes -= len(part)
    return b"".join(parts)


def decoded_path(path: str) -> str:
    """Returns a path as functions' routes see it: decoded but for `%2F`, and without dot segments.

    What is not UTF-8 stays in it as lone surrogates, which `encoded_path` turns back.

    Raises:
        BadRequest: it holds a NUL.
    """
    pieces = _ENCODED_SLASH.split(path)
    text = "".join(
        piece if _ENCODED_SLASH.fullmatch(piece) else unquote(piece, errors="surrogateescape") for piece in pieces
    )
    if "\0" in text:
        raise BadRequest("a NUL in the path")
    kept: list[str] = []
    *folders, last = text.split("/")
    for part in folders:
        if part == "..":
            kept = kept[:1] + kept[1:-1]
        elif part != ".":
            kept.append(part)
    if last == "..":
        kept = kept[:1] + kept[1:-1]
    return "/".join([*kept, "" if last in (".", "..") else last])


def encoded_path(text: str) -> str:
    """Returns a path as functions get it in their URL; what looks percent-encoded already stays as it is."""
    return _LONE_PERCENT.sub("%25", quote(text, safe=_PLAIN, errors="surrogateescape"))
