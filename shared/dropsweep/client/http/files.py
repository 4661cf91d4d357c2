"""Files over the HTTP API: a code folder on its way there, a job's files on their way home."""

import re
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Final

from dropsweep.client.code import CodeFolder
from dropsweep.client.folders import FolderFile
from dropsweep.client.http import wire
from dropsweep.client.http.web import Answer, Web
from dropsweep.client.transfer import Unreachable
from dropsweep.errors import DropsweepError, NotFoundError, Problem, SpecError, StorageCorrupt

_UPLOADERS: Final = 8
_FIRST_PART_BYTES: Final = 4 * 1024 * 1024
"""A file up to this size comes with the first answer; a larger one by a link, which costs the functions nothing."""
_PART_BYTES: Final = 32 * 1024 * 1024
MAX_UPLOAD_BYTES: Final = 64 * 1024 * 1024
"""The API's bound for one file of a code folder."""
_ESCAPE = re.compile("%[0-9A-Fa-f]{2}")
_NO_PERCENT: Final = (
    "a name with % cannot be asked for over HTTP, where it is decoded more than once: use --connection, or Client in "
    "Python"
)
_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)")


def upload(web: Web, folder: CodeFolder) -> int:
    """Uploads what is not there yet and returns how many files that were; safe to repeat after an interruption.

    Raises:
        SpecError: a file cannot be sent, or was edited meanwhile.
        ConflictError: another file lies in a file's place, as when an upload met an edit.
    """
    for file in folder.files:
        _check_sendable(file)
    where = ("code", *folder.blob.split("/"))
    found = web.get(*where).document()
    with wire.reading("a code folder"):
        there = {file["path"]: file["size_bytes"] for file in found["items"]}
    absent = [file for file in folder.files if there.get(file.relative) != file.size_bytes]

    def send(file: FolderFile) -> None:
        headers = {"Content-Type": "application/octet-stream"}
        web.send("PUT", *where, *file.relative.split("/"), headers=headers, body=_content(file), is_idempotent=True)

    with ThreadPoolExecutor(_UPLOADERS, thread_name_prefix="upload") as pool:
        for _ in pool.map(send, absent):
            pass
    return len(absent)


def get(web: Web, name: str, file: Path) -> bool:
    """Writes a blob of a job into a file; False, and no file, when there is none.

    Args:
        web: the API.
        name: the blob's name in the container `runs`.
        file: where to write it; its folder exists.

    Raises:
        Unreachable: the name cannot be asked for.
        StorageCorrupt: the blob changed meanwhile.
        OSError: the file cannot be written.
    """
    workspace, experiment, job, relative = name.split("/", 3)
    if _ESCAPE.search(relative):
        # It would be decoded to another name, which may be that of another file.
        raise Unreachable(_NO_PERCENT)
    where = ("jobs", workspace, experiment, job, "files", *relative.split("/"))
    try:
        answer = web.get_range(*where, first=0, num_bytes=_FIRST_PART_BYTES)
    except NotFoundError:
        if "%" in relative:
            raise Unreachable(_NO_PERCENT) from None
        return False
    size_bytes = size_of(answer, len(answer.body))
    if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        file.write_bytes(b"")
    elif len(answer.body) >= size_bytes:
        file.write_bytes(answer.body)
    elif not _get_by_link(web, where, file):
        _get_by_parts(web, where, file, answer, size_bytes)
    return True


def size_of(answer: Answer, otherwise: int) -> int:
    """Returns the size of the whole file, as an answer with a part of it says."""
    match = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    return int(match[3]) if match else otherwise


def _get_by_link(web: Web, where: tuple[str, ...], file: Path) -> bool:
    """Downloads straight from the storage service; False when that cannot be done from here."""
    try:
        link = web.get(*where, params={"link": "true"}).document()["url"]
        web.fetch(str(link), file)
    except (DropsweepError, KeyError):
        return False
    return True


def _get_by_parts(web: Web, where: tuple[str, ...], file: Path, first: Answer, size_bytes: int) -> None:
    with file.open("wb") as target:
        target.write(first.body)
        offset = len(first.body)
        while offset < size_bytes:
            part = web.get_range(*where, first=offset, num_bytes=min(_PART_BYTES, size_bytes - offset))
            is_same = part.headers.get("ETag") == first.headers.get("ETag")
            if part.status != HTTPStatus.PARTIAL_CONTENT or not part.body or not is_same:
                raise StorageCorrupt(f"{'/'.join(where[5:])} changed while it was downloaded. Download it again")
            target.write(part.body)
            offset += len(part.body)


def _check_sendable(file: FolderFile) -> None:
    """Looks before anything is sent whether a file of a code folder can be.

    Raises:
        SpecError: it cannot.
    """
    rule = ""
    if file.size_bytes > MAX_UPLOAD_BYTES:
        rule = f"over HTTP a file has at most {MAX_UPLOAD_BYTES // 2**20} MiB, and this one {file.size_bytes:,} bytes"
    elif "%" in file.relative:
        rule = "over HTTP a file's name has no %, which is decoded more than once on the way"
    if rule:
        remedy = "List it in .amlignore, or submit to the storage account itself"
        raise SpecError((Problem("code", file.relative[:80], rule, remedy),))


def _content(file: FolderFile) -> bytes:
    """Reads a file of a code folder.

    Raises:
        SpecError: it was edited since it was digested.
    """
    body = file.file.read_bytes()
    now = file.file.stat()
    if (len(body), now.st_size, now.st_mtime_ns) != (file.size_bytes, file.size_bytes, file.modified_ns):
        # The digest vouches for the content, so what was not digested must not go under it.
        rule = "the folder stays as it is during the upload"
        raise SpecError((Problem("code", file.relative[:80], rule, "Submit again"),))
    return body
