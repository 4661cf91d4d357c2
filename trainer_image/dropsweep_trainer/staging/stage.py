"""Code and inputs of a trial: brought once a node and read by many trials; code is copied for each trial."""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dropsweep.errors import NotFoundError, StagingError
from dropsweep.names import CODE, JobKey
from dropsweep.snapshots import digest_in
from dropsweep.spec import JobSpec
from dropsweep.storage import Store
from dropsweep_trainer.files.folders import remove
from dropsweep_trainer.staging.cache import FULL, Cache, Use
from dropsweep_trainer.staging.copies import copy_writable
from dropsweep_trainer.staging.downloads import Changed, Download, snapshot_key

_MAX_PLACES: Final = 1000
"""What is remembered of the cache: that much for the jobs at hand, and the oldest is looked up anew."""
_NUM_TRIES: Final = 4
_LOOK_S: Final = 0.2

Check = Callable[[], None]
"""Raises when what it is called from shall end."""


def _go_on() -> None:
    """Raises nothing."""


@dataclass(slots=True)
class _Place:
    """Where something lies once it is staged; the lock lets one slot ask the account and the others wait."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    key: str = ""


class Stage:
    """Brings code and inputs to one node. Safe to use from many slots, and from several workers with one folder."""

    def __init__(self, store: Store, folder: Path, max_bytes: int | None = None) -> None:
        """Opens the node's cache.

        Args:
            store: the storage account.
            folder: the cache; several workers may share it.
            max_bytes: what it may hold; more only while that is in use. None: half of what its file system holds.

        Raises:
            OSError: the folder cannot be made.
        """
        self._store = store
        self._cache = Cache(folder, max_bytes)
        self._guard = threading.Lock()
        self._places: OrderedDict[tuple[JobKey, str, str], _Place] = OrderedDict()

    def code(self, job: JobKey, spec: JobSpec, into: Path, check: Check, *, is_exposed: bool = True) -> None:
        """Copies the job's code into the folder `into`, which does not exist yet; an empty folder for a job without.

        Args:
            job: the job.
            spec: its spec.
            into: where the copy goes.
            check: called from time to time; what it raises ends the staging.
            is_exposed: trials run as the worker's own user, and may have changed what lies in the cache.

        Raises:
            StagingError: the code is not there any more, or no node can hold it. OSError: this one cannot.
        """
        if spec.code is None:
            into.mkdir(parents=True)
            return
        with self.folder(job, CODE, spec.code, check, is_exposed=is_exposed) as cached:
            try:
                copy_writable(cached.path, into)
            except OSError as error:
                if error.errno not in FULL:
                    raise
                remove(into)
                self._cache.clear()
                copy_writable(cached.path, into)

    def inputs(
        self, job: JobKey, spec: JobSpec, used: ExitStack, check: Check, *, is_exposed: bool = True
    ) -> dict[str, str]:
        """Stages every uri_file and uri_folder of the job and returns their paths on this node, by name.

        Args:
            job: the job.
            spec: its spec.
            used: they stay, as they are, until this is closed.
            check: as in `code`.
            is_exposed: as in `code`.

        Raises:
            StagingError: one is not there any more, or no node can hold it. OSError: this one cannot.
        """
        paths = {}
        for name, item in spec.stored_inputs.items():
            stage = self.folder if item.is_folder else self.file
            use = used.enter_context(stage(job, item.container, item.blob, check, is_exposed=is_exposed))
            paths[name] = str(use.path if item.is_folder else use.path / item.blob.rpartition("/")[2])
        return paths

    def folder(
        self, job: JobKey, container: str, prefix: str, check: Check = _go_on, *, is_exposed: bool = True
    ) -> Use:
        """Returns a read-only folder with the blobs below `prefix`.

        They are as they were when this job first asked here, as long as the cache has them.

        Raises:
            StagingError: there are none.
        """
        return self._stage(job, container, f"{prefix}/" if prefix else "", check, is_exposed)

    def file(self, job: JobKey, container: str, name: str, check: Check = _go_on, *, is_exposed: bool = True) -> Use:
        """Returns a read-only folder with one blob as its only file, which has the last part of the blob's name.

        It is as it was when this job first asked here, as long as the cache has it.

        Raises:
            StagingError: there is none.
        """
        return self._stage(job, container, name, check, is_exposed)

    def _stage(self, job: JobKey, container: str, name: str, check: Check, is_exposed: bool) -> Use:
        key = (job, container, name)
        with self._guard:
            place = self._places.setdefault(key, _Place())
            self._places.move_to_end(key)
            if len(self._places) > _MAX_PLACES:
                self._places.popitem(last=False)
        with _held(place.lock, check):
            digest = digest_in(name) if container == CODE else None
            known = place.key or (snapshot_key(digest) if digest else "")
            if known and (use := self._cache.find(known, check, is_exposed=is_exposed)):
                return use
            for _ in range(_NUM_TRIES):
                download = self._list(container, name)
                with contextlib.suppress(Changed):
                    use = self._cache.add(download.key, download, check, is_exposed=is_exposed)
                    place.key = download.key
                    return use
        raise StagingError(
            f"{container}/{name} was changed each of the {_NUM_TRIES} times it was being staged. Let nobody write "
            "there while a job that reads it runs"
        )

    def _list(self, container: str, name: str) -> Download:
        is_folder = name.endswith("/") or not name
        try:
            found = [blob for blob in self._store.blobs.files(container, name) if is_folder or blob.name == name]
        except NotFoundError:
            found = []
        if not found:
            raise StagingError(
                f"{container}/{name} is not there: it was when the job was accepted. Upload it and drop the job again"
            )
        base = len(name) if is_folder else name.rfind("/") + 1
        return Download(self._store, self._cache.objects, container, name, found, base)


@contextlib.contextmanager
def _held(lock: threading.Lock, check: Check) -> Iterator[None]:
    """Holds a lock; asks `check` while it waits."""
    while not lock.acquire(timeout=_LOOK_S):
        check()
    try:
        yield
    finally:
        lock.release()
