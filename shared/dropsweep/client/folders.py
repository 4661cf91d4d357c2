"""The plain files of a local folder, by the names that they shall have in the storage."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Final

# The service turns a backslash into a slash, and XML, in which it lists names, has no place for the others.
_UNFIT: Final = re.compile(r"[\\\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_MAX_PARTS: Final = 254
"""Parts of a blob's name between slashes.

Source:
    https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
"""


@dataclass(frozen=True, slots=True)
class FolderFile:
    """One file of a folder.

    Attributes:
        relative: its path below the folder, with slashes.
        file: where it lies.
        size_bytes, modified_ns: as they were when it was found; a difference later means that it was edited.
    """

    relative: str
    file: Path
    size_bytes: int
    modified_ns: int

    @property
    def is_as_found(self) -> bool:
        """False when it was edited since it was found.

        Raises:
            OSError: it is gone.
        """
        now = self.file.stat()
        return (now.st_size, now.st_mtime_ns) == (self.size_bytes, self.modified_ns)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a folder is for its owner.

    Attributes:
        name: as in "a code folder".
        remedy: what else may be done about a file that is refused, as the end of a sentence.
        refuse: makes the error for a value, a rule and a remedy.
        num_above: how many parts its path has in the storage.
    """

    name: str
    remedy: str
    refuse: Callable[[object, str, str], Exception]
    num_above: int


def walk(root: Path, kind: Kind, is_ignored: Callable[[str], bool] = lambda _relative: False) -> Iterator[FolderFile]:
    """Yields the files of a folder and of those below it.

    Args:
        root: the folder, resolved.
        kind: what it is, for messages.
        is_ignored: tells of a path below it, which ends in a slash for a folder, whether it stays behind.

    Raises:
        What `kind.refuse` gives: a link that leads out of it or to a folder, something that is neither file nor
            folder, or a name or depth that the storage cannot keep.
        OSError: a file or a folder cannot be read.
    """
    for parent, folders, names in os.walk(root, onerror=_raise):
        base = Path(parent)
        kept = []
        for name in sorted(folders):
            relative = (base / name).relative_to(root).as_posix()
            if is_ignored(f"{relative}/"):
                continue
            if (base / name).is_symlink():
                raise kind.refuse(relative, "a link to a folder is not followed", f"Copy the folder{kind.remedy}")
            _check_depth(relative, kind)
            kept.append(name)
        folders[:] = kept
        for name in names:
            relative = (base / name).relative_to(root).as_posix()
            if not is_ignored(relative):
                yield _file(root, base / name, relative, kind)


def _raise(error: OSError) -> None:
    raise error


def _check_depth(relative: str, kind: Kind) -> None:
    """Refuses what lies too deep; folders too, so that `walk` does not go down beyond that itself."""
    num_parts = kind.num_above + relative.count("/") + 1
    if num_parts > _MAX_PARTS:
        rule = f"a path has at most {_MAX_PARTS} parts in the storage, and this one would have {num_parts}"
        raise kind.refuse(f"{relative[:80]!r}…", rule, f"Put it less deep{kind.remedy}")


def _file(root: Path, file: Path, relative: str, kind: Kind) -> FolderFile:
    if _UNFIT.search(relative):
        rule = "a file's name has no backslash, control character, U+FFFE, U+FFFF or bytes that are not UTF-8"
        raise kind.refuse(repr(relative), rule, f"Rename it{kind.remedy}")
    _check_depth(relative, kind)
    # This first: a link that leads to itself cannot be resolved.
    if file.is_symlink() and not file.exists():
        raise kind.refuse(relative, "a link leads to a file that exists", f"Remove it{kind.remedy}")
    if file.is_symlink() and not file.resolve().is_relative_to(root):
        rule = f"a link leads to a file within the {kind.name}, and this one leads to {file.resolve()}"
        raise kind.refuse(relative, rule, f"Copy the file into the folder{kind.remedy}")
    stat = file.stat()
    if not S_ISREG(stat.st_mode):
        raise kind.refuse(relative, f"a {kind.name} holds plain files", f"Remove it{kind.remedy}")
    return FolderFile(relative, file, stat.st_size, stat.st_mtime_ns)
