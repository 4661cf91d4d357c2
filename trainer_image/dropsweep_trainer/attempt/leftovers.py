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
    if found := _ipc(user.uid):
        with contextlib.suppress(OSError, RuntimeError):
            run_as(user, lambda: _remove_ipc(found))
    for folder in (*_OPEN_TO_ALL, work):
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_uid == user.uid:
                        remove(Path(entry.path), user)
    return is_clear


def _end_all(user: User) -> bool:
    """Ends all processes of a user, seen or not; False when some are left after a while.

    One that starts another and ends, over and over, is missed by most looks, so the signal comes before the first one.
    Nothing gets away from it: kill(2) holds the lock that fork(2) needs to add a process, and a fork fails for whom
    SIGKILL waits. What is seen afterwards is about to end. The thread that sends it has no other rights than the
    user, so it reaches nobody else.

    Source: Linux, kill_something_info in kernel/signal.c and copy_process in kernel/fork.c.
    """
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            run_as(user, _kill_all)
            is_tried = True
        except (OSError, RuntimeError) as error:
            # That user id is none here, or may signal nobody; or no thread can be started, for there are too many.
            is_tried = isinstance(error, OSError)  # the last may pass
            for pid in _pids(user):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        left = _pids(user)
        if is_tried and not left:
            return True
        if time.monotonic() > end:
            _log.error("processes of user %d do not end by SIGKILL, or it cannot be sent: %s", user.uid, left)
            return False
        time.sleep(_LOOK_S)


def _kill_all() -> None:
    """Sends SIGKILL to all that this thread may signal; only for threads that are a trial's user."""
    with contextlib.suppress(ProcessLookupError):  # there is nobody else
        os.kill(-1, signal.SIGKILL)


def _pids(user: User) -> list[int]:
    """Returns the user's processes that are seen."""
    return [process.pid for process in proc.seen() if proc.uid_of(process.pid) == user.uid]


def _ipc(uid: int) -> list[tuple[str, int]]:
    """Returns the kind and id of what a user has made, or has, of System V's objects.

    Source: sysvipc(7); proc(5), /proc/sysvipc.
    """
    found: list[tuple[str, int]] = []
    for kind in ("shm", "msg", "sem"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            names, *lines = map(str.split, (_SYSV / kind).read_bytes().decode().splitlines())
            columns = names.index("uid"), names.index("cuid")
            found += [(kind, int(line[1])) for line in lines if str(uid) in [line[column] for column in columns]]
    return found


def _remove_ipc(found: list[tuple[str, int]]) -> None:
    libc = ctypes.CDLL(None)
    removers: dict[str, Callable[[int], object]] = {
        "shm": lambda number: libc.shmctl(number, _IPC_RMID, None),
        "msg": lambda number: libc.msgctl(number, _IPC_RMID, None),
        "sem": lambda number: libc.semctl(number, 0, _IPC_RMID),
    }
    for kind, number in found:
        removers[kind](number)
