"""What the storage has of a trial's checkpoints, and how what is not kept goes: manifests first, and nothing needed."""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from dropsweep.errors import CheckpointError, StorageCorrupt
from dropsweep.manifests.manifest import LABEL, Manifest
from dropsweep.names import MANIFEST_SUFFIX, RUNS, JobKey
from dropsweep.storage import Store

_log = logging.getLogger(__name__)
_MAX_DELETED: Final = 256
"""Blobs that go by one request."""


@dataclass(slots=True)
class Stored:
    """What the storage has of one checkpoint, whole, torn, or deleted but for files that others refer to.

    Attributes:
        is_whole: its manifest is there.
        blobs: all the rest, in the order of their names.
    """

    is_whole: bool = False
    blobs: list[str] = field(default_factory=list)


class Inventory:
    """What there is of one trial's checkpoints, as of the last look and of what its owner did since.

    Attributes:
        found: by label, oldest first.
    """

    def __init__(self, store: Store, job: JobKey, trial: int) -> None:
        """Knows of none; nothing is sent."""
        self._store, self._job, self._trial = store, job, trial
        self._manifests: dict[str, Manifest] = {}
        self.found: dict[str, Stored] = {}

    def look(self) -> None:
        """Finds out what there is, with one list for each thousand blobs.

        Raises:
            StorageError: as the storage does.
        """
        self.found = stored(self._store, self._job, self._trial)

    def add(self, label: str, manifest: Manifest) -> None:
        """Notes that a checkpoint is whole; it is the newest one."""
        folder = self._job.checkpoints(self._trial)
        own = [f"{folder}{file.below(label)}" for file in manifest.files if not file.blob]
        self.found[label] = Stored(is_whole=True, blobs=own)
        self._manifests[label] = manifest

    @property
    def whole(self) -> list[str]:
        """Labels of the whole ones, oldest first."""
        return [label for label, one in self.found.items() if one.is_whole]

    def delete_all_but(self, kept: Collection[str], check: Callable[[], None]) -> None:
        """Deletes every checkpoint that is not kept, its manifest first, so that half of one never counts as whole.

        Files that a kept one refers to stay. When a kept one's manifest cannot be read, nobody knows which these are,
        and nothing goes.

        Args:
            kept: labels.
            check: called before each request; what it raises ends it.

        Raises:
            StorageError: as the storage does; what is left may be deleted by another call, after another look.
        """
        gone = {label: one for label, one in self.found.items() if label not in kept}
        if not gone:
            return
        blobs = [name for one in gone.values() for name in one.blobs]
        try:
            needed = self._needed(kept, check) if blobs else frozenset()
        except (CheckpointError, StorageCorrupt) as error:
            _log.warning("%s trial %d: older checkpoints stay: %s", self._job.path, self._trial, error)
            return
        self._delete([self._job.manifest(self._trial, label) for label, one in gone.items() if one.is_whole], check)
        # In accounts with real folders, what is in a folder goes before it.
        self._delete([name for name in reversed(blobs) if name not in needed], check)
        for label, one in gone.items():
            self._manifests.pop(label, None)
            one.is_whole, one.blobs = False, [name for name in one.blobs if name in needed]
            if not one.blobs:
                del self.found[label]

    def size_bytes(self, label: str) -> int:
        """Returns what a checkpoint brought into the storage, without what it refers to; 0 for one not added here."""
        manifest = self._manifests.get(label)
        return 0 if manifest is None else sum(file.size_bytes for file in manifest.files if not file.blob)

    def _needed(self, kept: Collection[str], check: Callable[[], None]) -> frozenset[str]:
        folder = self._job.checkpoints(self._trial)
        needed: set[str] = set()
        for label in self.whole:
            if label not in kept:
                continue
            if label not in self._manifests:
                check()
                blob = self._store.blobs.read(RUNS, self._job.manifest(self._trial, label))
                if blob is None:
                    continue  # deleted meanwhile
                self._manifests[label] = Manifest.from_json(blob.body)
            needed.update(f"{folder}{file.blob}" for file in self._manifests[label].files if file.blob)
        return frozenset(needed)

    def _delete(self, names: Sequence[str], check: Callable[[], None]) -> None:
        for begin in range(0, len(names), _MAX_DELETED):
            check()
            some = names[begin : begin + _MAX_DELETED]
            if len(some) == 1:
                self._store.blobs.delete(RUNS, some[0])
            else:
                self._store.blobs.delete_all(RUNS, some)


def stored(store: Store, job: JobKey, trial: int) -> dict[str, Stored]:
    """Lists what there is of a trial's checkpoints, by label, oldest first; a thousand blobs a request.

    Raises:
        StorageError: as the storage does.
    """
    folder = job.checkpoints(trial)
    found: dict[str, Stored] = {}
    for blob in store.blobs.list(RUNS, folder):
        first, slash, _ = blob.name[len(folder) :].partition("/")
        is_manifest = not slash and first.endswith(MANIFEST_SUFFIX)
        label = first.removesuffix(MANIFEST_SUFFIX) if is_manifest else first
        if LABEL.fullmatch(label) is None:
            continue  # nobody of ours put it there
        one = found.setdefault(label, Stored())
        if is_manifest:
            one.is_whole = True
        else:
            one.blobs.append(blob.name)
    return dict(sorted(found.items()))


def whole_labels(store: Store, job: JobKey, trial: int) -> list[str]:
    """Returns the labels of all whole checkpoints of a trial, oldest first.

    Raises:
        StorageError: as the storage does.
    """
    return [label for label, found in stored(store, job, trial).items() if found.is_whole]


def delete_torn(store: Store, job: JobKey, trial: int) -> None:
    """Deletes what is left of torn uploads of a trial that no attempt runs any more, at the cost of one list.

    Where there is any, each whole checkpoint's manifest is read as well: what these refer to stays.

    Raises:
        StorageError: as the storage does; what is left may be deleted by another call.
    """
    inventory = Inventory(store, job, trial)
    inventory.look()
    inventory.delete_all_but(inventory.whole, lambda: None)
