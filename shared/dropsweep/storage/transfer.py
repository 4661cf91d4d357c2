"""Files to blobs and back: in large parts, several at a time, each byte read and hashed once."""

import errno
import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final, cast

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import BlobBlock, BlobClient, ContentSettings

from dropsweep.storage.parallel import in_order
from dropsweep.storage.translate import code_of

_MIB: Final = 1024 * 1024
SINGLE_PUT_BYTES: Final = 8 * _MIB
"""A file up to this size goes up by one request, and is in memory meanwhile."""
SINGLE_GET_BYTES: Final = 8 * _MIB
"""A blob up to this size comes down by one request."""
RANGE_BYTES: Final = 4 * _MIB
"""The rest of a larger one comes in ranges of this size; the SDK has each of them in memory twice for a moment."""
_LEAST_BLOCK_BYTES: Final = 8 * _MIB
_USUAL_BLOCK_BYTES: Final = 16 * _MIB
_MOST_BLOCK_BYTES: Final = 64 * _MIB
_NUM_SMALL_BLOCKS: Final = 64
MAX_BLOCKS: Final = 50_000
"""Blocks that a blob may have.

Source:
    https://learn.microsoft.com/rest/api/storageservices/put-block
"""
MAX_FILE_BYTES: Final = MAX_BLOCKS * _MOST_BLOCK_BYTES
"""About 3 TiB."""
HEAD_BYTES: Final = _MIB
_PIECE_BYTES: Final = 256 * 1024
_NUM_TRIES: Final = 3

Check = Callable[[], None]
Pace = Callable[[int], None]
"""Waits until so many bytes may be sent."""


class Digest:
    """SHA-256 of a file as it was sent, or as it was received and written."""

    def __init__(self) -> None:
        """Of nothing."""
        self.begin()

    def begin(self) -> None:
        """Forgets what came before: the transfer begins anew."""
        self._hash = hashlib.sha256()
        self._head = ""

    def update(self, body: bytes) -> None:
        """Takes the next bytes."""
        self._head = self._head or head_of(body)
        self._hash.update(body)

    @property
    def sha256(self) -> str:
        """Of all of it, in hexadecimal."""
        return self._hash.hexdigest()

    @property
    def head(self) -> str:
        """As `head_of` gives it."""
        return self._head


def head_of(body: bytes) -> str:
    """Returns SHA-256 of a file's first MiB, of which `body` has at least as much as there is."""
    return hashlib.sha256(memoryview(body)[:HEAD_BYTES]).hexdigest()


