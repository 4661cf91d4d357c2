"""Blobs on their way into a folder of the cache: what it is called, what is there already, and what must be brought."""

import errno
import functools
import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from dropsweep.errors import StagingError
from dropsweep.names import CODE
from dropsweep.snapshots import digest_in, digest_of
from dropsweep.storage import Digest, Listed, Store
from dropsweep.storage.parallel import in_order
from dropsweep_trainer.staging.objects import Objects, named_by_content, named_by_version
from dropsweep_trainer.staging.seals import Content, seal

_log = logging.getLogger(__name__)
_CLASHES: Final = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST)

Check = Callable[[], None]
"""Raises when what it is called from shall end."""


class Changed(Exception):
    """What is in the account is not what the list said any more, or never was: list it again."""


class Download:
    """What a folder of the cache is to hold: fills it as `cache.Filling` says."""

    def __init__(
        self, store: Store, objects: Objects, container: str, prefix: str, blobs: Iterable[Listed], base: int
    ) -> None:
        """Reads a list; nothing is asked of the account.

        Args:
            store: the account.
            objects: of the cache.
            container: where the blobs are.
            prefix: what they are listed by; names them for people.
            blobs: as listed.
            base: characters of a blob's name that its path in the folder lacks.

        Raises:
            StagingError: a blob's path leads out of the folder, or two have the same.
        """
        self._store = store
        self._objects = objects
        self._container = container
        self._prefix = prefix
        self._wanted: dict[str, tuple[Listed, list[str]]] = {}
        self._empty: list[str] = []
        paths: dict[str, str] = {}
        num_bytes = 0
        for blob in blobs:
            path = _path(container, blob.name, blob.name[base:])
            if path in paths:
                raise StagingError(f"{container}/{blob.name} and {paths[path]} would be the same file. Rename one")
            paths[path] = blob.name
            num_bytes += blob.size_bytes
            if blob.size_bytes == 0:
                self._empty.append(path)
            else:
                self._wanted.setdefault(self._name(blob), (blob, []))[1].append(path)
        self._content = Content(len(paths), num_bytes)
        self._missing: list[str] = []

    @functools.cached_property
    def key(self) -> str:
        """Names the folder by the paths in it and their contents, wherever the blobs lie in their container."""
        if digest := self._digest:
            return snapshot_key(digest)
        lines = [f"{path}\0{name}\n" for name, (_, paths) in self._wanted.items() for path in paths]
        lines += [f"{path}\0\n" for path in self._empty]
        return f"tree-{hashlib.sha256(''.join(sorted(lines)).encode()).hexdigest()[:40]}"

    @property
    def what(self) -> str:
        """Names it for people."""
        return f"{self._container}/{self._prefix}"

    @property
    def content(self) -> Content:
        """How much it is."""
        return self._content

    def link(self, folder: Path) -> Content:
        """Makes all folders below an empty one, and the files that lie in the cache; returns how much is missing.

        Raises:
            StagingError: no file system can hold these names. OSError: this one does not.
        """
        try:
            for path in self._empty:
                file = _made(folder / path)
                file.touch(exist_ok=False)
                seal(file)
            self._missing = []
            num_files = num_bytes = 0
            for name, (blob, paths) in self._wanted.items():
                if self._objects.link(name, _made(folder / paths[0])):
                    self._spread(folder, paths)
                else:
                    self._missing.append(name)
                    num_files += 1
                    num_bytes += blob.size_bytes
            return Content(num_files, num_bytes)
        except OSError as error:
            self._explain(error, folder)
            raise

    def fetch(self, folder: Path, check: Check) -> None:
        """Brings what `link` found missing, several files at a time; every file is sealed afterwards.

        Raises:
            Changed: a blob is gone, or is another one by now, or its MD5 is not what the service says.
            StagingError: a snapshot is not what its name promises; no file system can hold these names.
            StorageError: as the storage does. OSError: the disk is full, or does not work. Whatever `check` raises.
        """
        try:
            tasks = (functools.partial(self._fetch, folder, name, check) for name in self._missing)
            is_right = list(in_order(tasks, check))
        except OSError as error:
            self._explain(error, folder)
            raise
        if not all(is_right):
            raise Changed
        if digest := self._digest:
            paths = [*self._empty, *(path for _, paths in self._wanted.values() for path in paths)]
            _check_digest(self._prefix, digest, {path: folder / path for path in paths})

    def _fetch(self, folder: Path, name: str, check: Check) -> bool:
        """Brings one content to all paths that have it; False when it is another one than the service says."""
        blob, paths = self._wanted[name]
        file = folder / paths[0]
        md5 = _Md5()
        check()
        if not self._store.blobs.download(
            self._container, blob.name, file, check=check, etag=blob.etag, digest=md5 if blob.content_md5 else None
        ):
            raise Changed
        seal(file)
        if blob.content_md5 and md5.hexdigest != blob.content_md5:
            _log.warning(
                "%s/%s has a Content-MD5 that is not that of its content: it is not relied on. Upload the blob again, "
                "without a hash of your own",
                *(self._container, blob.name),
            )
            version = named_by_version(self._container, blob)
            self._objects.distrust(version)
            if name != version:
                self._objects.keep(version, file)
                return False
        self._objects.keep(name, file)
        self._spread(folder, paths)
        return True

    def _name(self, blob: Listed) -> str:
        version = named_by_version(self._container, blob)
        return version if self._objects.has(version) else named_by_content(self._container, blob) or version

    def _spread(self, folder: Path, paths: list[str]) -> None:
        """Gives the first path's content to the others."""
        for path in paths[1:]:
            file = _made(folder / path)
            try:
                os.link(folder / paths[0], file)
            except OSError as error:
                if error.errno in _CLASHES:
                    raise
                shutil.copyfile(folder / paths[0], file)
                seal(file)

    def _explain(self, error: OSError, folder: Path) -> None:
        """Raises a StagingError for what no other node could do either."""
        where = os.path.relpath(error.filename, folder) if error.filename else ""
        if error.errno in _CLASHES:
            raise StagingError(
                f"{self.what}: {where} is both a file and a folder: no file system can hold that. Rename one"
            ) from error
        if error.errno == errno.ENAMETOOLONG:
            raise StagingError(f"{self.what}: {where} is too long a name for a file. Rename the blob") from error

    @property
    def _digest(self) -> str | None:
        return digest_in(self._prefix) if self._container == CODE else None


def snapshot_key(digest: str) -> str:
    """Returns the key of a snapshot's folder in the cache."""
    return f"snapshot-{digest}"


class _Md5(Digest):
    """MD5 of a file as it was received."""

    def begin(self) -> None:
        """Forgets what came before."""
        self._md5 = hashlib.md5(usedforsecurity=False)

    def update(self, body: bytes) -> None:
        """Takes the next bytes."""
        self._md5.update(body)

    @property
    def hexdigest(self) -> str:
        """In hexadecimal."""
        return self._md5.hexdigest()


def _path(container: str, name: str, below: str) -> str:
    path = PurePosixPath(below)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise StagingError(f"{container}/{name} would be written outside its folder. Rename the blob")
    return str(path)


def _made(file: Path) -> Path:
    """Makes the folder that a file is to lie in."""
    if not file.parent.is_dir():
        file.parent.mkdir(parents=True, exist_ok=True)
    return file


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
