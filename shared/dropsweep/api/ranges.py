"""Which bytes of a file a request asks for (RFC 9110, section 14)."""

import re
from dataclasses import dataclass

from fastapi import Request

_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The bytes that a request asks for.

    Attributes:
        first: the first byte, or None for the last `last` bytes.
        last: the last byte, inclusive; None: up to the end.
    """

    first: int | None
    last: int | None

    def within(self, size_bytes: int, limit: int) -> tuple[int, int]:
        """Returns where to begin and how many bytes to read, at most `limit`.

        Args:
            size_bytes: of the whole file; counts only for the last bytes of it.
            limit: bytes in one answer.
        """
        if self.first is None:
            return max(0, size_bytes - (self.last or 0)), limit
        return self.first, limit if self.last is None else min(limit, self.last - self.first + 1)


def wanted_range(request: Request) -> Wanted | None:
    """Reads the header Range; None when all is asked for.

    Several ranges at once, units other than bytes and what cannot be read are passed over, as section 14.2 allows:
    then all is asked for.
    """
    match = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if match is None:
        return None
    if match[3] is not None:
        return Wanted(None, int(match[3]))
    first, last = int(match[1]), int(match[2]) if match[2] else None
    return None if last is not None and last < first else Wanted(first, last)
