"""Copies of code, which each trial may change."""

import errno
import os
import shutil
from pathlib import Path
from typing import Final

_MODE: Final = 0o755
"""Executable for its owner, as blobs have no modes."""
_PIECE_BYTES: Final = 2**30
_CHUNK_BYTES: Final = 2**20


def copy_writable(source: Path, into: Path) -> None:
    """Copies a folder of files and folders to a place that is not there yet; the copy may be changed.

    The kernel copies, without the bytes coming up to here, and file systems that can share blocks until one copy
    changes do that. Hard links would be cheaper still, but a script that writes to its own file would write to all.

    Raises:
        OSError: the place is there, or the file system is full or does not work.
    """
    into.mkdir(parents=True)
    into.chmod(_MODE)
    with os.scandir(source) as entries:
        for entry in entries:
            target = into / entry.name
            if entry.is_dir(follow_symlinks=False):
                copy_writable(Path(entry.path), target)
            else:
                _copy_file(entry.path, target)


def _copy_file(source: str, target: Path) -> None:
    # With its mode from the start: a trial beside it that runs as the same user may see it half-written all the same.
    with open(source, "rb", buffering=0) as read, open(target, "xb", buffering=0) as written:
        os.fchmod(written.fileno(), _MODE)
        try:
            while os.copy_file_range(read.fileno(), written.fileno(), _PIECE_BYTES):
                pass
        except (AttributeError, OSError) as error:  # no Linux; or not between, or not on, these file systems
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                raise
            shutil.copyfileobj(read, written, _CHUNK_BYTES)  # on from where the kernel stopped
