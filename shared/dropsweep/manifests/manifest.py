"""A manifest: which files make a checkpoint whole, and where each lies."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from dropsweep.errors import CheckpointError
from dropsweep.names import MANIFEST_SUFFIX, to_name
from dropsweep.records.codec import VERSION, dump, load, metrics_in, number_out

LABEL: Final = re.compile(r"(\d{4,})-\d{6,}-[A-Za-z0-9_-]+")
_WITH_REFERENCES: Final = 2
"""Version of a manifest that refers to files of older checkpoints; one that does not can be read by older programs."""
_MAX_NAME_BYTES: Final = 255
"""Of a file or folder, on the file systems of Linux and macOS."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a checkpoint.

    Attributes:
        path: below the checkpoint's folder, with slashes.
        sha256: of its content, in hexadecimal.
        blob: where it lies, below the folder of all checkpoints of the trial, when an older one has brought it there;
            empty: below its own checkpoint's label, by its path.
    """

    path: str
    size_bytes: int
    sha256: str
    blob: str = ""

    def below(self, label: str) -> str:
        """Returns where it lies, below the folder of all checkpoints, as a file of the one with this label."""
        return self.blob or f"{label}/{self.path}"


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
        version = _WITH_REFERENCES if any(file.blob for file in self.files) else VERSION
        files = [_file_out(file) for file in self.files]
        return dump(
            {"version": version, "name": self.name, "attempt": self.attempt, "metrics": metrics, "files": files}
        )

    @classmethod
    def from_json(cls, body: bytes) -> "Manifest":
        """Reads what `to_json` gave.

        Raises:
            StorageCorrupt: it is no JSON object, or of a newer version.
            CheckpointError: it is not laid out as a manifest is, names a file outside of the checkpoint, or refers to
                what can be no checkpoint's file.
        """
        document = load(body, newest=_WITH_REFERENCES)
        try:
            files = tuple(
                StoredFile(str(file["path"]), int(file["size_bytes"]), str(file["sha256"]), str(file.get("blob", "")))
                for file in document["files"]
            )
            metrics = metrics_in(document.get("metrics", {}))
            manifest = cls(str(document.get("name", "")), int(document.get("attempt", 0)), metrics, files)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"its manifest is not laid out as one: {type(error).__name__} {error}") from error
        for file in files:
            _check_path(file.path)
            if file.blob:
                label, _, path = file.blob.partition("/")
                if LABEL.fullmatch(label) is None:
                    raise CheckpointError(f"its manifest refers to {file.blob[:80]!r}, which is no checkpoint's file")
                _check_path(path)
        return manifest


def label_of(attempt: int, number: int, name: str) -> str:
    """Names the checkpoint that `attempt` makes as its `number`th, counted from 1."""
    return f"{attempt:04}-{number:06}-{to_name(name)}"


def attempt_of(label: str) -> int:
    """Returns the attempt that made a checkpoint."""
    return int(label.partition("-")[0])


def label_in(name: str) -> str:
    """Returns whose manifest a blob is, by the last part of its name; empty when it is none."""
    label = name.removesuffix(MANIFEST_SUFFIX)
    return label if label != name and LABEL.fullmatch(label) else ""


def _file_out(file: StoredFile) -> dict[str, Any]:
    document: dict[str, Any] = {"path": file.path, "size_bytes": file.size_bytes, "sha256": file.sha256}
    return {**document, "blob": file.blob} if file.blob else document


def _check_path(path: str) -> None:
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise CheckpointError(f"its manifest names {path!r}, which lies outside of it")
    if "\0" in path or any(len(os.fsencode(part)) > _MAX_NAME_BYTES for part in parts):
        raise CheckpointError(f"its manifest names {path[:80]!r}, which can be no file's name")
