"""Data of this machine as a folder of the account that job files can name as an input.

The place is looked at before anything is sent; nothing is ever deleted, and nothing is overwritten unless that is asked
for. Each file is there as a whole or not at all, and one that is there already with the same content is not sent again,
so that an upload that was interrupted goes on where it stopped.
"""

import hashlib
import json
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final

from dropsweep.client.folders import FolderFile, Kind, walk
from dropsweep.errors import ConflictError, DropsweepError, NotFoundError, StorageDenied
from dropsweep.names import CONTAINERS, to_name
from dropsweep.storage import MAX_FILE_BYTES, SINGLE_PUT_BYTES, Listed, Store, in_order

DEFAULT_CONTAINER: Final = "data"
"""Where a name without a slash lies; the deployment makes this container, and its trainers may read it."""
_PLAIN: Final = re.compile(r"[\w./-]+")
_PLAIN_KEY: Final = re.compile(r"(?!(?:null|true|false|yes|no|on|off|y|n)\Z)[a-z][\w-]*", re.ASCII | re.IGNORECASE)
"""What YAML of any version reads as a text, and not as a number, a truth value or nothing."""
_READ_BYTES: Final = 1024 * 1024
_MAX_NAMED: Final = 5
_MAX_BLOB: Final = 1024
"""Characters of a blob's name.

Source:
    https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
"""

Check = Callable[[], None]
"""Called from time to time, from several threads; what it raises ends the upload."""


class Existing(StrEnum):
    """What to do with a destination that holds something else already."""

    REFUSE = "refuse"  # send nothing
    ADD = "add"  # send what is not there; nothing, when a file of the same name has other content
    REPLACE = "replace"  # send what is not there, and overwrite what has other content


class UploadProgress:
    """How far an upload is; written by its threads and read by whoever shows it.

    Attributes:
        place: `container/path`, once it is known; until then it is empty.
        num_found, found_bytes: files of the folder. num_same: those that are there already with the same content.
        num_due, due_bytes: files that are to be sent; 0 until that is known.
        num_sent: those of them that are there as a whole. sent_bytes: bytes that have been handed to the network.
    """

    def __init__(self) -> None:
        """Of nothing yet."""
        self._lock = threading.Lock()
        self.place = ""
        self.num_found = self.found_bytes = self.num_same = 0
        self.num_due = self.due_bytes = 0
        self.num_sent = self.sent_bytes = 0

    def send(self, num_bytes: int) -> None:
        """Counts bytes that are about to be sent."""
        with self._lock:
            self.sent_bytes += num_bytes

    def end(self) -> None:
        """Counts a file that is there as a whole now."""
        with self._lock:
            self.num_sent += 1


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What an upload came to.

    Attributes:
        place: `container/path`, as a job file names it.
        num_files, size_bytes: what was sent.
        num_same: files that were there already with the same content.
        num_others: blobs in the same place that are none of the folder's, and stay.
    """

    place: str
    num_files: int
    size_bytes: int
    num_same: int
    num_others: int

    @property
    def input_name(self) -> str:
        """What the input may be called in a job file: the last part of its path."""
        return to_name(self.place.rpartition("/")[2])

    @property
    def lines(self) -> str:
        """What to put into a job file."""
        key = self.input_name if _PLAIN_KEY.fullmatch(self.input_name) else _quoted(self.input_name)
        path = self.place if _PLAIN.fullmatch(self.place) else _quoted(self.place)
        return f"inputs:\n  {key}:\n    type: uri_folder\n    path: {path}\n"


def _quoted(text: str) -> str:
    """Returns a text as YAML has it in double quotes: as JSON, but all that is invisible by YAML's own escapes."""
    # Of these YAML takes some for line ends and refuses others; and of JSON's it refuses the pairs of surrogates.
    shown = json.dumps(text, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in shown)


