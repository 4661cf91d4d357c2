"""Locks that several processes hold on files, and that go when their holder does, however it ends."""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Self

LOOK_S: Final = 0.05
"""Seconds between two looks whether a lock is free."""


class Lock:
    """A file that is locked, by many for sharing or by one alone; one object is one holder.

    A lock's file may be removed by who holds it alone. Who opened it before and gets the lock then has the lock of
    nothing, which `is_current` tells.

    Source: flock(2). The lock is the open file's, so threads of one process shut each other out as processes do.
    """

    def __init__(self, file: int, path: Path) -> None:
        """Takes over an open file; `open` is the way to get one."""
        self._file = file
        self._path = path

    @classmethod
    def open(cls, path: Path, *, make: bool = True) -> Self | None:
        """Returns the lock of a file, not held yet; None when the file is not there, and is not to be made.

        Raises:
            OSError: it cannot be opened or made.
        """
        try:
            flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if make else 0)
            return cls(os.open(path, flags, 0o600), path)
        except FileNotFoundError:
            if make:
                raise
            return None

    def try_shared(self) -> bool:
        """Takes the lock together with others; False when somebody has it alone. Must not be held."""
        return self._try(fcntl.LOCK_SH)

    def try_alone(self) -> bool:
        """Takes the lock alone; False when anybody else has it. Must not be held."""
        return self._try(fcntl.LOCK_EX)

    @property
    def is_current(self) -> bool:
        """False when the file was removed; who holds the lock may rely on it."""
        return os.fstat(self._file).st_nlink > 0

    @property
    def touched_ns(self) -> int:
        """When the file was written or touched last, in nanoseconds since 1970."""
        return os.fstat(self._file).st_mtime_ns

    def touch(self) -> None:
        """Marks the file as used now."""
        now_ns = time.time_ns()  # the kernel's own word is that of its last tick: two uses would be at one time
        os.utime(self._file, ns=(now_ns, now_ns))

    def read(self) -> bytes:
        """Returns what stands in the file."""
        return os.pread(self._file, os.fstat(self._file).st_size, 0)

    def write(self, body: bytes) -> None:
        """Replaces what stands in the file; it must be held alone."""
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, body, 0)

    def remove(self) -> None:
        """Removes the file; the lock must be held alone."""
        self._path.unlink(missing_ok=True)

    def release(self) -> None:
        """Gives the lock back, if it is held."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Gives the lock back and closes the file."""
        # Not by closing alone: a process that is being started may have the same open file for a moment.
        self.release()
        os.close(self._file)

    def _try(self, how: int) -> bool:
        try:
            fcntl.flock(self._file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@contextlib.contextmanager
def alone(path: Path, check: Callable[[], None]) -> Iterator[None]:
    """Holds a file's lock alone; waits for it.

    Args:
        path: the file; made if it is not there. Nobody may remove it.
        check: called while it waits; what it raises ends the wait.

    Raises:
        OSError: it cannot be opened or made.
    """
    lock = Lock.open(path)
    assert lock is not None
    try:
        while not lock.try_alone():
            check()
            time.sleep(LOOK_S)
        yield
    finally:
        lock.close()
