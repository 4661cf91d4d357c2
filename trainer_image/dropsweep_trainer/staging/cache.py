"""Folders that a node keeps for trials: each filled once, read by many at a time, and removed when room is needed.

    objects/…       the content of every file, once
    partial/{key}   a folder that is being filled, or removed
    trees/{key}     a whole folder, sealed
    uses/{key}      its lock, held alone by who fills or removes it and together by all who read it; what stands in it
                    is how much the folder holds, and the time of its last change is the folder's last use
    room            the lock of whoever makes room

Any number of processes may share the folder, and each may die at any point: its locks go with it, and what it had begun
goes when somebody comes to it, or needs room. A folder is whole once it is sealed itself, which is done last.
"""

import contextlib
import errno
import itertools
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from dropsweep_trainer.files.folders import PASSABLE, remove
from dropsweep_trainer.staging.locks import LOOK_S, Lock
from dropsweep_trainer.staging.objects import Objects
from dropsweep_trainer.staging.room import Note, Room, full_disk, read_note, told
from dropsweep_trainer.staging.seals import Content, seal, sealed_content, walk

_log = logging.getLogger(__name__)
_PRIVATE: Final = 0o700
_MOST_LOOKS: Final = 10
"""At a folder that was changed and is in use, until another one is filled in its place."""
FULL: Final = (errno.ENOSPC, errno.EDQUOT)
"""Errors of a file system without room."""

Check = Callable[[], None]
"""Raises when what it is called from shall end."""


class Filling(Protocol):
    """What a folder of the cache is to hold, and how it gets there."""

    @property
    def what(self) -> str:
        """Names it for people."""

    @property
    def content(self) -> Content:
        """How much it is."""

    def link(self, folder: Path) -> Content:
        """Begins to fill an empty folder with what lies in the cache already; returns how much is missing."""

    def fetch(self, folder: Path, check: Check) -> None:
        """Brings what is missing; every file is sealed afterwards."""


class _Found(Enum):
    """Why a folder cannot be used."""

    ABSENT = "it is not there"
    SPOILT = "somebody changed it, and somebody uses it"


class Use:
    """A folder of the cache that stays while this is open."""

    def __init__(self, path: Path, lock: Lock, closed: Callable[[], None]) -> None:
        """Takes over a lock that is held; `Cache` makes these."""
        self.path = path
        self._lock: Lock | None = lock
        self._closed = closed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the use; the folder was used last now. Doing it again does nothing."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.touch()
            lock.close()
            self._closed()


