"""Brings a job's files home, below one folder and nowhere else, whatever the blobs are called."""

import hashlib
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from dropsweep.client.targets import TakenNames, target_of, tells_case, why_no_target
from dropsweep.errors import CheckpointError, DropsweepError, StorageCorrupt
from dropsweep.manifests import Manifest, StoredFile, label_in
from dropsweep.names import RUNS, JobKey
from dropsweep.records import JobRecord
from dropsweep.storage import Store

_DOWNLOADERS: Final = 8
_BATCH: Final = 256


@dataclass(frozen=True, slots=True)
class Download:
    """What was brought home.

    Attributes:
        folder: where it lies.
        num_files, size_bytes: how much it is.
        refused: blobs that were left where they are, in the order of their names.
    """

    folder: Path
    num_files: int
    size_bytes: int
    refused: "tuple[LeftOut, ...]"


@dataclass(frozen=True, slots=True, order=True)
class LeftOut:
    """A blob that was left where it is, and why, as a sentence without a full stop."""

    name: str
    reason: str


class Unreachable(Exception):
    """A blob has a name that cannot be asked for; its text says why. It is left where it is."""


def results_of(key: JobKey) -> tuple[str, ...]:
    """Names the files that a job has one of; those that do not exist are passed over."""
    return (key.record, key.spec, key.results, key.best, key.report, key.error)


def files_of_trial(store: Store, key: JobKey, trial: int) -> Iterator[str]:
    """Lists the blobs of one trial: its record, and each attempt's logs, metrics, outputs, and its checkpoints."""
    yield key.trial(trial)
    for found in store.blobs.list(RUNS, key.trial_folder(trial)):
        yield found.name


def files_of_job(store: Store, key: JobKey) -> Iterator[str]:
    """Lists every blob of a job."""
    for found in store.blobs.list(RUNS, f"{key.path}/"):
        yield found.name


def download(
    get: Callable[[str, Path], bool],
    key: JobKey,
    names: Iterable[str],
    destination: Path,
    *,
    is_case_sensitive: bool | None = None,
) -> Download:
    """Downloads blobs of one job into a folder, laid out as they are below the job's own.

    Args:
        get: writes the blob of a name into a file and tells whether there is one; called from several threads. It
            may raise Unreachable.
        key: the job.
        names: the blobs, by their names in the container `runs`.
        destination: the folder.
        is_case_sensitive: whether the disk tells `A` from `a`; None: it is tried. Where it does not, of several blobs
            that would be one file the first to come is written and the others are left out.

    A file appears whole or not at all, and replaces one of its name. Nothing is written outside `destination`, not
    even through a link that lies in it. A checkpoint whose manifest is among the blobs gets all its files, also those
    that lie with an older one in the storage. One of these that is not there any more, for the trial goes on and
    deletes what it does not keep, is left out and said.

    Raises:
        DropsweepError: the folder holds files of another job.
        OSError: the folder cannot be written.
        StorageError: as the storage does; what was downloaded stays.
    """
    _refuse_another(destination, key)
    destination.mkdir(parents=True, exist_ok=True)
    root = destination.resolve()
    sizes: list[int] = []
    refused: list[LeftOut] = []
    taken = TakenNames(tells_case(root) if is_case_sensitive is None else is_case_sensitive)

    def fetch(name: str, relative: str, get: Callable[[str, Path], bool] = get, why_needed: str = "") -> None:
        target = target_of(root, relative)
        if target is None:
            refused.append(LeftOut(name, why_no_target(relative)))
            return
        if not taken.take(relative):
            refused.append(LeftOut(name, "this disk does not tell upper from lower case, and another file is there"))
            return
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            size = _fetch(get, name, target)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            refused.append(LeftOut(name, "a file and a folder cannot have one name"))  # `a` beside `a/b`: blobs can
            return
        except Unreachable as error:
            refused.append(LeftOut(name, str(error)))
            return
        if size is not None:
            sizes.append(size)
        elif why_needed:
            refused.append(LeftOut(name, f"{why_needed}, and it was deleted meanwhile. Download once more"))

    base = f"{key.path}/"
    with ThreadPoolExecutor(_DOWNLOADERS, thread_name_prefix="download") as pool:
        for batch in _batches(names):
            relatives = [name.removeprefix(base) for name in batch]
            for _ in pool.map(fetch, batch, relatives):
                pass
            for whole, described in _referenced(root, relatives):
                older = f"{whole.checkpoints}{described.blob}"
                here = partial(_copied, target_of(root, older), described, get)
                fetch(f"{base}{older}", f"{whole.folder}{described.path}", here, f"{whole.folder} refers to it")
    return Download(destination, len(sizes), sum(sizes), tuple(sorted(refused)))


def _refuse_another(folder: Path, key: JobKey) -> None:
    """Lets no two jobs into one folder, where their trials could not be told apart.

    Raises:
        DropsweepError: the job record that lies there is of another one.
    """
    try:
        there = JobRecord.from_json((folder / key.record.removeprefix(f"{key.path}/")).read_bytes()).key
    except (OSError, StorageCorrupt):
        return
    if there != key:
        raise DropsweepError(
            f"{folder} holds files of {there.path}: a folder is for one job, here {key.path}. Name another one, or "
            "remove it"
        )


def _fetch(get: Callable[[str, Path], bool], name: str, target: Path) -> int | None:
    part = target.with_name(f".dropsweep-{uuid.uuid4().hex}")
    try:
        if not get(name, part):
            return None
        size = part.stat().st_size
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return size


@dataclass(frozen=True, slots=True)
class _Whole:
    """A checkpoint whose manifest was downloaded.

    Attributes:
        checkpoints, folder: of all of the trial's, and its own, below the job's folder; each ends in a slash.
    """

    checkpoints: str
    folder: str


def _referenced(root: Path, relatives: Iterable[str]) -> Iterator[tuple[_Whole, StoredFile]]:
    """Yields what the manifests among some files that were downloaded refer to."""
    for relative in relatives:
        folder, _, last = relative.rpartition("/")
        label, file = label_in(last), target_of(root, relative)
        if not label or file is None:
            continue
        try:
            files = Manifest.from_json(file.read_bytes()).files
        except (CheckpointError, StorageCorrupt, OSError):
            continue  # somebody's own file, or a damaged one, which no attempt resumes from either
        whole = _Whole(f"{folder}/", f"{folder}/{label}/")
        yield from ((whole, described) for described in files if described.blob)


def _copied(older: Path | None, described: StoredFile, get: Callable[[str, Path], bool], name: str, part: Path) -> bool:
    """Gets a file that may lie here already, for it is brought with the older checkpoint: then it is copied."""
    if older is not None and older.is_file() and older.stat().st_size == described.size_bytes:
        with older.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() == described.sha256:
                shutil.copyfile(older, part)
                return True
    return get(name, part)


def _batches(names: Iterable[str]) -> Iterator[list[str]]:
    """A few hundred at a time: a job may have more files than memory holds names."""
    batch: list[str] = []
    for name in names:
        batch.append(name)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    yield batch
