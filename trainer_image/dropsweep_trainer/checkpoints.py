"""Checkpoints: uploaded while training goes on, the manifest last; the latest whole one comes back to resume from.

A checkpoint is a folder that the script made whole by renaming it into `$DROPSWEEP_CHECKPOINTS`. In the storage it is
`checkpoints/{attempt:04}-{number:06}-{name}/…`, and it exists once `….manifest.json` beside it does: labels sort by
age, and those of a later attempt always come after those of a stale worker. The last two are kept.
"""

import hashlib
import logging
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dropsweep.errors import CheckpointError, StorageCorrupt, StorageError
from dropsweep.names import MANIFEST_SUFFIX, RUNS, JobKey, to_name
from dropsweep.records.codec import VERSION, dump, load, metrics_in, number_out
from dropsweep.storage import Store
from dropsweep_trainer.reported import Reported

_log = logging.getLogger(__name__)
_INTERVAL_S: Final = 1.0
_NUM_KEPT: Final = 2


@dataclass(frozen=True, slots=True)
class _Made:
    """A folder that the script has made whole; another one of the same name has another inode or time."""

    made_ns: int
    name: str
    inode: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole checkpoint that was brought back.

    Attributes:
        label: names it in the storage.
        metrics: the last value of each metric that the script had reported when it was made.
    """

    label: str
    metrics: Mapping[str, float]


def _go_on() -> None:
    """Raises nothing."""


class Checkpointer:
    """Uploads a trial's checkpoints from a thread of its own, so that a large one delays neither logs nor training."""

    def __init__(self, store: Store, job: JobKey, trial: int, attempt: int, folder: Path, reported: Reported) -> None:
        self._store = store
        self._job, self._trial, self._attempt = job, trial, attempt
        self._folder = folder
        self._reported = reported
        self._last: _Made | None = None
        self._num_uploaded = 0
        self._done = threading.Event()
        self._abandoned = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpointer", daemon=True)
        self._thread.start()

    @property
    def has_progressed(self) -> bool:
        """True once a checkpoint of this attempt is whole."""
        return self._num_uploaded > 0

    def abandon(self) -> None:
        """Ends the thread without a further upload: the claim is lost."""
        self._abandoned.set()
        self._done.set()
        self._thread.join()

    def finish(self) -> None:
        """Ends the thread and uploads the last whole checkpoint, if it is not up yet.

        Raises:
            StorageError: as the storage does; may be called again.
        """
        self._done.set()
        self._thread.join()
        self._upload_latest()

    def _run(self) -> None:
        while not self._done.wait(_INTERVAL_S):
            try:
                self._upload_latest()
            except StorageError as error:
                _log.warning("a checkpoint is late: %s", error)
            except OSError as error:
                # The script removed the folder while it was read: its next one will do.
                _log.warning("a checkpoint went away while it was being uploaded: %s", error)
            except Exception:  # noqa: BLE001 - the edge of a thread: told, and the next checkpoint is tried
                _log.exception("a checkpoint was not uploaded")

    def _upload_latest(self) -> None:
        """Uploads the newest folder; older ones that were never up are passed over: nobody would resume from them."""
        made = self._made()
        if not made or made[-1] == self._last:
            return
        latest = made[-1]
        # Read before the files: what is in the manifest was reported no later than the checkpoint is taken up again.
        metrics = self._reported.latest().values
        label = f"{self._attempt:04}-{self._num_uploaded + 1:06}-{to_name(latest.name)}"
        files = self._upload_files(label, self._folder / latest.name)
        if self._abandoned.is_set() or latest not in self._made():
            return  # replaced by another of its name while it was read: that one is next
        manifest = {
            "version": VERSION,
            "name": latest.name,
            "attempt": self._attempt,
            "metrics": {name: number_out(value) for name, value in metrics.items()},
            "files": files,
        }
        self._store.blobs.put(RUNS, self._job.manifest(self._trial, label), dump(manifest))
        self._num_uploaded += 1
        self._last = latest
        _log.info("%s trial %d: checkpoint %s is whole", self._job.path, self._trial, label)
        for old in whole_labels(self._store, self._job, self._trial)[:-_NUM_KEPT]:
            delete_checkpoint(self._store, self._job, self._trial, old)
        for found in made[:-_NUM_KEPT]:
            shutil.rmtree(self._folder / found.name, ignore_errors=True)

    def _made(self) -> list[_Made]:
        """The folders there are, oldest first; none when the script has removed the folder itself."""
        if not self._folder.is_dir():
            return []
        found = [
            _Made(entry.stat().st_mtime_ns, entry.name, entry.stat().st_ino)
            for entry in self._folder.iterdir()
            if entry.is_dir() and not entry.is_symlink() and not entry.name.startswith(".")
        ]
        return sorted(found, key=lambda made: (made.made_ns, made.name))

    def _upload_files(self, label: str, folder: Path) -> list[dict[str, Any]]:
        described = []
        for file in sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()):
            if self._abandoned.is_set():
                break
            name = file.relative_to(folder).as_posix()
            self._store.blobs.upload(RUNS, f"{self._job.checkpoint(self._trial, label)}{name}", file)
            described.append({"path": name, "size_bytes": file.stat().st_size, "sha256": _sha256(file)})
        return described


