"""Files to blobs and back: in large parts, several at a time, and with none of them held in memory."""

import errno
import os
import uuid
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from io import SEEK_CUR, SEEK_END, SEEK_SET
from pathlib import Path
from typing import IO, Final, cast

from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import BlobBlock, BlobClient, ContentSettings

from dropsweep.storage.translate import code_of

_MIB: Final = 1024 * 1024
SINGLE_PUT_BYTES: Final = 8 * _MIB
"""A file up to this size goes up by one request, and is in memory meanwhile."""
BLOCK_BYTES: Final = 64 * _MIB
"""Size of a larger file's blocks."""
MAX_FILE_BYTES: Final = 50_000 * BLOCK_BYTES
"""As a blob has at most 50,000 blocks, a file has at most 3 TiB."""
SINGLE_GET_BYTES: Final = 8 * _MIB
_NUM_PARALLEL: Final = 4
_NUM_TRIES: Final = 3


def upload_file(
    blob: BlobClient,
    file: Path,
    content_settings: ContentSettings,
    check: Callable[[], None] | None,
    opener: Callable[[str, int], int] | None = None,
) -> None:
    """Writes a file as a blob, which is there as a whole or as it was before.

    A larger file is sent in blocks of `BLOCK_BYTES`, four at a time, each read from the disk as it is sent, so that
    memory stays flat. Blocks of an upload that did not come to its end are no blob; the service removes them.

    Raises:
        OSError: the file cannot be read, became shorter meanwhile, or is larger than a blob can be.
        AzureError: as the SDK does. Whatever `check` raises, which is called at least every few milliseconds.
    """
    # Opened once: whatever is put in the file's place meanwhile, all parts are of the same file.
    with open(file, "rb", opener=opener) as stream:
        size_bytes = os.fstat(stream.fileno()).st_size
        if size_bytes > MAX_FILE_BYTES:  # a sparse file may say anything
            raise OSError(errno.EFBIG, f"it has {size_bytes} bytes; a blob can have {MAX_FILE_BYTES}", str(file))
        if size_bytes > SINGLE_PUT_BYTES:
            try:
                return _upload_blocks(blob, stream.fileno(), size_bytes, content_settings, check)
            except _Shrunk:
                told = f"it became shorter than the {size_bytes} bytes it had when its upload began"
                raise OSError(errno.EIO, told, str(file)) from None
        body = stream.read(size_bytes)
    if check is not None:
        check()
    blob.upload_blob(body, overwrite=True, content_settings=content_settings)


def download_file(blob: BlobClient, file: Path, check: Callable[[], None] | None) -> bool:
    """Writes a blob into a file, in ranges of 4 MiB, four at a time; False, and no file, when there is no blob.

    The first request asks for `SINGLE_GET_BYTES`, which is all of a smaller blob.

    All ranges are of one version: when the blob is replaced meanwhile, the download begins anew, and when it is
    deleted, there is none.

    Raises:
        OSError: the file cannot be written.
        AzureError: as the SDK does; the blob is replaced again and again. Whatever `check` raises, which is called
            after each range.
    """
    for _ in range(_NUM_TRIES - 1):
        try:
            return _download(blob, file, check)
        except ResourceModifiedError:
            continue
    return _download(blob, file, check)


def _download(blob: BlobClient, file: Path, check: Callable[[], None] | None) -> bool:
    try:
        download = blob.download_blob(max_concurrency=_NUM_PARALLEL, progress_hook=_hook(check))
        with file.open("wb") as stream:
            download.readinto(stream)
    except ResourceNotFoundError as error:
        if code_of(error) == "ContainerNotFound":
            raise
        file.unlink(missing_ok=True)
        return False
    return True


def _upload_blocks(
    blob: BlobClient, file: int, size_bytes: int, content_settings: ContentSettings, check: Callable[[], None] | None
) -> None:
    # Ids of this upload's own: blocks that somebody else sent for the same blob are never taken for ours.
    upload = uuid.uuid4().hex
    offsets = range(0, size_bytes, BLOCK_BYTES)
    blocks = [BlobBlock(block_id=f"{upload}-{index:05}") for index in range(len(offsets))]
    errors: list[BaseException] = []

    def go_on() -> None:
        if errors:
            raise _Stopped
        if check is not None:
            check()

    def stage(offset: int, block: BlobBlock) -> None:
        try:
            go_on()
            part = _Part(file, offset, min(BLOCK_BYTES, size_bytes - offset), go_on)
            blob.stage_block(block.id, cast(IO[bytes], part), length=len(part))
        except _Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again below, once the other threads have stopped
            errors.append(error)

    with ThreadPoolExecutor(_NUM_PARALLEL, thread_name_prefix="upload") as pool:
        try:
            futures.wait([pool.submit(stage, *one) for one in zip(offsets, blocks, strict=True)])
        except BaseException as error:
            errors.append(error)
            raise
    if errors:
        raise errors[0]
    go_on()
    blob.commit_block_list(blocks, content_settings=content_settings)


class _Stopped(Exception):
    """Another block of the same file has failed."""


class _Shrunk(Exception):
    """A file ended before its time: sent as it is, the service would wait for the rest until the connection times out.

    No OSError, for the SDK would take it for the connection's and try again.
    """


class _Part:
    """A part of an open file as the SDK sends it: of a known length, and able to go back when a request is sent again.

    Several parts may be read at once: none moves the file's own position.
    """

    def __init__(self, file: int, offset: int, length: int, check: Callable[[], None]) -> None:
        self._file = file
        self._offset = offset
        self._length = length
        self._check = check
        self._position = 0

    def __len__(self) -> int:
        return self._length

    def tell(self) -> int:
        return self._position

    def seek(self, position: int, whence: int = SEEK_SET) -> int:
        self._position = position + {SEEK_SET: 0, SEEK_CUR: self._position, SEEK_END: self._length}[whence]
        return self._position

    def read(self, size: int = -1) -> bytes:
        self._check()
        left = self._length - self._position
        read = os.pread(self._file, left if size < 0 else min(size, left), self._offset + self._position)
        if left and size and not read:
            raise _Shrunk
        self._position += len(read)
        return read


def _hook(check: Callable[[], None] | None) -> Callable[[int, int | None], None] | None:
    if check is None:
        return None

    def hook(_done: int, _total: int | None) -> None:
        check()

    return hook
