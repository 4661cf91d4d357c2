"""The files of the cache, each once, under the name of its content; the folders of the cache are hard links to them.

So two versions of a data set share what did not change. A file that no folder has any more is known by its count of
links, one, and goes at the next sweep, which is due when room is needed. No lock is needed: who links a file that goes
at that moment either has it, or finds that it is not there.
"""

import contextlib
import errno
import hashlib
import os
import uuid
from pathlib import Path

from dropsweep.storage import Listed
from dropsweep_trainer.staging.seals import BLOCK_BYTES, is_sealed

_PASSING = "."
"""How the names of links begin that are there for a moment only."""


def named_by_content(container: str, blob: Listed) -> str:
    """Returns the name of a blob's content by its size and its MD5, as the service says; empty where it says none.

    Whoever writes a blob may say any MD5 of it. So the container is in the name: nobody gets by it what he could not
    read, and nobody is given what others wrote who may not write where he reads.
    """
    return f"md5-{blob.content_md5}-{container}-{blob.size_bytes}" if blob.content_md5 else ""


def named_by_version(container: str, blob: Listed) -> str:
    """Returns the name of the content of one version of one blob, which no other blob has."""
    version = hashlib.sha256(f"{container}/{blob.name}\n{blob.etag}".encode())
    return f"version-{version.hexdigest()[:40]}-{blob.size_bytes}"


class Objects:
    """Files by name. Safe to use from several threads and processes."""

    def __init__(self, folder: Path) -> None:
        """Opens the folder, which must be there."""
        self._folder = folder
        self._distrusted: set[str] = set()

    def distrust(self, name: str) -> None:
        """Remembers that the service's word for the content of a version is not to be taken."""
        self._distrusted.add(name)

    def has(self, name: str) -> bool:
        """True when there is such a file, whether or not it is as it was, or it is distrusted."""
        return name in self._distrusted or os.path.lexists(self._folder / name)

    def link(self, name: str, into: Path) -> bool:
        """Makes a file a link to an object; False when there is none that is as it was when it came.

        Raises:
            OSError: the file cannot be made.
        """
        file = self._folder / name
        try:
            found = os.lstat(file)
        except FileNotFoundError:
            return False
        size_bytes = int(name.rpartition("-")[2])
        try:
            if not is_sealed(found) or found.st_size != size_bytes:
                file.unlink(missing_ok=True)
                return False
            os.link(file, into, follow_symlinks=False)
        except FileNotFoundError:  # it was swept away a moment ago
            return False
        except OSError as error:
            if error.errno != errno.EMLINK:
                raise
            file.unlink(missing_ok=True)  # as many links as a file can have: the next one begins anew
            return False
        return True

    def keep(self, name: str, file: Path) -> None:
        """Makes a sealed file an object; if there is one of that name by now, the file becomes a link to it.

        Where the file system has no such links nothing is done, and nothing is shared.
        """
        try:
            os.link(file, self._folder / name, follow_symlinks=False)
        except FileExistsError:
            # Not beside the file: a blob may have any name there, and would be written into the object.
            same = self._folder / f"{_PASSING}{uuid.uuid4().hex}"
            with contextlib.suppress(OSError):
                if self.link(name, same):
                    os.replace(same, file)
        except OSError:
            return

    def loose_bytes(self) -> int:
        """Returns what the objects take on the disk that nothing else is a link to."""
        return sum(found.st_size + BLOCK_BYTES for entry in self._entries() if (found := _if_loose(entry)))

    def sweep(self) -> None:
        """Removes every object that nothing else is a link to."""
        for entry in self._entries():
            if entry.name.startswith(_PASSING):  # its worker died, or finds that it went, and does without
                _unlink(entry)
        for entry in self._entries():
            if _if_loose(entry):
                _unlink(entry)

    def _entries(self) -> list[os.DirEntry[str]]:
        with os.scandir(self._folder) as entries:
            return list(entries)


def _if_loose(entry: os.DirEntry[str]) -> os.stat_result | None:
    with contextlib.suppress(FileNotFoundError):
        found = entry.stat(follow_symlinks=False)
        return found if found.st_nlink == 1 else None
    return None


def _unlink(entry: os.DirEntry[str]) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(entry.path)
