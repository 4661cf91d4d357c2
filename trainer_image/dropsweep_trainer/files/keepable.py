"""Which files of a trial the storage can keep, told before the first of them is sent."""

import os
from collections.abc import Mapping
from typing import Final

_MAX_NAME: Final = 1024
_MAX_SEGMENTS: Final = 254
"""Of a blob's name: its characters, and its parts between slashes. Source: Azure Storage, Naming and referencing
containers, blobs, and metadata."""
_MAX_HOLES_BYTES: Final = 16 * 2**30
_LEAST_SHARE: Final = 16
_BLOCK_BYTES: Final = 512
"""Unit of `st_blocks`, whatever the file system's own blocks are. Source: stat(3type)."""


def blob_name(prefix: str, path: str) -> str:
    """Returns the blob of a file: its name is bytes, and what is not UTF-8 in it is spelled out."""
    return prefix + path.encode(errors="surrogateescape").decode(errors="backslashreplace")


def why_not(prefix: str, files: Mapping[str, os.stat_result]) -> str:
    """Returns why the storage cannot keep files, or is not to; empty when it can.

    Files that are next to nothing but holes cost their trial nothing to make, and the node hours to send. A file system
    that compresses makes holes too; so what is there must be a small part of a large whole.

    Args:
        prefix: that of their blobs.
        files: by path.
    """
    for path in files:
        name = blob_name(prefix, path)
        if len(name) > _MAX_NAME or name.count("/") >= _MAX_SEGMENTS:
            return (
                f"{path[:80]!r}... has {len(path)} characters in {path.count('/') + 1} parts: as a blob's name "
                f"it would be longer than {_MAX_NAME}, or have more than {_MAX_SEGMENTS} parts. Shorten the path"
            )
    size_bytes = sum(stat.st_size for stat in files.values())
    there_bytes = sum(stat.st_blocks * _BLOCK_BYTES for stat in files.values())
    if size_bytes - there_bytes > _MAX_HOLES_BYTES and size_bytes > _LEAST_SHARE * there_bytes:
        return (
            f"files say that they have {size_bytes} bytes, and {there_bytes} are there: holes are sent as zeros. "
            "Write files without them"
        )
    return ""