class Datasets(ABC):
    """Brings data into the account."""

    @abstractmethod
    def upload(
        self,
        folder: str | Path,
        name: str,
        *,
        existing: Existing | str = Existing.REFUSE,
        progress: UploadProgress | None = None,
        check: Check | None = None,
    ) -> Uploaded:
        """Uploads a folder of this machine into the account, for jobs to name as an input.

        Args:
            folder: the folder; hidden files belong to it too, links within it are followed.
            name: where it goes, `container/path`; without a slash a path in the container `data`. The container is
                made if need be.
            existing: what to do when the place holds anything but files of the folder with the same content. Another
                upload into it at the same time is not noticed.
            progress: is kept up to date meanwhile.
            check: called from time to time; what it raises ends the upload, and what was sent stays.

        Raises:
            DropsweepError: the folder is none or has no file, or one that cannot be uploaded; a name that no job file
                could have; over HTTP, always.
            ConflictError: the place holds something else, or a file where the folder has a folder, or the other way
                round, and nothing was sent; or a file was edited while it was sent.
            OSError: a file cannot be read.
        """


def upload_data(
    store: Store, folder: Path, name: str, existing: Existing, progress: UploadProgress, check: Check
) -> Uploaded:
    """Uploads a folder, as `Datasets.upload` says.

    Files of up to 8 MiB are sent four at a time, and then larger ones one after the other, each in parallel blocks.
    """
    container, path = place_of(name)
    place = progress.place = f"{container}/{path}"
    files = _read(folder, path)
    progress.num_found, progress.found_bytes = len(files), sum(file.size_bytes for file in files)
    check()
    there = _list(store, container, path)
    _refuse_clashes(place, files, there)
    same, changed = _compare(files, there, check)
    progress.num_same = len(same)
    num_others = len(there) - len(same) - len(changed)
    _refuse_mixing(place, existing, changed, num_others)
    due = [file for file in files if file.relative not in same]
    progress.due_bytes, progress.num_due = sum(file.size_bytes for file in due), len(due)
    send = partial(_send, store, container, path, progress, check)
    small = [file for file in due if file.size_bytes <= SINGLE_PUT_BYTES]
    for _ in in_order((partial(send, file) for file in small), check):
        pass
    for file in due:
        if file.size_bytes > SINGLE_PUT_BYTES:
            send(file)
    return Uploaded(place, len(due), progress.due_bytes, len(same), num_others)


def place_of(name: str) -> tuple[str, str]:
    """Returns the container and the path of a destination.

    Raises:
        DropsweepError: a job file could not name it as an input, or the container is one of Dropsweep's own.
    """
    # Imported here: it brings pydantic with it, which the other commands do without.
    from dropsweep.spec.storage_paths import input_reference

    given = name if "/" in name.strip("/") else f"{DEFAULT_CONTAINER}/{name}"
    reference, problems = input_reference("NAME", given, is_folder=True)
    if reference is None or problems:
        raise DropsweepError("; ".join(f"{problem.value}: {problem.rule}. {problem.remedy}" for problem in problems))
    if reference.container in CONTAINERS:
        raise DropsweepError(
            f"{given}: the container {reference.container} is Dropsweep's own: data goes into another one. "
            f"Name it {DEFAULT_CONTAINER}/{reference.blob}"
        )
    return reference.container, reference.blob


def _read(folder: Path, path: str) -> list[FolderFile]:
    if not folder.is_dir():
        what = "a file: a folder is uploaded. Name the folder that it is in" if folder.exists() else "no folder here"
        raise DropsweepError(f"{folder} is {what}{'' if folder.exists() else ': a folder is uploaded. Name one'}")
    kind = Kind("folder of data", "", _refused, num_above=path.count("/") + 1)
    files = sorted(walk(folder.resolve(), kind), key=lambda file: file.relative)
    if not files:
        raise DropsweepError(f"{folder} has no file in it: at least one is uploaded. Name the folder of your data")
    for file in files:
        if len(path) + 1 + len(file.relative) > _MAX_BLOB:
            told = f"{file.relative[:80]}… would have a name of {len(path) + 1 + len(file.relative):,} characters"
            raise DropsweepError(f"{told}: the storage takes {_MAX_BLOB:,}. Choose shorter names")
        if file.size_bytes > MAX_FILE_BYTES:
            rule = f"a blob has at most {MAX_FILE_BYTES:,} bytes, and this file has {file.size_bytes:,}"
            raise _refused(file.relative, rule, "Split it")
    return files


