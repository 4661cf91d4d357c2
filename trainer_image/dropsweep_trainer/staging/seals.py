"""Marks on what lies in the cache by which a change is seen, whoever made it.

A sealed file or folder cannot be written, and says that it was last changed at a moment long ago. Who writes to it all
the same (its owner may, and root is not asked) changes that time as well: a file's when its content changes, a folder's
when something comes into it or goes. So a look at the times tells whether all is as it was, and nothing has to be read.
It is for accidents: who wants to can set the time back.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SEALED_AT_NS: Final = 1_000_000_000 * 10**9
"""Time of the last change that a seal sets, in nanoseconds since 1970: 2001-09-09, 01:46:40 UTC."""
BLOCK_BYTES: Final = 4096
"""What the last bytes of a file, and what is known about it, are taken to need on a disk."""
_READ_ONLY: Final = 0o555
"""Executable too, as blobs have no modes."""
_ANY_WRITE: Final = 0o222


@dataclass(frozen=True, slots=True)
class Content:
    """How much something holds."""

    num_files: int
    num_bytes: int

    @property
    def disk_bytes(self) -> int:
        """What it needs on a disk at most, folders aside."""
        return self.num_bytes + BLOCK_BYTES * self.num_files


def seal(path: str | os.PathLike[str]) -> None:
    """Seals one file, or one folder without what is in it; later no entry can come into it.

    Raises:
        OSError: it is not there, or not this process's own.
    """
    os.chmod(path, _READ_ONLY)
    os.utime(path, ns=(SEALED_AT_NS, SEALED_AT_NS))


def is_sealed(found: os.stat_result) -> bool:
    """True when something is sealed, and has not been changed since."""
    return found.st_mtime_ns == SEALED_AT_NS and not found.st_mode & _ANY_WRITE


def sealed_content(folder: Path) -> Content | None:
    """Returns what a folder holds; None when anything in it, or itself, is not sealed, or is no file and no folder.

    Raises:
        OSError: something cannot be looked at; FileNotFoundError: the folder is not there.
    """
    if not is_sealed(os.lstat(folder)):
        return None
    num_files = num_bytes = 0
    for _, found in walk(folder):
        if not is_sealed(found) or not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            return None
        if stat.S_ISREG(found.st_mode):
            num_files += 1
            num_bytes += found.st_size
    return Content(num_files, num_bytes)


def walk(folder: str | os.PathLike[str]) -> Iterator[tuple[str, os.stat_result]]:
    """Yields every file and folder below a folder, each before what is in it, and follows no links.

    Raises:
        OSError: something cannot be looked at.
    """
    left = [os.fspath(folder)]
    while left:
        with os.scandir(left.pop()) as entries:
            for entry in entries:
                yield entry.path, entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
