"""Cursors: where the following page of a list begins, as text that only this side reads."""

import base64
import binascii
from typing import Final

from dropsweep.api.problems import Refused

MAX_LIMIT: Final = 1000
DEFAULT_LIMIT: Final = 50
MAX_CURSOR: Final = 4096


def cursor_out(place: str) -> str | None:
    """Returns the cursor for a place; None when there is no following page."""
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=") if place else None


def cursor_in(cursor: str | None) -> str:
    """Reads what `cursor_out` gave; empty for the first page.

    Raises:
        Refused: it is not that.
    """
    if not cursor:
        return ""
    try:
        return base64.b64decode(f"{cursor}{'=' * (-len(cursor) % 4)}", altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise bad_cursor() from error


def bad_cursor() -> Refused:
    """Returns the error for a cursor that this side did not give."""
    return Refused(422, "cursor: it must be `next` of the page before. Begin with the first page, without a cursor")
