"""The files of the cache, each once, under the name of its content; the folders of the cache are hard links to them.

So two versions of a data set share what did not change. A file that no folder has any more is known by its count of
links, one, and goes at the next sweep. No lock is needed: who links a file that goes at that moment either has it, or
finds that it is not there.
"""

import contextlib
import errno
import hashlib
import os
from pathlib import Path

from dropsweep.storage import Listed
from dropsweep_trainer.staging.seals import is_sealed


def named_by_content(blob: Listed) -> str:
    """Returns the name of a blob's content by its size and its MD5, as the service says; empty where it says none."""
    return f"md5-{blob.content_md5}-{blob.size_bytes}" if blob.content_md5 else ""


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
            same = file.with_name(f"{file.name[:200]}.same")
            with contextlib.suppress(OSError):
                if self.link(name, same):
                    os.replace(same, file)
        except OSError:
            return

    def sweep(self) -> None:
        """Removes every object that nothing else is a link to."""
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if entry.stat(follow_symlinks=False).st_nlink == 1:
                        os.unlink(entry.path)
