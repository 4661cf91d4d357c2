"""Writes a trial's output as it is, or a JSON object for each line."""

import sys
from collections.abc import Iterable, Mapping

from dropsweep.cli.session import Session

_LONGEST_LINE_BYTES = 1024 * 1024


def write(pieces: Iterable[bytes]) -> None:
    """Writes the bytes to standard output, each piece at once."""
    for piece in pieces:
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


def write_lines(here: Session, pieces: Iterable[bytes], about: Mapping[str, object]) -> None:
    """Writes `about` with each `line`; bytes that are not UTF-8 are replaced, and a line is cut at 1 MiB."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        while len(rest) > _LONGEST_LINE_BYTES:
            lines.append(rest[:_LONGEST_LINE_BYTES])
            rest = rest[_LONGEST_LINE_BYTES:]
        for line in lines:
            here.write_line({**about, "line": line.decode(errors="replace")})
    if rest:
        here.write_line({**about, "line": rest.decode(errors="replace")})
