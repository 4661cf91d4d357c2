"""Resuming: the latest whole checkpoint comes back, or the one before it when that one is damaged."""

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from dropsweep.errors import CheckpointError, StorageCorrupt
from dropsweep.manifests import Manifest, StoredFile, whole_labels
from dropsweep.names import RUNS, JobKey
from dropsweep.storage import SINGLE_GET_BYTES, Digest, Store, head_of, in_order
from dropsweep_trainer.checkpoints.contents import Content, Known

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole checkpoint that was brought back.

    Attributes:
        label: names it in the storage.
        metrics: the last value of each metric that the script had reported when it was made.
        known: its files, which the attempt's own checkpoints may refer to; nothing when a later one was passed over,
            for a worker that is late may just be deleting what only that one shows to be needed.
    """

    label: str
    metrics: Mapping[str, float]
    known: Known = field(default_factory=Known)


def fetch_latest(
    store: Store,
    job: JobKey,
    trial: int,
    into: Path,
    check: Callable[[], None] | None = None,
    *,
    warn: Callable[[str], None] | None = None,
) -> Checkpoint | None:
    """Downloads the latest whole checkpoint into the folder `into`, which does not exist yet.

    One that does not hold what its manifest says is passed over, with a warning, for the one before it.

    Args:
        store: the storage account.
        job: the job.
        trial: the trial's number.
        into: where it is to lie.
        check: called from time to time; what it raises ends the download.
        warn: takes each warning, a line for people; it is in the log too.

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
            found = _fetch(store, job, trial, left[-1], into, check or _go_on)
            return replace(found, known=Known()) if passed_over else found
        except (CheckpointError, StorageCorrupt) as error:
            instead = "the one before it" if left[:-1] else "a start from the beginning, as there is no other"
            warning = f"checkpoint {left[-1]} is passed over for {instead}: {error}"
            _log.warning("%s trial %d: %s", job.path, trial, warning)
            if warn is not None:
                warn(warning)
            passed_over.add(left[-1])
            shutil.rmtree(into, ignore_errors=True)


def _fetch(store: Store, job: JobKey, trial: int, label: str, into: Path, check: Callable[[], None]) -> Checkpoint:
    blob = store.blobs.read(RUNS, job.manifest(trial, label))
    if blob is None:
        raise CheckpointError("its manifest has just been deleted")
    manifest = Manifest.from_json(blob.body)
    into.mkdir(parents=True)
    for folder in {(into / described.path).parent for described in manifest.files}:
        folder.mkdir(parents=True, exist_ok=True)

    def fetch(described: StoredFile) -> tuple[StoredFile, Content]:
        check()
        name, digest = f"{job.checkpoints(trial)}{described.below(label)}", Digest()
        if not store.blobs.download(RUNS, name, into / described.path, check=check, digest=digest):
            raise CheckpointError(f"{described.path} is missing")
        size_bytes = (into / described.path).stat().st_size
        if size_bytes != described.size_bytes or digest.sha256 != described.sha256:
            raise CheckpointError(f"{described.path} does not have the size and hash that its manifest gives")
        return described, Content(size_bytes, digest.head or head_of(b""), digest.sha256)

    def files() -> Iterator[tuple[StoredFile, Content]]:
        # Small files several at a time; a large one comes in parts, several at a time, and so alone.
        small = [described for described in manifest.files if described.size_bytes <= SINGLE_GET_BYTES]
        yield from in_order((partial(fetch, described) for described in small), check)
        yield from (fetch(described) for described in manifest.files if described.size_bytes > SINGLE_GET_BYTES)

    return Checkpoint(label, manifest.metrics, Known.of(label, files()))


def _go_on() -> None:
    """Raises nothing."""
