"""The right to start trials as other users: raised in a container whose worker is not root, and kept from its trials.

The worker's image has a copy of `setpriv` that the kernel lets the worker's user start with that right, where the
platform does not forbid it. The worker replaces itself by it, and it by the worker again.
"""

import ctypes
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from dropsweep_trainer.processes.users import (
    KILL,
    PR_CAP_AMBIENT,
    SETGID,
    SETUID,
    UID_SETTING,
    may_switch,
    raise_ambient,
)

_log = logging.getLogger(__name__)
_HELPER: Final = Path(sys.prefix) / "libexec" / "dropsweep-setpriv"
_SET: Final = "+chown,+kill,+setgid,+setuid"
_RAISED: Final = "_DROPSWEEP_RAISED"
_PROBE_S: Final = 10.0
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_UNSECURE: Final = (
    *("LD_LIBRARY_PATH", "LD_PRELOAD", "LD_AUDIT", "LD_DEBUG", "GLIBC_TUNABLES", "GCONV_PATH", "HOSTALIASES"),
    *("LOCALDOMAIN", "LOCPATH", "MALLOC_ARENA_MAX", "NLSPATH", "RESOLV_HOST_CONF", "RES_OPTIONS", "TMPDIR", "TZDIR"),
)
"""What the C library takes out of the environment of a program that is started with more rights than its parent has.
Source: glibc, sysdeps/generic/unsecvars.h; a GPU's image finds its libraries by the first."""


def raise_once() -> None:
    """Starts this program anew with the right to switch users, where it is asked for, lacking and to be had.

    Returns when there is nothing to do or to be had. Must be called before a thread is started.
    """
    wanted = bool(os.environ.get(UID_SETTING, "").strip())
    if os.environ.pop(_RAISED, "") or not wanted or may_switch() or not os.access(_HELPER, os.X_OK):
        return
    command = [str(_HELPER), "--inh-caps", _SET, "--ambient-caps", _SET, "--"]
    try:
        # Tried with a program that does nothing: one that is replaced by another that fails does not come back.
        tried = subprocess.run([*command, "true"], capture_output=True, timeout=_PROBE_S, check=False)
        if tried.returncode != 0:
            return
        kept = [f"{name}={os.environ[name]}" for name in _UNSECURE if name in os.environ]
        os.execvp(command[0], [*command, "env", f"{_RAISED}=1", *kept, sys.executable, *sys.orig_argv[1:]])
    except (OSError, subprocess.SubprocessError):
        return


def seal() -> None:
    """Sees to it that no process that this one starts has more rights than its user has, on Linux.

    The rights that this one has itself stay. Must be called before a thread is started.

    Source: prctl(2), PR_CAP_AMBIENT and PR_SET_NO_NEW_PRIVS: setuid programs and file capabilities have no effect.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def start_with_rights(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Starts a program that may switch users and end their processes, as this one may; not so what it starts in turn.

    That is for a program of ours which gives the right up before it lets in anything else.

    Args:
        command: the program with its arguments.
        options: as `subprocess.Popen` takes them.

    Raises:
        OSError: it cannot be started, or this process has not the right.

    Source: capabilities(7), ambient set: a thread's own in the kernel, so no other one starts a program with it.
    """
    started: list[subprocess.Popen[bytes]] = []
    errors: list[BaseException] = []

    def start() -> None:
        try:
            raise_ambient((KILL, SETGID, SETUID))
            started.append(subprocess.Popen(command, **options))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that asked
            errors.append(error)

    thread = threading.Thread(target=start, name="start-with-rights")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return started[0]
