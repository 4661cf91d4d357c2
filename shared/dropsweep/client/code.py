"""A local code folder as the container `code` keeps it: under the digest of what is in it.

The same folder is uploaded once, however often it is submitted, and a running job never sees a later edit.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import pathspec

from dropsweep.client.folders import FolderFile, Kind, walk
from dropsweep.errors import Problem, SpecError
from dropsweep.names import CODE
from dropsweep.snapshots import SNAPSHOTS, digest_of
from dropsweep.storage import Store

MAX_CODE_BYTES: Final = 500 * 1024 * 1024
IGNORE_FILES: Final = (".amlignore", ".gitignore")
"""The first of these that lies in the folder says what stays behind, in Git's pattern language."""
NEVER_UPLOADED: Final = (".git/", "__pycache__/", ".venv/", ".dropsweep/")

_UPLOADERS: Final = 8


@dataclass(frozen=True, slots=True)
class CodeFolder:
    """A code folder as it was at one moment.

    Attributes:
        files: in the order of their paths.
        digest: what `snapshots.digest_of` makes of them.
    """

    files: tuple[FolderFile, ...]
    digest: str

    @property
    def blob(self) -> str:
        """The folder's path in the container `code`, without a slash at the end."""
        return f"{SNAPSHOTS}/{self.digest}"

    @property
    def size_bytes(self) -> int:
        """Size of all files together."""
        return sum(file.size_bytes for file in self.files)


def read_folder(folder: Path, *, where: str) -> CodeFolder:
    """Reads a code folder: which files belong to it, and their digest.

    Args:
        folder: the folder, which exists.
        where: the key in the job file that names it (`code` or `trial.code`), for messages.

    Raises:
        SpecError: nothing in it, more than `MAX_CODE_BYTES`, a link that leads out of it or to a folder, something
            that is neither file nor folder, or a name or depth that the storage cannot keep.
        OSError: a file cannot be read.
    """
    root = folder.resolve()
    num_above = 2  # `CodeFolder.blob`
    kind = Kind("code folder", ", or list it in .amlignore", partial(_refused, where), num_above)
    ignored = _ignored(root)
    files = tuple(sorted(walk(root, kind, ignored.match_file), key=lambda file: file.relative))
    if not files:
        raise _refused(where, folder, "a code folder has at least one file in it", "Name the folder of your script")
    size_bytes = sum(file.size_bytes for file in files)
    if size_bytes > MAX_CODE_BYTES:
        largest = max(files, key=lambda file: file.size_bytes)
        raise _refused(
            where,
            folder,
            f"a code folder holds at most {MAX_CODE_BYTES // 2**20} MiB and this one has {size_bytes // 2**20} MiB, "
            f"{largest.size_bytes // 2**20} MiB of them in {largest.relative}",
            "Put data into a container and name it under inputs, or list what the job does not need in .amlignore",
        )
    return CodeFolder(files, digest_of((file.relative, file.file) for file in files))


def upload_folder(store: Store, folder: CodeFolder) -> int:
    """Uploads what is not there yet and returns how many files that were; safe to repeat after an interruption.

    Raises:
        SpecError: a file was edited meanwhile; what was uploaded of it is deleted again.
        StorageError: as the storage does.
    """
    there = {found.name: found.size_bytes for found in store.blobs.list(CODE, f"{folder.blob}/")}
    absent = [file for file in folder.files if there.get(f"{folder.blob}/{file.relative}") != file.size_bytes]

    def send(file: FolderFile) -> None:
        name = f"{folder.blob}/{file.relative}"
        store.blobs.upload(CODE, name, file.file)
        if not file.is_as_found:
            # The digest vouches for the content, so a file that is not what was digested must not stay under it.
            store.blobs.delete(CODE, name)
            raise SpecError(
                (Problem("code", file.relative, "the folder stays as it is during the upload", "Submit again"),)
            )

    with ThreadPoolExecutor(_UPLOADERS, thread_name_prefix="upload") as pool:
        for _ in pool.map(send, absent):
            pass
    return len(absent)


def _ignored(root: Path) -> pathspec.GitIgnoreSpec:
    lines = [*NEVER_UPLOADED]
    for name in IGNORE_FILES:
        if (root / name).is_file():
            lines = [*(root / name).read_text(encoding="utf-8", errors="replace").splitlines(), *lines]
            break
    return pathspec.GitIgnoreSpec.from_lines(lines)


def _refused(where: str, value: object, rule: str, remedy: str) -> SpecError:
    return SpecError((Problem(where, str(value)[:80], rule, remedy),))
