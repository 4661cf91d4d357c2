"""How the worker reaches what a trial may have changed: no further than the trial itself does."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dropsweep_trainer.processes.users import User, acting_as

# O_PATH needs no right to list the folder; systems without it have nothing better than opening it.
_FOLDER: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Reach:
    """Opens regular files below a folder, follows no link on the way, and waits for nobody.

    A trial can put a link, a pipe or a device where a file of its was, at any moment. A link that was followed would
    have the worker read what only the worker may, its own environment in /proc for one, and a pipe would have it wait.

    Attributes:
        root: the folder; nobody but the worker can put another one in its place.
        user: whom all below it belongs to; the worker reaches it with that user's rights. None: its own user.
    """

    root: Path
    user: User | None = None

    def opener(self, path: str, flags: int) -> int:
        """Opens a file, as `open(path, opener=...)` asks for it.

        Raises:
            OSError: it cannot be opened, is no regular file, or there is a link on the way.
        """
        *folders, name = Path(path).relative_to(self.root).parts
        with acting_as(self.user), contextlib.ExitStack() as opened:
            folder = os.open(self.root, _FOLDER)
            opened.callback(os.close, folder)
            for below in folders:
                folder = os.open(below, _FOLDER, dir_fd=folder)
                opened.callback(os.close, folder)
            file = os.open(name, flags | _FILE, 0o644, dir_fd=folder)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise OSError(errno.EINVAL, "it is no regular file", path)
        return file

    def files(self, folder: Path) -> dict[str, os.stat_result]:
        """Returns the regular files below a folder by their path in it, sorted; none when there is no such folder.

        Links, and whatever else is neither file nor folder, are left out.

        Raises:
            OSError: a folder cannot be read; or a file or a link is where the folder must be.
        """
        found: dict[str, os.stat_result] = {}
        with acting_as(self.user):
            try:
                if not stat.S_ISDIR(os.lstat(folder).st_mode):
                    raise OSError(errno.ENOTDIR, "it is a file or a link and must be a folder", str(folder))
            except FileNotFoundError:
                return {}
            for path, entry in _walk(str(folder)):
                found[path] = entry.stat(follow_symlinks=False)
        return dict(sorted(found.items()))

    def acting(self) -> contextlib.AbstractContextManager[None]:
        """Lets this thread act with the rights of the files' user."""
        return acting_as(self.user)


def _walk(folder: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yields regular files with their path below `folder`; folders in folders do not deepen the stack."""
    left = [""]
    while left:
        prefix = left.pop()
        with os.scandir(os.path.join(folder, prefix)) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    left.append(f"{prefix}{entry.name}/")
                elif entry.is_file(follow_symlinks=False):
                    yield f"{prefix}{entry.name}", entry
