"""The users that trials run as, and how the worker's threads take on what such a user may do with files."""

import contextlib
import ctypes
import functools
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
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
_SETRESUID: Final = {"x86_64": 117, "aarch64": 147}
_SETRESGID: Final = {"x86_64": 119, "aarch64": 149}
"""Numbers of system calls by machine. The C library's functions of these names do it to all threads at once."""
_BYSTANDERS: Final = (65_534, 65_533)
"""User ids that no trial has; the first is called nobody. In a container all its ids may lie below 65,536."""
_CAPABILITY_VERSION: Final = 0x20080522
"""_LINUX_CAPABILITY_VERSION_3. Source: include/uapi/linux/capability.h."""
PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2
_UNCHANGED: Final = -1
_GONE_S: Final = 1.0


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
    for uid in _BYSTANDERS:
        if first <= uid < first + num_slots:
            raise ConfigError(f"{UID_SETTING}={text}: {uid} would be a trial's and must be nobody's. Set it to 20000")
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
        # Bytes: a codec that is not loaded yet might be out of reach for whom this thread acts as.
        for line in Path("/proc/thread-self/status").read_bytes().decode(errors="replace").splitlines():
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


def run_as(user: User, act: Callable[[], None]) -> None:
    """Runs `act` in a thread of its own that is `user` to the kernel, with no more rights than that user has.

    Its effective ids are the user's. Its real user id is one that nobody has, so that processes of the user, which may
    signal whatever has their own, can neither stop nor end it, as they can a process that is started for this.

    Raises:
        OSError: this process may not. RuntimeError: no thread can be started. Whatever `act` raises.

    Source: kill(2) and credentials(7): who may signal whom; capget(2). In the kernel ids and capabilities are a
    thread's own.
    """
    errors: list[BaseException] = []

    def run() -> None:
        try:
            _become(user)
            act()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that asked
            errors.append(error)

    thread = threading.Thread(target=run, name=f"user-{user.uid}", daemon=True)
    thread.start()
    thread.join()
    # Its last steps are outside of Python. A call that is for all threads aborts the process if one may not follow.
    end = time.monotonic() + _GONE_S
    while os.path.exists(f"/proc/self/task/{thread.native_id}") and time.monotonic() < end:
        time.sleep(0.001)
    if errors:
        raise errors[0]


def raise_ambient(numbers: Iterable[int]) -> None:
    """Lets programs that this thread starts have some of the capabilities that it has itself; for root they do anyway.

    Args:
        numbers: which.

    Raises:
        PermissionError: it does not have them itself.

    Source: capget(2); prctl(2), PR_CAP_AMBIENT_RAISE: only what is permitted and inheritable can be ambient.
    """
    if os.geteuid() == 0:
        return
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    # Effective, permitted and inheritable, for the first 32 capabilities and then for the others.
    sets = (ctypes.c_uint32 * 6)()
    wanted = list(numbers)
    is_done = _libc().capget(header, sets) == 0
    sets[2] |= sum(1 << number for number in wanted)
    is_done = is_done and _libc().capset(header, sets) == 0
    for number in wanted:
        is_done = is_done and _libc().prctl(PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number, 0, 0) == 0
    if not is_done:
        raise PermissionError("the right to switch users cannot be handed on here")


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


def _become(user: User) -> None:
    """Makes this thread the user's for good; it must end afterwards."""
    bystander = next(uid for uid in _BYSTANDERS if uid not in (os.getuid(), user.uid))
    _set_groups([])
    machine = platform.machine()
    _call("setresgid", _SETRESGID[machine], *(ctypes.c_uint(user.gid) for _ in range(3)))
    ids = (bystander, user.uid, bystander)
    _call("setresuid", _SETRESUID[machine], *map(ctypes.c_uint, ids))
    # Another user than root keeps its capabilities: with that to signal anybody, `act` could end the worker's own.
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    if _libc().capset(header, (ctypes.c_uint32 * 6)()) != 0 or os.getresuid() != ids or capabilities() != 0:
        raise PermissionError(f"user {user.uid} cannot be taken on here")


def _set_groups(groups: list[int]) -> None:
    array = (ctypes.c_uint * max(1, len(groups)))(*groups)
    _call("setgroups", _SETGROUPS[platform.machine()], ctypes.c_size_t(len(groups)), array)


def _call(name: str, number: int, *arguments: object) -> None:
    if _libc().syscall(ctypes.c_long(number), *arguments) != 0:
        code = ctypes.get_errno()
        raise PermissionError(code, f"{name}: {os.strerror(code)}")
