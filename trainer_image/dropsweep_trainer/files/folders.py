"""The folders a worker works in: one of its own, locked while it lives, and one for each attempt in it."""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from dropsweep.errors import ConfigError, StagingError
from dropsweep_trainer.processes.users import User, acting_as, owner

CACHE: Final = "cache"
"""Name of the folder below `work` that all workers share."""
_PREFIX: Final = "worker-"
_LOCK: Final = "lock"
PASSABLE: Final = 0o711
"""Trials of other users pass through on the way to their own folder, and see nothing of what else is there."""
_MAX_SOCKET_FOLDER: Final = 70
"""Bytes that the path of a temporary folder may have: that of a socket in it has at most 107, and multiprocessing's
add 32. Source: unix(7), sun_path."""


class WorkerFolder:
    """A folder below `work` that no other worker uses.

    What a worker left behind that was killed has no lock on it any more, and goes when the next one starts.

    Attributes:
        path: the folder.
    """

    def __init__(self, work: Path) -> None:
        """Makes the folder and the cache beside it, and removes those folders of workers that are gone.

        Raises:
            ConfigError: the cache is somebody else's.
            OSError: they cannot be made.
        """
        work.mkdir(parents=True, exist_ok=True)
        # Before there is a trial: where others may make folders, this one must be the worker's.
        cache = work / CACHE
        cache.mkdir(exist_ok=True)
        stat = cache.lstat()
        if stat.st_uid == os.geteuid():
            cache.chmod(PASSABLE)
        elif stat.st_uid != 0:
            raise ConfigError(
                f"{cache} belongs to user {stat.st_uid}, and the worker runs as {os.geteuid()}: what it would run "
                "from there may be anything. Remove it, or take another --work"
            )
        for left in work.glob(f"{_PREFIX}*"):
            if _is_abandoned(left):
                _remove_all(left)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=work))
        self.path.chmod(PASSABLE)
        self._lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def attempt(self, trial: int) -> Path:
        """Returns a fresh folder for one attempt."""
        return Path(tempfile.mkdtemp(prefix=f"{trial:07}-", dir=self.path))

    def close(self) -> None:
        """Removes the folder."""
        _remove_all(self.path)
        os.close(self._lock)


def remove(folder: Path, user: User | None = None) -> None:
    """Removes a folder or file with all that is in it, read-only folders too; what cannot be removed stays.

    Args:
        folder: what to remove. A link goes, and what it leads to stays.
        user: whom it belongs to; its rights are used, so that nothing goes that it could not have removed itself. What
            is still the worker's own is removed with the worker's.
    """
    with contextlib.suppress(OSError):
        if os.lstat(folder).st_uid == os.geteuid():
            user = None
    with acting_as(user), contextlib.suppress(OSError):
        if os.path.isdir(folder) and not os.path.islink(folder):
            _empty(str(folder))
        else:
            os.unlink(folder)
    with contextlib.suppress(OSError):  # the folder that it lies in is the worker's own
        os.rmdir(folder)


def hand_over(folders: "Folders", user: User | None) -> None:
    """Gives an attempt's folders with all that is in them to a user, and to nobody else.

    They must be nobody's but the worker's yet: what is given away is what it has made.

    Raises:
        OSError: they cannot be given away.
    """
    if user is None:
        return
    for folder in (folders.tmp, folders.root):
        paths = [os.path.join(parent, name) for parent, names, files in os.walk(folder) for name in (*names, *files)]
        # The folder itself last, and each before what it lies in: what is given away the worker cannot enter any more.
        for path in (*reversed(paths), str(folder)):
            os.chown(path, user.uid, user.gid, follow_symlinks=False)


def _empty(folder: str) -> None:
    """Empties a folder, however deep: a folder in a folder is brought up before it is emptied itself."""
    left, num_moved = [folder], 0
    while left:
        current = left.pop()
        with contextlib.suppress(OSError):
            os.chmod(current, 0o700)
        with contextlib.suppress(OSError), os.scandir(current) as entries:
            for entry in list(entries):
                with contextlib.suppress(OSError):
                    if not entry.is_dir(follow_symlinks=False):
                        os.unlink(entry.path)
                        continue
                    os.chmod(entry.path, 0o700)  # not ours, or not to be changed: then it stays
                    if current == folder:
                        left.append(entry.path)
                        continue
                    num_moved += 1
                    above = os.path.join(folder, f".dropsweep-{num_moved}")
                    os.rename(entry.path, above)
                    left.append(above)
        if current != folder:
            with contextlib.suppress(OSError):
                os.rmdir(current)


def _remove_all(folder: Path) -> None:
    """Removes a worker's folder with those of its attempts, which may be other users'."""
    with contextlib.suppress(OSError):
        for path in list(folder.iterdir()):
            remove(path, owner(path))
        folder.rmdir()


def _is_abandoned(folder: Path) -> bool:
    """True when no living worker holds the folder's lock; a folder whose lock is not made yet is being made.

    A folder of somebody else's is left to them: where everybody may make folders, it may be one of a trial's making.
    """
    try:
        if os.lstat(folder).st_uid != os.geteuid():
            return False
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


@dataclass(frozen=True)
class Folders:
    """Where one attempt works; all of it is removed afterwards."""

    root: Path

    def make(self, outputs: Iterable[Path]) -> None:
        """Makes the folders that the command is given, beside that of its code.

        Args:
            outputs: one for each of the job's outputs, below `outputs`.

        Raises:
            StagingError: the code has a file where one must be.
        """
        if not self.tmp.is_relative_to(self.root):
            self.tmp.mkdir(0o700)
        for folder in (self.checkpoints, self.home, self.tmp, self.outputs, self.logs, *outputs):
            try:
                folder.mkdir(exist_ok=True)
            except FileExistsError as error:
                name = folder.relative_to(self.work).as_posix()
                raise StagingError(
                    f"the code has a file ./{name}: it is where a folder of the trial must be. Rename it"
                ) from error

    @cached_property
    def work(self) -> Path:
        """The copy of the code, and the command's working directory."""
        return self.root / "work"

    @cached_property
    def checkpoints(self) -> Path:
        """`$DROPSWEEP_CHECKPOINTS`."""
        return self.root / "checkpoints"

    @cached_property
    def resume(self) -> Path:
        """`$DROPSWEEP_RESUME_FROM`, when there is something to resume from."""
        return self.root / "resume"

    @cached_property
    def home(self) -> Path:
        """The command's home, so that it finds nobody else's settings."""
        return self.root / "home"

    @cached_property
    def tmp(self) -> Path:
        """`$TMPDIR`; beside the root when its path would be too long for the sockets in it: in the system's own."""
        folder = self.root / "tmp"
        if len(os.fsencode(folder)) <= _MAX_SOCKET_FOLDER:
            return folder
        return Path(tempfile.gettempdir()) / f"dropsweep-{self.root.parent.name}-{self.root.name}"

    @cached_property
    def outputs(self) -> Path:
        """`./outputs`, kept."""
        return self.work / "outputs"

    @cached_property
    def logs(self) -> Path:
        """`./logs`, kept."""
        return self.work / "logs"

    @cached_property
    def metrics(self) -> Path:
        """`$DROPSWEEP_METRICS`."""
        return self.root / "metrics.jsonl"

    @cached_property
    def stdout(self) -> Path:
        """What the command prints."""
        return self.root / "stdout.txt"

    @cached_property
    def stderr(self) -> Path:
        """What the command prints to its standard error."""
        return self.root / "stderr.txt"