def block_bytes_of(size_bytes: int) -> int:
    """Returns the size of a file's blocks, in whole MiB: 8 MiB, or 16 when they would be more than 64.

    Only from 800,000 MiB on, where these would be too many for a blob, are they as small as 50,000 of them allow.
    """
    usual_bytes = _LEAST_BLOCK_BYTES if size_bytes <= _NUM_SMALL_BLOCKS * _LEAST_BLOCK_BYTES else _USUAL_BLOCK_BYTES
    return max(usual_bytes, -(-size_bytes // (MAX_BLOCKS * _MIB)) * _MIB)


def upload_file(
    blob: BlobClient,
    file: Path,
    content_settings: ContentSettings,
    check: Check | None = None,
    *,
    opener: Callable[[str, int], int] | None = None,
    digest: Digest | None = None,
    pace: Pace | None = None,
    with_md5: bool = False,
) -> None:
    """Writes a file as a blob, which is there as a whole or as it was before.

    A file of more than `SINGLE_PUT_BYTES` is sent in blocks, four at a time, while the next one is read and hashed:
    five blocks are in memory at most. Blocks of an upload that did not come to its end are no blob; the service removes
    them. The service keeps the MD5 of a smaller file by itself; with `with_md5` that of a larger one is given to it.

    Raises:
        OSError: the file cannot be read, became shorter meanwhile, or is larger than a blob can be.
        AzureError: as the SDK does. Whatever `check` raises, which is called before each request and while one is
            sent, and `pace`, which is called in this thread before each.
    """
    # Opened once: whatever is put in the file's place meanwhile, all parts are of the same file.
    with open(file, "rb", buffering=0, opener=opener) as stream:
        size_bytes = os.fstat(stream.fileno()).st_size
        if size_bytes > MAX_FILE_BYTES:  # a sparse file may say anything
            raise OSError(errno.EFBIG, f"it has {size_bytes} bytes; a blob can have {MAX_FILE_BYTES}", str(file))
        block_bytes = block_bytes_of(size_bytes) if size_bytes > SINGLE_PUT_BYTES else SINGLE_PUT_BYTES
        md5 = hashlib.md5(usedforsecurity=False) if with_md5 and size_bytes > SINGLE_PUT_BYTES else None

        def read() -> Iterator[bytes]:
            for offset in range(0, max(1, size_bytes), block_bytes):
                _go_on(check)
                length = min(block_bytes, size_bytes - offset)
                body = _read(stream.fileno(), offset, length)
                if len(body) < length:
                    told = f"it became shorter than the {size_bytes} bytes it had when its upload began"
                    raise OSError(errno.EIO, told, str(file))
                if digest is not None:
                    digest.update(body)
                if md5 is not None:
                    md5.update(body)
                if pace is not None:
                    pace(length)
                yield body

        if digest is not None:
            digest.begin()
        if size_bytes > SINGLE_PUT_BYTES:
            return _upload_blocks(blob, read(), content_settings, check, md5)
        [body] = read()
    _go_on(check)
    blob.upload_blob(body, overwrite=True, content_settings=content_settings)


def download_file(
    blob: BlobClient, file: Path, check: Check | None = None, *, etag: str = "", digest: Digest | None = None
) -> bool:
    """Writes a blob into a file, in ranges, four at a time; False, and no file, when there is no blob.

    With an `etag` it is that version or none: False, and no file, also when the blob was changed since.

    Each range is hashed and written while the ones after it are received: six are in memory at most. All are of one
    version: when the blob is replaced meanwhile, the download begins anew, and when it is deleted, there is none.

    Raises:
        OSError: the file cannot be written.
        AzureError: as the SDK does; the blob is replaced again and again. Whatever `check` raises, which is called
            before each range and several times a second.
    """
    for _ in range(_NUM_TRIES - 1):
        try:
            return _download(blob, file, check, etag, digest)
        except ResourceModifiedError:
            if etag:
                file.unlink(missing_ok=True)
                return False
    return _download(blob, file, check, etag, digest)


def _download(blob: BlobClient, file: Path, check: Check | None, etag: str, digest: Digest | None) -> bool:
    if digest is not None:
        digest.begin()
    try:
        with file.open("wb", buffering=0) as stream:
            for body in chain.from_iterable(_received(blob, check, etag)):
                if digest is not None:
                    digest.update(body)
                _write(stream.fileno(), body)
    except ResourceNotFoundError as error:
        if code_of(error) == "ContainerNotFound":
            raise
        file.unlink(missing_ok=True)
        return False
    return True


def _received(blob: BlobClient, check: Check | None, etag: str) -> Iterator[list[bytes]]:
    """Yields the ranges of one version of a blob, in order, as the SDK gives them: in pieces."""
    version: dict[str, Any] = {"etag": etag, "match_condition": MatchConditions.IfNotModified} if etag else {}
    try:
        first = blob.download_blob(offset=0, length=SINGLE_GET_BYTES, **version)
    except HttpResponseError as error:
        if error.status_code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        return  # it is empty
    _go_on(check)
    yield list(first.chunks())
    size_bytes = int(str(first.properties.content_range).rpartition("/")[2])
    version = {"etag": first.properties.etag, "match_condition": MatchConditions.IfNotModified}

    def receive(offset: int) -> list[bytes]:
        _go_on(check)
        return list(blob.download_blob(offset=offset, length=RANGE_BYTES, **version).chunks())

    offsets = range(SINGLE_GET_BYTES, size_bytes, RANGE_BYTES)
    if offsets:
        yield from in_order((partial(receive, offset) for offset in offsets), check)


def _upload_blocks(
    blob: BlobClient,
    bodies: Iterator[bytes],
    content_settings: ContentSettings,
    check: Check | None,
    md5: "hashlib._Hash | None",
) -> None:
    # Ids of this upload's own: blocks that somebody else sent for the same blob are never taken for ours.
    upload = uuid.uuid4().hex
    blocks: list[BlobBlock] = []

    def stage(block: BlobBlock, body: bytes) -> None:
        sent = body if check is None else cast(IO[bytes], _Body(body, check))
        blob.stage_block(block.id, sent, length=len(body))

    def tasks() -> Iterator[Callable[[], None]]:
        for body in bodies:
            blocks.append(BlobBlock(block_id=f"{upload}-{len(blocks):05}"))
            yield partial(stage, blocks[-1], body)

    for _ in in_order(tasks(), check):
        pass
    _go_on(check)
    if md5 is not None:
        content_settings.content_md5 = bytearray(md5.digest())
    blob.commit_block_list(blocks, content_settings=content_settings)


class _Body:
    """A request's body that can be sent again, and asks at each of its pieces whether to go on."""

    def __init__(self, body: bytes, check: Check) -> None:
        self._body = memoryview(body)
        self._check = check

    def __len__(self) -> int:
        return len(self._body)

    def __iter__(self) -> Iterator[memoryview]:
        for begin in range(0, len(self._body), _PIECE_BYTES):
            self._check()
            yield self._body[begin : begin + _PIECE_BYTES]


def _read(file: int, offset: int, length: int) -> bytes:
    body = os.pread(file, length, offset)
    while len(body) < length and (more := os.pread(file, length - len(body), offset + len(body))):
        body += more
    return body


def _write(file: int, body: bytes) -> None:
    left = memoryview(body)
    while left:
        left = left[os.write(file, left) :]


def _go_on(check: Check | None) -> None:
    if check is not None:
        check()
