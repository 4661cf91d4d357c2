"""Snapshots of code: folders in the container `code`, each under the digest of what is in it.

Who uploads one takes the digest; who runs it takes it again, so that nothing else can be put under it unseen.
"""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

SNAPSHOTS: Final = "sha256"
"""Folder in the container `code` that holds every snapshot."""
_CHUNK_BYTES: Final = 1024 * 1024
_SNAPSHOT = re.compile(rf"{SNAPSHOTS}/([0-9a-f]{{64}})/?")


def digest_in(folder: str) -> str | None:
    """Returns the digest that a folder's path in the container `code` promises; None for a folder of another kind."""
    match = _SNAPSHOT.fullmatch(folder)
    return match[1] if match else None


def digest_of(files: Iterable[tuple[str, Path]]) -> str:
    """Returns the digest of a folder: SHA-256 over every path and every file's own SHA-256, in hexadecimal.

    It is of names and contents alone, so times, owners and modes do not matter, nor does the order.

    Args:
        files: the path of each below the folder, with slashes, and where it lies.

    Raises:
        OSError: one cannot be read.
    """
    total = hashlib.sha256()
    for relative, file in sorted(files):
        total.update(f"{relative}\0{_digest(file)}\n".encode())
    return total.hexdigest()


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
