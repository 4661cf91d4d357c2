"""The users that trials run as, and how the worker's threads take on what such a user may do with files."""

import contextlib
import ctypes
import functools
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dropsweep.errors import ConfigError

UID_SETTING: Final = "DROPSWEEP_TRIAL_UID"
"""User id of the trials in slot 0; slot k's have it plus k. Empty: trials run as the worker's own user."""
CHOWN: Final = 0
KILL: Final = 5
SETGID: Final = 6
SETUID: Final = 7
"""Numbers of capabilities. Source: include/uapi/linux/capability.h."""
NEEDED: Final = sum(1 << number for number in (CHOWN, KILL, SETGID, SETUID))
_MAX_UID: Final = 2**31 - 1
_SETGROUPS: Final = {"x86_64": 116, "aarch64": 159}
"""Number of the system call by machine. The C library's function of that name does it to all threads at once."""
_UNCHANGED: Final = -1


@dataclass(frozen=True, slots=True)
class User:
    """Whom the trials of one slot run as.

    Attributes:
        uid: user id.
        gid: group id; there are no further groups.
        is_alone: every process that this one can see with that user id is the slot's.
    """

    uid: int
    gid: int
    is_alone: bool = False


def trial_users(environment: Mapping[str, str], num_slots: int, *, is_alone: bool) -> list[User] | None:
    """Returns the user of each slot; None when the setting is empty.

    Args:
        environment: the worker's.
        num_slots: how many are needed.
        is_alone: nothing but this worker runs where it can see processes.

    Raises:
        ConfigError: the setting is no number, or the worker's own user or root would be among them.
    """
    text = environment.get(UID_SETTING, "").strip()
    if not text:
        return None
    rule = f"the user id of the first slot's trials, from 1 to {_MAX_UID - num_slots}; empty: the worker's own user"
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _MAX_UID - num_slots:
        raise ConfigError(f"{UID_SETTING}={text!r} must be {rule}. Set it to 20000")
    first = int(text)
    if first <= os.getuid() < first + num_slots:
        raise ConfigError(
            f"{UID_SETTING}={text}: the worker itself runs as {os.getuid()}, one of the {num_slots} user ids from "
            f"{text} on, which are its trials'. Set it to {os.getuid() + 1}"
        )
    return [User(first + slot, first + slot, is_alone) for slot in range(num_slots)]


def may_switch() -> bool:
    """True when this process may start others under any user id, end them, and give files away."""
    if sys.platform != "linux" or platform.machine() not in _SETGROUPS:
        return False
    return capabilities() & NEEDED == NEEDED


def capabilities() -> int:
    """Returns the effective capabilities of this thread, a bit each. Source: proc(5), CapEff; 0 where there is none."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/thread-self/status").read_text(encoding="ascii", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name == "CapEff":
                return int(value, 16)
    return 0


@contextlib.contextmanager
def acting_as(user: User | None) -> Iterator[None]:
    """Lets this thread reach files as `user` may, and no others; other threads and processes do not change.

    What it opens stays open afterwards. For None nothing changes. May be nested.

    Raises:
        PermissionError: this process may not.

    Source: setfsuid(2), setfsgid(2), setgroups(2); all three are a thread's own in the kernel.
    """
    if user is None:
        yield
        return
    with contextlib.ExitStack() as undo:
        # Undone the other way round: with the user, root gets back the right to read what is not its own.
        if groups := os.getgroups():
            _set_groups([])
            undo.callback(_set_groups, groups)
        undo.callback(_set, "setfsgid", _set("setfsgid", user.gid))
        undo.callback(_set, "setfsuid", _set("setfsuid", user.uid))
        yield


def owner(path: str | os.PathLike[str]) -> User | None:
    """Returns whom a path belongs to; None for this process's own user, for root, and where it may not switch."""
    try:
        stat = os.lstat(path)
    except OSError:
        return None
    if stat.st_uid in (0, os.geteuid()) or not may_switch():
        return None
    return User(stat.st_uid, stat.st_gid)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _set(call: str, number: int) -> int:
    """Sets an id and returns the one before.

    The calls report no failure; what the id is now is what setting an invalid one returns.
    """
    function = getattr(_libc(), call)
    before = int(function(ctypes.c_uint(number)))
    if int(function(ctypes.c_int(_UNCHANGED))) != number:
        raise PermissionError(f"{call}({number}) is not allowed here")
    return before


def _set_groups(groups: list[int]) -> None:
    array = (ctypes.c_uint * max(1, len(groups)))(*groups)
    number = _SETGROUPS[platform.machine()]
    if _libc().syscall(ctypes.c_long(number), ctypes.c_size_t(len(groups)), array) != 0:
        code = ctypes.get_errno()
        raise PermissionError(code, f"setgroups: {os.strerror(code)}")