def whole_labels(store: Store, job: JobKey, trial: int) -> list[str]:
    """Returns the labels of all whole checkpoints of a trial, oldest first.

    Raises:
        StorageError: as the storage does.
    """
    folder = job.checkpoints(trial)
    labels = [
        found.name[len(folder) :].removesuffix(MANIFEST_SUFFIX)
        for found in store.blobs.list(RUNS, folder)
        if found.name.endswith(MANIFEST_SUFFIX) and "/" not in found.name[len(folder) :]
    ]
    return sorted(labels)


def fetch_latest(
    store: Store, job: JobKey, trial: int, into: Path, check: Callable[[], None] = _go_on
) -> Checkpoint | None:
    """Downloads the latest whole checkpoint into the folder `into`, which does not exist yet.

    One that does not hold what its manifest says is passed over, with a warning, for the one before it.

    Returns:
        It, or None when there is none.

    Raises:
        StorageError: as the storage does.
    """
    passed_over: set[str] = set()
    while True:
        # Listed anew each time: a stale worker may have deleted old ones and made new ones meanwhile.
        left = [label for label in whole_labels(store, job, trial) if label not in passed_over]
        if not left:
            return None
        try:
            return Checkpoint(left[-1], _fetch(store, job, trial, left[-1], into, check))
        except (CheckpointError, StorageCorrupt) as error:
            _log.warning("%s trial %d: passing over checkpoint %s: %s", job.path, trial, left[-1], error)
            passed_over.add(left[-1])
            shutil.rmtree(into, ignore_errors=True)


def delete_checkpoint(store: Store, job: JobKey, trial: int, label: str) -> None:
    """Deletes a checkpoint, its manifest first, so that half of one never counts as whole.

    Raises:
        StorageError: as the storage does.
    """
    store.blobs.delete(RUNS, job.manifest(trial, label))
    for found in list(store.blobs.list(RUNS, job.checkpoint(trial, label))):
        store.blobs.delete(RUNS, found.name)


def _fetch(
    store: Store, job: JobKey, trial: int, label: str, into: Path, check: Callable[[], None]
) -> dict[str, float]:
    blob = store.blobs.read(RUNS, job.manifest(trial, label))
    if blob is None:
        raise CheckpointError("its manifest has just been deleted")
    into.mkdir(parents=True)
    manifest = load(blob.body)
    for described in manifest.get("files", []):
        file = into / described["path"]
        if not file.resolve().is_relative_to(into.resolve()):
            raise CheckpointError(f"its manifest names {described['path']!r}, which lies outside of it")
        file.parent.mkdir(parents=True, exist_ok=True)
        if not store.blobs.download(RUNS, f"{job.checkpoint(trial, label)}{described['path']}", file, check=check):
            raise CheckpointError(f"{described['path']} is missing")
        if file.stat().st_size != described["size_bytes"] or _sha256(file) != described["sha256"]:
            raise CheckpointError(f"{described['path']} does not have the size and hash that the manifest gives")
    return metrics_in(manifest.get("metrics", {}))


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
