"""The folders a worker works in: one of its own, locked while it lives, and one for each attempt in it."""

import fcntl
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PREFIX: Final = "worker-"
_LOCK: Final = "lock"


class WorkerFolder:
    """A folder below `work` that no other worker uses.

    What a worker left behind that was killed has no lock on it any more, and goes when the next one starts.

    Attributes:
        path: the folder.
    """

    def __init__(self, work: Path) -> None:
        """Makes the folder, and removes those of workers that are gone."""
        work.mkdir(parents=True, exist_ok=True)
        for left in work.glob(f"{_PREFIX}*"):
            if _is_abandoned(left):
                remove(left)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=work))
        self._lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def attempt(self, trial: int) -> Path:
        """Returns a fresh folder for one attempt."""
        return Path(tempfile.mkdtemp(prefix=f"{trial:07}-", dir=self.path))

    def close(self) -> None:
        """Removes the folder."""
        remove(self.path)
        os.close(self._lock)


def remove(folder: Path) -> None:
    """Removes a folder with all that is in it, read-only folders too; what cannot be removed stays."""
    for parent, names, _ in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            if not os.path.islink(path):
                _make_writable(path)
    shutil.rmtree(folder, ignore_errors=True)


def _make_writable(path: str) -> None:
    try:
        os.chmod(path, 0o700)
    except OSError:
        return  # not ours: then rmtree leaves it too


def _is_abandoned(folder: Path) -> bool:
    """True when no living worker holds the folder's lock; a folder whose lock is not made yet is being made."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


@dataclass(frozen=True, slots=True)
class Folders:
    """Where one attempt works; all of it is removed afterwards."""

    root: Path

    @property
    def work(self) -> Path:
        """The copy of the code, and the command's working directory."""
        return self.root / "work"

    @property
    def checkpoints(self) -> Path:
        """`$DROPSWEEP_CHECKPOINTS`."""
        return self.root / "checkpoints"

    @property
    def resume(self) -> Path:
        """`$DROPSWEEP_RESUME_FROM`, when there is something to resume from."""
        return self.root / "resume"

    @property
    def home(self) -> Path:
        """The command's home, so that it finds nobody else's settings."""
        return self.root / "home"

    @property
    def outputs(self) -> Path:
        """`./outputs`, kept."""
        return self.work / "outputs"

    @property
    def logs(self) -> Path:
        """`./logs`, kept."""
        return self.work / "logs"

    @property
    def metrics(self) -> Path:
        """`$DROPSWEEP_METRICS`."""
        return self.root / "metrics.jsonl"

    @property
    def stdout(self) -> Path:
        """What the command prints."""
        return self.root / "stdout.txt"

    @property
    def stderr(self) -> Path:
        """What the command prints to its standard error."""
        return self.root / "stderr.txt"
