"""Code and inputs of a trial: downloaded once a node, read-only, shared by trials; code is copied for each trial."""

import hashlib
import os
import shutil
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dropsweep.errors import NotFoundError, StagingError
from dropsweep.names import CODE, JobKey
from dropsweep.snapshots import digest_in, digest_of
from dropsweep.spec import JobSpec
from dropsweep.storage import Listed, Store
from dropsweep_trainer.folders import remove

_DOWNLOADS: Final = 8
_MAX_PLACES: Final = 1000
"""What is remembered of the cache: that much for the jobs at hand, and the oldest is looked up anew."""


Check = Callable[[], None]
"""Raises when what it is called from shall end."""


def _go_on() -> None:
    """Raises nothing."""


@dataclass(slots=True)
class _Place:
    """Where something lies once it is staged; the lock lets one slot do it and the others wait."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    path: Path | None = None


class Stage:
    """The cache of one node. Safe to use from many slots, and from several workers with one folder."""

    def __init__(self, store: Store, folder: Path, partial: Path | None = None) -> None:
        """Opens a cache.

        Args:
            store: the storage account.
            folder: the cache; several workers may share it.
            partial: where folders are filled, on the same file system: this worker's own, or the cache itself.
        """
        self._store = store
        self._folder = folder
        self._partial = partial or folder
        self._guard = threading.Lock()
        self._places: OrderedDict[tuple[JobKey, str, str], _Place] = OrderedDict()

    def code(self, job: JobKey, spec: JobSpec, into: Path, check: Check) -> None:
        """Copies the job's code into the folder `into`, which does not exist yet; an empty folder for a job without.

        Args:
            job: the job.
            spec: its spec.
            into: where the copy goes.
            check: called from time to time; what it raises ends the staging.

        Raises:
            StagingError: the code is not there any more.
        """
        if spec.code is None:
            into.mkdir(parents=True)
            return
        cached = self.folder(job, CODE, spec.code, check)
        shutil.copytree(cached, into, copy_function=_copy_writable)
        for folder in (into, *(path for path in into.rglob("*") if path.is_dir())):
            folder.chmod(0o755)

    def inputs(self, job: JobKey, spec: JobSpec, check: Check) -> dict[str, str]:
        """Stages every uri_file and uri_folder of the job and returns their paths on this node, by name.

        Args:
            job: the job.
            spec: its spec.
            check: as in `code`.

        Raises:
            StagingError: one is not there any more.
        """
        paths = {}
        for name, item in spec.stored_inputs.items():
            if item.is_folder:
                paths[name] = str(self.folder(job, item.container, item.blob, check))
            else:
                paths[name] = str(self.file(job, item.container, item.blob, check))
        return paths

    def folder(self, job: JobKey, container: str, prefix: str, check: Check = _go_on) -> Path:
        """Returns a read-only folder with the blobs below `prefix`, as they were when this job first asked here.

        Raises:
            StagingError: there are none.
        """
        listing = f"{prefix}/" if prefix else ""
        return self._once(job, container, listing, check)

    def file(self, job: JobKey, container: str, name: str, check: Check = _go_on) -> Path:
        """Returns a read-only file with the blob's content, as it was when this job first asked here.

        Raises:
            StagingError: there is none.
        """
        return self._once(job, container, name, check) / name.rpartition("/")[2]

    def _once(self, job: JobKey, container: str, name: str, check: Check) -> Path:
        key = (job, container, name)
        with self._guard:
            place = self._places.setdefault(key, _Place())
            self._places.move_to_end(key)
            if len(self._places) > _MAX_PLACES:
                self._places.popitem(last=False)
        with place.lock:
            if place.path is None:
                place.path = self._stage(container, name, check)
            return place.path

    def _stage(self, container: str, name: str, check: Check) -> Path:
        is_folder = name.endswith("/") or not name
        try:
            found = [blob for blob in self._store.blobs.files(container, name) if is_folder or blob.name == name]
        except NotFoundError:
            found = []
        if not found:
            raise StagingError(
                f"{container}/{name} is not there: it was when the job was accepted. Upload it and drop the job again"
            )
        base = len(name) if is_folder else len(name.rpartition("/")[0] + "/") if "/" in name else 0
        version = hashlib.sha256("\n".join(f"{blob.name} {blob.etag}" for blob in found).encode())
        folder = self._folder / f"{container}-{version.hexdigest()[:32]}"
        if not folder.exists():
            self._download(container, found, base, folder, check)
        return folder

    def _download(self, container: str, found: list[Listed], base: int, folder: Path, check: Check) -> None:
        """Fills a folder beside the final one and renames it, so that a folder in the cache is always whole."""
        partial = self._partial / f".partial-{uuid.uuid4().hex}"

        def fetch(blob: Listed) -> None:
            file = partial / blob.name[base:]
            if not file.resolve().is_relative_to(partial.resolve()):
                raise StagingError(f"{container}/{blob.name} would be written outside its folder. Rename the blob")
            file.parent.mkdir(parents=True, exist_ok=True)
            check()
            if not self._store.blobs.download(container, blob.name, file, check=check):
                raise StagingError(f"{container}/{blob.name} was deleted while it was being staged. Upload it again")
            file.chmod(0o555)

        partial.mkdir(parents=True)
        try:
            with ThreadPoolExecutor(_DOWNLOADS, thread_name_prefix="stage") as pool:
                for _ in pool.map(fetch, found):
                    pass
            if container == CODE and (digest := digest_in(found[0].name[:base])) is not None:
                files = {blob.name[base:]: partial / blob.name[base:] for blob in found}
                _check_digest(found[0].name[:base], digest, files)
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                partial.rename(folder)
            except OSError:
                if not folder.exists():  # another worker was first: as good
                    raise
                return
            for path in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
                path.chmod(0o555)
        except (NotADirectoryError, IsADirectoryError, FileExistsError) as error:
            raise StagingError(
                f"{container}: {error.filename} is both a file and a folder: no file system can hold that. Rename one"
            ) from error
        finally:
            remove(partial)


def _check_digest(folder: str, digest: str, files: Mapping[str, Path]) -> None:
    """Looks whether a snapshot is what its name promises.

    Raises:
        StagingError: it is not.
    """
    if (found := digest_of(files.items())) != digest:
        raise StagingError(
            f"{CODE}/{folder} holds something else than was submitted: its digest is {found}. Find out who wrote "
            "there, delete the folder, and submit the job again"
        )


def _copy_writable(source: str, target: str) -> None:
    """Copies a file whose copy its trial may change; executable for its owner, as blobs have no modes."""
    shutil.copyfile(source, target)
    os.chmod(target, 0o755)
