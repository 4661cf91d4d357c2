"""What there is of checkpoints in the storage: their labels, their manifests, and what is left of torn ones.

A checkpoint's files are `checkpoints/{label}/…`, and it exists once `{label}.manifest.json` beside them does: the
manifest is written last and deleted first. A label is `{attempt:04}-{number:06}-{name}`: labels sort by age, and those
of a later attempt come after all those of an earlier one, even when its worker is still alive and late.
"""

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from dropsweep.errors import CheckpointError
from dropsweep.names import MANIFEST_SUFFIX, RUNS, JobKey, to_name
from dropsweep.records.codec import VERSION, dump, load, metrics_in, number_out
from dropsweep.storage import Store

_LABEL: Final = re.compile(r"(\d{4,})-\d{6,}-[A-Za-z0-9_-]+")
_MAX_NAME_BYTES: Final = 255
"""Of a file or folder, on the file systems of Linux and macOS."""
_PIECE_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a checkpoint.

    Attributes:
        path: below the checkpoint's folder, with slashes.
        sha256: of its content, in hexadecimal.
    """

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What makes a checkpoint whole.

    Attributes:
        name: what the script called it.
        attempt: which attempt made it.
        metrics: the last value of each metric that the script had reported by then.
    """

    name: str
    attempt: int
    metrics: Mapping[str, float]
    files: tuple[StoredFile, ...]

    def to_json(self) -> bytes:
        """Returns it as it stands in the storage."""
        metrics = {name: number_out(value) for name, value in self.metrics.items()}
        files = [asdict(file) for file in self.files]
        return dump(
            {"version": VERSION, "name": self.name, "attempt": self.attempt, "metrics": metrics, "files": files}
        )

    @classmethod
    def from_json(cls, body: bytes) -> "Manifest":
        """Reads what `to_json` gave.

        Raises:
            StorageCorrupt: it is no JSON object, or of another version.
            CheckpointError: it is not laid out as a manifest is, or names a file outside of the checkpoint.
        """
        document = load(body)
        try:
            files = tuple(
                StoredFile(str(file["path"]), int(file["size_bytes"]), str(file["sha256"]))
                for file in document["files"]
            )
            metrics = metrics_in(document.get("metrics", {}))
            manifest = cls(str(document.get("name", "")), int(document.get("attempt", 0)), metrics, files)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"its manifest is not laid out as one: {type(error).__name__} {error}") from error
        for file in files:
            parts = file.path.split("/")
            if any(part in ("", ".", "..") for part in parts):
                raise CheckpointError(f"its manifest names {file.path!r}, which lies outside of it")
            if "\0" in file.path or any(len(os.fsencode(part)) > _MAX_NAME_BYTES for part in parts):
                raise CheckpointError(f"its manifest names {file.path[:80]!r}, which can be no file's name")
        return manifest


@dataclass(slots=True)
class Stored:
    """What the storage has of one checkpoint, whole or torn.

    Attributes:
        is_whole: its manifest is there.
        blobs: all the rest, in the order of their names.
    """

    is_whole: bool = False
    blobs: list[str] = field(default_factory=list)


def label_of(attempt: int, number: int, name: str) -> str:
    """Names the checkpoint that `attempt` makes as its `number`th, counted from 1."""
    return f"{attempt:04}-{number:06}-{to_name(name)}"


def attempt_of(label: str) -> int:
    """Returns the attempt that made a checkpoint."""
    return int(label.partition("-")[0])


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
        if _LABEL.fullmatch(label) is None:
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


def delete(store: Store, job: JobKey, trial: int, label: str, found: Stored, check: Callable[[], None]) -> None:
    """Deletes a checkpoint, its manifest first, so that half of one never counts as whole.

    Raises:
        StorageError: as the storage does. Whatever `check` raises, which is called before each request.
    """
    if found.is_whole:
        check()
        store.blobs.delete(RUNS, job.manifest(trial, label))
    for name in reversed(found.blobs):  # in accounts with real folders, what is in a folder goes before it
        check()
        store.blobs.delete(RUNS, name)


def delete_torn(store: Store, job: JobKey, trial: int) -> None:
    """Deletes what is left of torn uploads of a trial that no attempt runs any more, at the cost of one list.

    Raises:
        StorageError: as the storage does; what is left may be deleted by another call.
    """
    for label, found in stored(store, job, trial).items():
        if not found.is_whole:
            delete(store, job, trial, label, found, lambda: None)


def sha256(file: Path, check: Callable[[], None], opener: Callable[[str, int], int] | None = None) -> str:
    """Returns a file's hash in hexadecimal; memory stays flat.

    Args:
        file: whose.
        check: called every 4 MiB; what it raises ends it.
        opener: opens the file, as `open` asks for it; None: as `open` does.

    Raises:
        OSError: it cannot be read. Whatever `check` raises.
    """
    digest = hashlib.sha256()
    with open(file, "rb", buffering=0, opener=opener) as stream:
        while piece := stream.read(_PIECE_BYTES):
            check()
            digest.update(piece)
    return digest.hexdigest()
