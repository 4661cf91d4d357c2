"""HTTP/1.1 as the real host's web server (Kestrel) reads it: heads, bodies, and paths.

Source: RFC 9112. What can be read in two ways is refused, for whoever stands between may read it in the other one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import quote, unquote

MAX_BODY_BYTES: Final = 100 * 2**20
"""The real host's limit of a request's body; those of its headers follow."""
_MAX_REQUEST_LINE: Final = 64 * 2**10
"""More than the real host's 8 KiB, so that it is the API that says which parameter is too long."""
_MAX_HEADERS_BYTES: Final = 32 * 2**10
_MAX_HEADERS: Final = 100
_MAX_CHUNK_LINE: Final = 4096
_READ_BYTES: Final = 2**20
_END: Final = b"\r\n"
_REQUEST_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e]+) HTTP/(\d\.\d)")
_HEADER: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_ABSOLUTE: Final = re.compile(r"https?://([^/?#]*)(.*)", re.IGNORECASE)
_PLAIN: Final = "/%:@!$&'()*+,;=~"
_ENCODED_SLASH = re.compile("(%2[Ff])")
_LONE_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")


class BadRequest(Exception):
    """The request breaks the rules of HTTP; the answer is `status` and the connection ends."""

    status = 400


class TooLarge(BadRequest):
    """The body is larger than the host takes."""

    status = 413


class LineTooLong(BadRequest):
    """The request line is longer than the host takes."""

    status = 414


class HeadTooLarge(BadRequest):
    """The headers are more, or longer, than the host takes."""

    status = 431


class TooSlow(BadRequest):
    """The request was not there as a whole in time."""

    status = 408


class UnknownVersion(BadRequest):
    """The request is of another version of HTTP."""

    status = 505


class Reader(Protocol):
    """The reading side of a connection; it may give less than was asked for."""

    def read(self, size: int, /) -> bytes | None:
        """Returns at most `size` bytes; none at the end of the connection."""

    def readline(self, size: int, /) -> bytes:
        """Returns one line with its end, at most `size` bytes."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body.

    Attributes:
        method: in capitals or not, as it came.
        target: path and query, beginning with a slash; or `*`.
        headers: named in lower case; those that came twice are joined by commas. `host` is always there.
        is_last: the connection ends after the answer.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    is_last: bool


def read_head(reader: Reader) -> Head:
    """Reads a request up to its body.

    Raises:
        BadRequest: it breaks the rules, or is too long.
    """
    line = reader.readline(_MAX_REQUEST_LINE)
    if line == _END:  # some clients send one after a body
        line = reader.readline(_MAX_REQUEST_LINE)
    if not line.endswith(_END):
        raise (LineTooLong(str(len(line))) if len(line) == _MAX_REQUEST_LINE else BadRequest("no whole request line"))
    match = _REQUEST_LINE.fullmatch(line.removesuffix(_END))
    if match is None:
        raise BadRequest(f"the request line is {line[:40]!r}")
    method, target, version = (part.decode("ascii") for part in match.groups())
    if version not in ("1.0", "1.1"):
        raise UnknownVersion(version)
    headers = _read_headers(reader)
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is not None:
        # Where it was sent to stands in it then, whatever the header says (RFC 9112, section 3.2.2).
        headers["host"] = absolute[1]
        target = absolute[2] if absolute[2].startswith("/") else f"/{absolute[2]}"
    elif not target.startswith("/") and target != "*":
        raise BadRequest(f"the target is {target[:40]!r}")
    if "host" not in headers:
        raise BadRequest("there is no Host")
    if version == "1.0" and "transfer-encoding" in headers:
        raise BadRequest("HTTP/1.0 has no Transfer-Encoding")
    tokens = {token.strip().lower() for token in headers.get("connection", "").split(",")}
    return Head(method, target, headers, is_last=version == "1.0" or "close" in tokens)


def _read_headers(reader: Reader) -> dict[str, str]:
    headers: dict[str, str] = {}
    room = _MAX_HEADERS_BYTES
    for _ in range(_MAX_HEADERS + 1):
        line = reader.readline(room)
        if line == _END:
            return headers
        if not line.endswith(_END):
            raise HeadTooLarge(str(room)) if len(line) == room else BadRequest("a header without end")
        room -= len(line)
        match = _HEADER.fullmatch(line.removesuffix(_END))
        if match is None:
            # A space before the colon, a line that continues the one before, a control character.
            raise BadRequest(f"a header is {line[:40]!r}")
        name, value = match[1].decode("ascii").lower(), match[2].decode("latin-1").rstrip(" \t")
        if name == "host" and name in headers:
            raise BadRequest("there are two Hosts")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    raise HeadTooLarge(f"more than {_MAX_HEADERS} headers")


def has_body(headers: Mapping[str, str]) -> bool:
    """True when a request with these headers has a body, or at least says so."""
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def read_body(reader: Reader, headers: Mapping[str, str]) -> bytes:
    """Reads the body of a request, whose headers are named in lower case.

    Raises:
        BadRequest: its end cannot be told for certain, or the connection ended before it. TooLarge: see
            `MAX_BODY_BYTES`.
    """
    coding = headers.get("transfer-encoding")
    text = headers.get("content-length")
    if coding is not None:
        if text is not None:
            raise BadRequest("a body with Transfer-Encoding has no Content-Length")
        if coding.strip(" \t").lower() != "chunked":
            raise BadRequest(f"Transfer-Encoding is {coding[:20]!r}")
        return _read_chunks(reader)
    if text is None:
        return b""
    if not text.isascii() or not text.isdecimal():
        raise BadRequest(f"Content-Length is {text[:20]!r}")
    if len(text) > 18 or int(text) > MAX_BODY_BYTES:
        raise TooLarge(text[:20])
    return _read_exactly(reader, int(text))


def _read_chunks(reader: Reader) -> bytes:
    """Source: RFC 9112, section 7.1; extensions and trailers are read over."""
    parts: list[bytes] = []
    num_read = 0
    while True:
        size = _read_line(reader).partition(b";")[0].rstrip(b" \t")
        if re.fullmatch(b"[0-9A-Fa-f]{1,15}", size) is None:
            raise BadRequest(f"a chunk's size is {size[:20]!r}")
        num_bytes = int(size, 16)
        if num_bytes == 0:
            _read_headers(reader)
            return b"".join(parts)
        num_read += num_bytes
        if num_read > MAX_BODY_BYTES:
            raise TooLarge(str(num_read))
        parts.append(_read_exactly(reader, num_bytes))
        if _read_line(reader):
            raise BadRequest("a chunk is longer than it says")


def _read_line(reader: Reader) -> bytes:
    line = reader.readline(_MAX_CHUNK_LINE)
    if not line.endswith(_END):
        raise BadRequest("a line of a chunk without end")
    return line.removesuffix(_END)


def _read_exactly(reader: Reader, num_bytes: int) -> bytes:
    parts: list[bytes] = []
    while num_bytes:
        part = reader.read(min(num_bytes, _READ_BYTES))
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