def _refused(value: object, rule: str, remedy: str) -> DropsweepError:
    return DropsweepError(f"{value}: {rule}. {remedy}")


def _list(store: Store, container: str, path: str) -> dict[str, Listed]:
    """Returns what lies in the place, by its path below it; makes the container when there is none."""
    prefix = f"{path}/"
    try:
        return {found.name.removeprefix(prefix): found for found in store.blobs.files(container, prefix)}
    except NotFoundError:
        try:
            store.blobs.create_container(container)
        except StorageDenied as error:
            raise StorageDenied(
                f"there is no container {container}, and you may not make one: {error}. Take the container "
                f"{DEFAULT_CONTAINER}, or have it made by the deployment (its parameter dataContainers)"
            ) from error
        return {}


def _refuse_clashes(place: str, files: Sequence[FolderFile], there: dict[str, Listed]) -> None:
    """Refuses to put a file where a folder is, or a folder where a file is: no trainer could write both to its disk."""
    ours = {file.relative for file in files}
    clashes = chain(
        ((name, parent) for name in sorted(ours) for parent in _parents(name) if parent in there),
        ((parent, name) for name in there for parent in _parents(name) if parent in ours),
    )
    for our, their in clashes:
        raise ConflictError(
            f"{place} holds {their}, and the folder has {our}: {min(our, their, key=len)} cannot be a file and a "
            "folder, and no job could read the place. Nothing was sent. Choose another name, or rename the file"
        )


def _parents(name: str) -> Iterator[str]:
    while name := name.rpartition("/")[0]:
        yield name


def _compare(
    files: Sequence[FolderFile], there: dict[str, Listed], check: Check
) -> tuple[frozenset[str], tuple[str, ...]]:
    """Returns which files are there with the same content, and which with another or one that nobody knows."""
    known = [(file, there[file.relative]) for file in files if file.relative in there]
    results = in_order((partial(_is_same, file, blob, check) for file, blob in known), check)
    is_same = {file.relative: same for (file, _), same in zip(known, results, strict=True)}
    changed = tuple(relative for relative, same in is_same.items() if not same)
    return frozenset(relative for relative, same in is_same.items() if same), changed


def _is_same(file: FolderFile, blob: Listed, check: Check) -> bool:
    if blob.size_bytes != file.size_bytes or not blob.content_md5:
        return False
    md5 = hashlib.md5(usedforsecurity=False)
    with file.file.open("rb", buffering=0) as stream:
        while body := stream.read(_READ_BYTES):
            check()
            md5.update(body)
    return md5.hexdigest() == blob.content_md5


def _refuse_mixing(place: str, existing: Existing, changed: Sequence[str], num_others: int) -> None:
    if existing is Existing.REPLACE or not (changed or (num_others and existing is Existing.REFUSE)):
        return
    told = []
    if changed:
        more = f" and {len(changed) - _MAX_NAMED:,} more" if len(changed) > _MAX_NAMED else ""
        told.append(f"other content under the names of {', '.join(changed[:_MAX_NAMED])}{more}")
    if num_others and existing is Existing.REFUSE:
        told.append(f"{num_others:,} blob{'' if num_others == 1 else 's'} that the folder has not")
    remedy = "--replace overwrites the former" if changed else "--add puts the folder's files beside them"
    raise ConflictError(
        f"{place} holds {' and '.join(told)}: nothing was sent. Choose another name, so that jobs that read this one "
        f"see no change; {remedy}"
    )


def _send(store: Store, container: str, path: str, progress: UploadProgress, check: Check, file: FolderFile) -> None:
    check()
    name = f"{path}/{file.relative}"
    store.blobs.upload(container, name, file.file, check=check, pace=progress.send, with_md5=True)
    if not file.is_as_found:
        raise ConflictError(
            f"{file.relative} was edited while it was sent: what is in {container}/{name} may be neither the old nor "
            "the new file. Upload again with --replace"
        )
    progress.end()
