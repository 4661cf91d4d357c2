"""Where a downloaded blob may lie: below one folder, where the disk has such a name, and no two in one place."""

import os
import re
import threading
import unicodedata
import uuid
from pathlib import Path
from typing import Final

_UNFIT = re.compile(r"[\\\x00-\x1f\x7f]")
_UNFIT_ON_WINDOWS = re.compile(r'[<>:"|?*]')
_DEVICES: Final = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
    | {f"{port}{number}" for port in ("COM", "LPT") for number in "123456789¹²³"}
)
"""Names that Windows keeps to itself, with any ending."""


def target_of(root: Path, relative: str) -> Path | None:
    """Returns where a blob is to lie; None when that is not below `root`, or is no file's name."""
    parts = relative.split("/")
    if any(part in ("", ".", "..") or len(part.encode()) > 255 or _UNFIT.search(part) for part in parts):
        return None
    if os.name == "nt" and not all(fits_windows(part) for part in parts):
        return None
    target = root.joinpath(*parts)
    # A folder on the way may be a link that was there before; the file itself is replaced, never followed.
    if not target.parent.resolve().is_relative_to(root) or target.is_dir():
        return None
    return target


def fits_windows(part: str) -> bool:
    """True for what may be the name of a file or folder on Windows.

    Source:
        https://learn.microsoft.com/windows/win32/fileio/naming-a-file
    """
    stem = part.partition(".")[0].rstrip(" ").upper()
    return not (_UNFIT_ON_WINDOWS.search(part) or part.endswith((".", " ")) or stem in _DEVICES)


def why_no_target(relative: str) -> str:
    """Returns why `target_of` has no place for a name."""
    if os.name == "nt" and not all(fits_windows(part) for part in relative.split("/")):
        return "Windows has no such name for a file"
    return "its name leads out of the folder or fits no file"


class TakenNames:
    """The names below its folder that one download has written or begun to. Safe to use from many threads.

    On a disk that tells upper from lower case it remembers nothing, for no two blobs have one name.
    """

    def __init__(self, is_case_sensitive: bool) -> None:
        self._is_case_sensitive = is_case_sensitive
        self._taken: set[str] = set()
        self._lock = threading.Lock()

    def take(self, relative: str) -> bool:
        """Takes a name below the folder; False when another blob has taken it."""
        if self._is_case_sensitive:
            return True
        # Such disks take the two ways to write é for one, too.
        place = unicodedata.normalize("NFC", unicodedata.normalize("NFC", relative).casefold())
        with self._lock:
            is_free = place not in self._taken
            self._taken.add(place)
        return is_free


def tells_case(folder: Path) -> bool:
    """Tries whether the disk below a folder tells upper from lower case.

    Raises:
        OSError: the folder cannot be written.
    """
    name = f".dropsweep-{uuid.uuid4().hex}"
    tried = folder / f"{name}-a"
    tried.touch()
    try:
        return not (folder / f"{name}-A").exists()
    finally:
        tried.unlink(missing_ok=True)
