"""What a trial leaves behind outside of its folder: processes that got away, and files in folders open to all."""

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

from dropsweep_trainer import proc
from dropsweep_trainer.folders import remove
from dropsweep_trainer.users import User

_log = logging.getLogger(__name__)
_OPEN_TO_ALL: Final = (Path("/dev/shm"), Path("/tmp"), Path("/var/tmp"))
_PATIENCE_S: Final = 5.0
_LOOK_S: Final = 0.02


def clear(user: User | None) -> None:
    """Ends all processes of a slot's user and removes its files from the folders that are open to all.

    Nothing is done where somebody else's might be among them: for None, and for a user that is not alone.
    """
    if user is None or not user.is_alone:
        return
    _end_all(user)
    for folder in _OPEN_TO_ALL:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_uid == user.uid:
                        remove(Path(entry.path), user)


def _end_all(user: User) -> None:
    end = time.monotonic() + _PATIENCE_S
    while left := [process.pid for process in proc.seen() if proc.uid_of(process.pid) == user.uid]:
        if time.monotonic() > end:
            _log.error("processes of user %d do not end by SIGKILL: %s", user.uid, left)
            return
        try:
            # All at once, or those that start others faster than one after the other is ended would never end.
            subprocess.run(
                [shutil.which("bash") or "/bin/sh", "-c", "kill -9 -1"],
                cwd="/",
                env={},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                user=user.uid,
                group=user.gid,
                extra_groups=[],
                check=False,
            )
        except OSError:  # there are so many that this user may have no other, so they cannot start others either
            for pid in left:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(_LOOK_S)