class Cache:
    """The folders below one folder. Safe to use from several threads and processes."""

    def __init__(self, folder: Path, max_bytes: int | None = None) -> None:
        """Opens a cache, and removes what those who died have begun.

        Args:
            folder: where it lies; made if it is not there.
            max_bytes: what it may hold; more only while that is in use. None: half of what the file system holds.

        Raises:
            OSError: the folder cannot be made.
        """
        self._trees, self._uses, self._partial = folder / "trees", folder / "uses", folder / "partial"
        private = (self._uses, self._partial, folder / "objects")
        self._modes = {folder: PASSABLE, self._trees: PASSABLE} | dict.fromkeys(private, _PRIVATE)
        self._make_folders()
        self.objects = Objects(folder / "objects")
        self._room = Room(folder, self.objects, max_bytes)
        self._seen: set[tuple[str, int]] = set()
        self._room.tidy()

    def find(self, key: str, check: Check, *, is_exposed: bool) -> Use | None:
        """Returns a whole folder; waits for who is filling it. None when there is none, and nobody is at it.

        Args:
            key: the folder's.
            check: called while it waits; what it raises ends the wait.
            is_exposed: trials run as the worker's own user, and may have changed it: it is looked at as a whole. Else
                that is done at this process's first use of it only.

        Raises:
            OSError: the cache cannot be read.
        """
        for name in _names(key):
            found = self._take(name, None, check, is_exposed)
            if isinstance(found, Use):
                return found
            if found is _Found.ABSENT:
                return None
        raise AssertionError

    def add(self, key: str, filling: Filling, check: Check, *, is_exposed: bool) -> Use:
        """Returns a whole folder, as `find` does; fills it if need be, and makes room for it.

        Raises:
            StagingError: the file system is smaller than that. OSError: it is full, or does not work.
            Whatever `filling` raises; nothing is there then, and who waits for it tries it anew.
        """
        self._make_folders()
        for name in _names(key):
            found = self._take(name, filling, check, is_exposed)
            if isinstance(found, Use):
                return found
        raise AssertionError

    def clear(self) -> None:
        """Removes all that nobody uses."""
        self._room.make(check=lambda: None, is_urgent=True)

    def _make_folders(self) -> None:
        """Makes the cache, which somebody may have removed while nobody used it."""
        for path, mode in self._modes.items():
            with contextlib.suppress(FileExistsError):
                path.mkdir(parents=True)
                path.chmod(mode)

    def _take(self, name: str, filling: Filling | None, check: Check, is_exposed: bool) -> Use | _Found:
        num_looks = 0
        while True:
            check()
            lock = Lock.open(self._uses / name, make=filling is not None)
            if lock is None:
                return _Found.ABSENT
            try:
                is_shared = lock.try_shared() and lock.is_current
                if is_shared and self._is_whole(name, lock, is_exposed):
                    lock.touch()
                    use, lock = Use(self._trees / name, lock, self._room.make_if_over), None
                    return use
                if is_shared and filling is None and not (self._trees / name).exists():
                    return _Found.ABSENT
                lock.release()
                if lock.try_alone() and lock.is_current:
                    if not self._is_whole(name, lock, True):
                        self._discard(name)
                        if filling is None:
                            lock.remove()
                            return _Found.ABSENT
                        self._fill(name, lock, filling, check)
                    continue
                num_looks += is_shared
            finally:
                if lock is not None:
                    lock.close()
            if num_looks > _MOST_LOOKS and (self._trees / name).exists():
                return _Found.SPOILT
            time.sleep(LOOK_S)

    def _is_whole(self, name: str, lock: Lock, is_exposed: bool) -> bool:
        """Looks whether a folder is as it was when it was filled."""
        tree = self._trees / name
        try:
            seen = (name, os.lstat(tree).st_ino)
            if not is_exposed and seen in self._seen:
                return True
            there, note = sealed_content(tree), read_note(lock)
            if there is None or note is None or there != note.content:
                return False
        except FileNotFoundError:  # also in the middle: a trial removes things
            return False
        self._seen.add(seen)
        return True

    def _discard(self, name: str) -> None:
        """Removes a folder that is not whole; its lock is held alone."""
        if (self._trees / name).exists():
            _log.warning("cache: %s was changed by somebody, and is brought anew", name)
        self._room.discard(name)

    def _fill(self, name: str, lock: Lock, filling: Filling, check: Check) -> None:
        """Fills a folder; its lock is held alone, and nothing is there."""
        partial = self._partial / name
        began = time.monotonic()
        try:
            for is_last in (False, True):
                partial.mkdir()
                try:
                    missing = filling.link(partial)
                    lock.write(Note(filling.what, missing).to_json())
                    self._room.make(missing.disk_bytes, filling.what, check)
                    filling.fetch(partial, check)
                    break
                except OSError as error:
                    remove(partial)
                    if error.errno not in FULL:
                        raise
                    if is_last:
                        raise full_disk(partial.parent, filling.what, filling.content.num_bytes) from error
                    self.clear()
            for path in [path for path, found in walk(partial) if stat.S_ISDIR(found.st_mode)]:
                seal(path)
            lock.write(Note(filling.what, filling.content).to_json())
            partial.rename(self._trees / name)
            seal(self._trees / name)
            if not self._is_whole(name, lock, True):
                raise OSError(
                    errno.ENOTSUP,
                    f"the file system of {self._trees} keeps no modes, or no times, of files: {filling.what} cannot be "
                    "told from what somebody changed. Give the worker a work folder on the node's own disk",
                )
        except BaseException:
            self._room.discard(name)
            lock.remove()
            raise
        _log.info(
            "cache: %s is there: %d files, %s, of which %s were brought in %.1f s",
            *(filling.what, filling.content.num_files, told(filling.content.num_bytes)),
            *(told(missing.num_bytes), time.monotonic() - began),
        )


def _names(key: str) -> Iterator[str]:
    """Yields the names that a folder may have: a second one while the first was changed and is in use."""
    return itertools.chain([key], (f"{key}-{number}" for number in itertools.count(1)))
