"""What a request makes itself depend on: the version that the client has (If-None-Match) or means (If-Match, If-Range).

Source: RFC 9110, section 13. Versions are compared strongly where something is changed or put together, weakly where
only a transfer is saved (section 8.8.3.2).
"""

import re

from fastapi import Request

from dropsweep.api.problems import Refused
from dropsweep.names import RUNS, JobKey
from dropsweep.storage import Store

_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def tags_of(text: str) -> list[str]:
    """Returns the opaque parts, in their quotes, of a header's list of entity tags, weak ones too."""
    return [tag for _, tag in _TAG.findall(text)]


def is_known(request: Request, etag: str) -> bool:
    """True when the client has this version (If-None-Match)."""
    known = request.headers.get("if-none-match", "").strip()
    return known == "*" or etag.removeprefix("W/") in tags_of(known)


def range_counts(request: Request, etag: str) -> bool:
    """True unless If-Range names another version than this one; a date never names one, for no answer tells a date."""
    meant = request.headers.get("if-range")
    return meant is None or (bool(etag) and meant.strip() == etag)


def meant_version(request: Request, store: Store, key: JobKey) -> str:
    """Compares the version of job.json with If-Match, and returns it; empty when any will do.

    Called when all else of the request is found right (section 13.2.1). A job that is not there has no version to
    compare: that there is none is for the change itself to say.

    Raises:
        Refused: 412, the job is at another version.
    """
    meant = request.headers.get("if-match", "*").strip()
    if meant == "*":
        return ""
    head = store.blobs.head(RUNS, key.record)
    if head is None:
        return ""
    if head.etag not in [tag for weak, tag in _TAG.findall(meant) if not weak]:
        raise changed(key.path)
    return head.etag


def changed(path: str) -> Refused:
    """Returns the error for a job that is at another version than the one that If-Match names."""
    return Refused(412, f"{path} is at another version than If-Match names. GET it, and decide again")
