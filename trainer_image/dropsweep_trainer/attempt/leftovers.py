"""What a trial leaves behind outside of its folder: processes that got away, and what lies where all may put things."""

import contextlib
import ctypes
import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from dropsweep_trainer.files.folders import remove
from dropsweep_trainer.processes import proc
from dropsweep_trainer.processes.users import User, run_as

_log = logging.getLogger(__name__)
_OPEN_TO_ALL: Final = tuple(map(Path, ("/dev/shm", "/dev/mqueue", "/tmp", "/var/tmp", "/run/lock")))
_SYSV: Final = Path("/proc/sysvipc")
_IPC_RMID: Final = 0
_PATIENCE_S: Final = 5.0
_LOOK_S: Final = 0.02


def clear(user: User | None, work: Path) -> bool:
    """Ends all processes of a slot's user, and removes what it has where everybody may put things.

    These are files in folders that are open to all, and System V's shared memory, message queues and semaphores.
    Nothing is done where somebody else's might be among them: for None, and for a user that is not alone.

    Args:
        user: of the slot.
        work: where all workers have their folders; a platform may have made it open to all.

    Returns:
        False when a process is left that does not end: who runs next as this user would have it for company.
    """
    if user is None or not user.is_alone:
        return True
    is_clear = _end_all(user)
    with contextlib.suppress(OSError, RuntimeError):
        run_as(user, lambda: _remove_ipc(user.uid))
    for folder in (*_OPEN_TO_ALL, work):
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_uid == user.uid:
                        remove(Path(entry.path), user)
    return is_clear


def _end_all(user: User) -> bool:
    end = time.monotonic() + _PATIENCE_S
    while left := [process.pid for process in proc.seen() if proc.uid_of(process.pid) == user.uid]:
        if time.monotonic() > end:
            _log.error("processes of user %d do not end by SIGKILL: %s", user.uid, left)
            return False
        try:
            # All at once, or those that start others faster than one after the other is ended would never end.
            run_as(user, lambda: os.kill(-1, signal.SIGKILL))
        except ProcessLookupError:
            pass
        except (OSError, RuntimeError):  # that user id is none here, or there are so many that no thread can be started
            for pid in left:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(_LOOK_S)
    return True


def _remove_ipc(uid: int) -> None:
    """Removes what a user has made, or has, of System V's objects. Source: sysvipc(7); proc(5), /proc/sysvipc."""
    libc = ctypes.CDLL(None)
    removers: dict[str, Callable[[int], object]] = {
        "shm": lambda number: libc.shmctl(number, _IPC_RMID, None),
        "msg": lambda number: libc.msgctl(number, _IPC_RMID, None),
        "sem": lambda number: libc.semctl(number, 0, _IPC_RMID),
    }
    for kind, remover in removers.items():
        with contextlib.suppress(OSError, ValueError, IndexError):
            names, *lines = map(str.split, (_SYSV / kind).read_bytes().decode().splitlines())
            for line in lines:
                if str(uid) in (line[names.index("uid")], line[names.index("cuid")]):
                    remover(int(line[1]))
