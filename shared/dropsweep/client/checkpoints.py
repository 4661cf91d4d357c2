"""The checkpoints of a trial that lie in the storage, and which of them its next attempt would go on from."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Final

from dropsweep.errors import CheckpointError, StorageCorrupt
from dropsweep.manifests import Manifest, attempt_of, label_in
from dropsweep.names import RUNS, JobKey
from dropsweep.records.codec import time_of, time_out
from dropsweep.storage import Listed, Store, in_order

_STEP: Final = re.compile(r"step-(\d+)")
"""How `dropsweep.checkpoint(5)` names a checkpoint."""


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """One whole checkpoint.

    Attributes:
        label: names it in the storage, and in `resumed_from` of the record.
        name: what the script called it; empty when its manifest cannot be read.
        attempt: which attempt made it.
        step: the step in its name, where the script named it by one.
        num_files, size_bytes: all that it has, also what lies with an older one.
        made: when it became whole, by the storage service's clock.
        is_next: the next attempt, if there is one, goes on from it, unless its files turn out to be damaged.
        problem: why its manifest cannot be read, so that no attempt goes on from it; empty when it can.
    """

    label: str
    name: str
    attempt: int
    step: int | None
    num_files: int
    size_bytes: int
    made: datetime
    is_next: bool = False
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """Returns it as commands and the HTTP API show it."""
        return {
            "label": self.label,
            "name": self.name,
            "attempt": self.attempt,
            "step": self.step,
            "num_files": self.num_files,
            "size_bytes": self.size_bytes,
            "made": time_out(self.made),
            "is_next": self.is_next,
            "problem": self.problem,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "StoredCheckpoint":
        """Reads what `to_json` gave."""
        return cls(
            document["label"],
            document["name"],
            document["attempt"],
            document["step"],
            document["num_files"],
            document["size_bytes"],
            time_of(document["made"]),
            document["is_next"],
            document["problem"],
        )


def list_checkpoints(store: Store, key: JobKey, trial: int) -> list[StoredCheckpoint]:
    """Returns a trial's whole checkpoints, oldest first: one list for a thousand blobs, and a read for each manifest.

    Raises:
        StorageError: as the storage does.
    """
    found = list(in_order(partial(_read, store, blob, label) for label, blob in _manifests(store, key, trial)))
    # In the order of the labels: a worker goes by them, and not by the time, for a late one may still write.
    whole = sorted((one for one in found if one is not None), key=lambda one: one.label)
    following = next((one.label for one in reversed(whole) if not one.problem), None)
    return [replace(one, is_next=one.label == following) for one in whole]


def _manifests(store: Store, key: JobKey, trial: int) -> Iterator[tuple[str, Listed]]:
    folder = key.checkpoints(trial)
    for blob in store.blobs.list(RUNS, folder):
        name = blob.name.removeprefix(folder)
        if "/" not in name and (label := label_in(name)):
            yield label, blob


def _read(store: Store, listed: Listed, label: str) -> StoredCheckpoint | None:
    blob = store.blobs.read(RUNS, listed.name)
    if blob is None:
        return None  # deleted meanwhile: the trial goes on
    try:
        manifest = Manifest.from_json(blob.body)
    except (CheckpointError, StorageCorrupt) as error:
        return StoredCheckpoint(label, "", attempt_of(label), None, 0, 0, blob.modified, problem=str(error))
    step = _STEP.fullmatch(manifest.name)
    size_bytes = sum(file.size_bytes for file in manifest.files)
    number = int(step[1]) if step and len(step[1]) <= 18 else None
    return StoredCheckpoint(
        label, manifest.name, attempt_of(label), number, len(manifest.files), size_bytes, blob.modified
    )
