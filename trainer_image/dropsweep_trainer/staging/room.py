"""What a cache may hold, and what goes first when that is too much: what was not used for the longest time."""

import contextlib
import errno
import json
import logging
import os
import stat
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from dropsweep.errors import StagingError
from dropsweep_trainer.files.folders import remove
from dropsweep_trainer.staging.locks import Lock, alone
from dropsweep_trainer.staging.objects import Objects
from dropsweep_trainer.staging.seals import BLOCK_BYTES, Content, walk

_log = logging.getLogger(__name__)
_MAX_ENTRIES: Final = 1000
"""Folders that a cache keeps: with more, to look through them would take longer than to bring a small one anew."""
_OPEN: Final = 0o700


@dataclass(frozen=True, slots=True)
class Note:
    """What stands in the lock of a folder of the cache.

    Attributes:
        what: names the folder for people.
        content: what it holds, or, while it is filled, what is missing.
    """

    what: str
    content: Content

    def to_json(self) -> bytes:
        """Returns the note as it stands there."""
        return json.dumps(asdict(self)).encode()


def read_note(lock: Lock) -> Note | None:
    """Returns what stands in a lock; None when its writer did not come to it."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        read = json.loads(lock.read())
        return Note(str(read["what"]), Content(int(read["content"]["num_files"]), int(read["content"]["num_bytes"])))
    return None


@dataclass(frozen=True, slots=True)
class _Entry:
    """One folder of the cache, or one that is being filled."""

    used_ns: int
    name: str
    note: Note


class Room:
    """The room in one cache; `cache` says what lies where."""

    def __init__(self, folder: Path, objects: Objects, max_bytes: int | None) -> None:
        """Makes it; nothing is done.

        Args:
            folder: the cache's.
            objects: of the cache.
            max_bytes: what it may hold; None: half of what the file system holds.
        """
        self._trees, self._uses, self._partial = folder / "trees", folder / "uses", folder / "partial"
        self._lock = folder / "room"
        self._objects = objects
        self._max_bytes = max_bytes
        self._is_over = False

    def make(
        self, disk_bytes: int = 0, what: str = "", check: Callable[[], None] = lambda: None, *, is_urgent: bool = False
    ) -> None:
        """Removes what is not in use, the least recently used first, until the cache holds no more than it may.

        Files that no folder has go before all folders: fillings that failed, or whose worker died, have left them.
        What is being filled counts with what it is to get. When all that is left is in use, the cache holds more than
        it may, and gets smaller as soon as a use ends.

        Args:
            disk_bytes: what must be free on the file system then.
            what: is to come; for people.
            check: called while it waits for somebody who does the same; what it raises ends the wait.
            is_urgent: all that is not in use goes.

        Raises:
            StagingError: the file system is smaller than `disk_bytes`. OSError: it has not as much left.
        """
        with alone(self._lock, check):
            self.tidy()
            limit = self._limit()
            entries = sorted(self._entries(), key=lambda entry: entry.used_ns)
            num_left, used = len(entries), sum(entry.note.content.disk_bytes for entry in entries)
            if used > limit:
                # Folders share files, so that is too much rather than too little; to know better takes longer.
                used = sum(self._share(entry) for entry in entries)
            # After `tidy`: what a dead worker had begun has no files any more.
            if is_urgent or used + self._objects.loose_bytes() > limit or disk_bytes > self._free():
                self._objects.sweep()
            has_removed = False
            for entry in entries:
                if used <= limit and num_left <= _MAX_ENTRIES and not is_urgent:
                    break
                freed = self._evict(entry, what)
                if freed is not None:
                    has_removed = True
                    num_left, used = num_left - 1, used - freed
            if has_removed:
                self._objects.sweep()
            self._is_over = used > limit
            if self._is_over and disk_bytes:
                _log.warning(
                    "cache: with %s it holds %s, more than its %s%s: cache_size in the cluster's file may be too small",
                    *(what, told(used), told(limit), ", for the rest is in use" if num_left > 1 else ""),
                )
        if disk_bytes > self._free():
            raise full_disk(self._partial, what, disk_bytes)

    def make_if_over(self) -> None:
        """Does as `make` if the cache held too much at the last look; what goes wrong is told in the log."""
        if self._is_over:
            try:
                self.make()
            except OSError as error:
                _log.warning("cache: what is too much could not be removed: %s", error)

    def tidy(self) -> None:
        """Removes what those who died had begun to fill, or to remove."""
        for name in {*os.listdir(self._partial), *os.listdir(self._uses)} - set(os.listdir(self._trees)):
            lock = Lock.open(self._uses / name)
            assert lock is not None
            try:
                if lock.try_alone() and lock.is_current and not (self._trees / name).exists():
                    remove(self._partial / name)
                    lock.remove()
            finally:
                lock.close()

    def discard(self, name: str) -> None:
        """Removes a folder and what was begun of it; its lock is held alone."""
        remove(self._partial / name)
        tree = self._trees / name
        if tree.exists():
            tree.chmod(_OPEN)  # else it could not be moved to another folder
            tree.rename(self._partial / name)
            remove(self._partial / name)

    def _limit(self) -> int:
        if self._max_bytes is not None:
            return self._max_bytes
        there = os.statvfs(self._trees)
        return there.f_blocks * there.f_frsize // 2

    def _free(self) -> int:
        there = os.statvfs(self._trees)
        return there.f_bavail * there.f_frsize

    def _entries(self) -> list[_Entry]:
        entries = []
        for name in os.listdir(self._uses):
            lock = Lock.open(self._uses / name, make=False)
            if lock is None:
                continue
            try:
                entries.append(_Entry(lock.touched_ns, name, read_note(lock) or Note(name, Content(0, 0))))
            finally:
                lock.close()
        return entries

    def _share(self, entry: _Entry) -> int:
        """Returns a folder's part of what the cache takes on the disk: a file's is divided by those that have it."""
        tree = self._trees / entry.name
        is_whole = tree.exists()
        total = 0 if is_whole else entry.note.content.disk_bytes
        with contextlib.suppress(OSError):  # somebody fills it, or removes it
            for _, found in walk(tree if is_whole else self._partial / entry.name):
                if stat.S_ISREG(found.st_mode):
                    # One link is the object's.
                    total += (found.st_size + BLOCK_BYTES) // max(1, found.st_nlink - 1)
        return total

    def _evict(self, entry: _Entry, what: str) -> int | None:
        """Removes a folder, unless it is in use; returns what that frees on the disk."""
        lock = Lock.open(self._uses / entry.name, make=False)
        if lock is None:
            return None
        try:
            if not lock.try_alone() or not lock.is_current:
                return None
            freed = _own_bytes(self._trees / entry.name)
            ago_s = time.time() - entry.used_ns / 1e9
            _log.info(
                "cache: %s (%s, last used %.0f s ago) goes%s",
                *(entry.note.what, told(entry.note.content.num_bytes), ago_s, f" for {what}" if what else ""),
            )
            self.discard(entry.name)
            lock.remove()
            return freed
        finally:
            lock.close()


def full_disk(folder: Path, what: str, num_bytes: int) -> StagingError | OSError:
    """Returns the error of a file system on which something has no room.

    Where it never will, it is the trial's own; else the node's, and another one may have room.
    """
    there = os.statvfs(folder)
    total, free = there.f_blocks * there.f_frsize, there.f_bavail * there.f_frsize
    few = f", and room for {there.f_favail} more files" if there.f_files else ""
    text = (
        f"{what} takes {told(num_bytes)}, and the node's disk has {told(free)} of {told(total)} left in "
        f"{folder.parent}{few}, with all removed that no other trial uses. Give the nodes a larger disk there, or the "
        "job smaller inputs"
    )
    return StagingError(text) if num_bytes > total else OSError(errno.ENOSPC, text)


def told(num_bytes: int) -> str:
    """Returns a size as people read it."""
    return f"{num_bytes / 2**30:.1f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:.1f} MiB"


def _own_bytes(tree: Path) -> int:
    """Returns what is freed on the disk when a folder goes: its files that no other has."""
    total = 0
    seen: Counter[tuple[int, int, int]] = Counter()
    with contextlib.suppress(OSError):
        for _, found in walk(tree):
            if stat.S_ISREG(found.st_mode):
                seen[found.st_ino, found.st_nlink, found.st_size] += 1
    for (_, num_links, size_bytes), num_here in seen.items():
        if num_links <= num_here + 1:
            total += size_bytes + BLOCK_BYTES
    return total
