"""Blobs: reads with their clock, conditional writes that know their own, appends, lists and files."""

import functools
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import BlobClient, BlobPrefix, BlobProperties, BlobServiceClient, BlobType, ContentSettings

from dropsweep.storage.batch import MAX_BATCH, delete_blobs
from dropsweep.storage.found import Blob, Head, Listed, Written
from dropsweep.storage.links import LinkMaker
from dropsweep.storage.passing import Passing, Served
from dropsweep.storage.transfer import Digest, download_file, upload_file
from dropsweep.storage.translate import code_of, translated

_WRITE: Final = "write"
"""Metadata key of a record's write: a random id by which a writer whose answer was lost knows its own write again."""
_MAX_CLIENTS: Final = 64
FOLDER_MARK: Final = "hdi_isfolder"
"""Metadata key of a blob that stands for a folder (hierarchical namespaces, azcopy)."""


class Blobs(Passing):
    """The blobs of one account. Safe to use from many threads.

    Every method may raise StorageUnavailable, StorageDenied, StorageError or NotFoundError (no such container).
    """

    def __init__(self, service: BlobServiceClient) -> None:
        self._service = service
        self._links = LinkMaker(service)
        # To make a client costs a tenth of a call, and a record is written several times while its trial runs.
        self._blob = functools.lru_cache(_MAX_CLIENTS)(service.get_blob_client)

    def read(self, container: str, name: str) -> Blob | None:
        """Returns the blob, or None when there is none."""
        served = Served()
        with translated(f"reading {container}/{name}"):
            try:
                download = self._blob(container, name).download_blob(raw_response_hook=served)
                body = download.readall()
            except ResourceNotFoundError as error:
                _raise_unless_blob_is_absent(error)
                return None
        found = download.properties
        return Blob(found.etag, found.last_modified, served.time, found.size, found.metadata or {}, body)

    def read_range(self, container: str, name: str, offset: int, length: int | None = None) -> bytes | None:
        """Returns the bytes from `offset` on, at most `length`; empty past the end; None when there is no blob."""
        with translated(f"reading {container}/{name}"):
            try:
                return self._blob(container, name).download_blob(offset=offset, length=length).readall()
            except ResourceNotFoundError as error:
                _raise_unless_blob_is_absent(error)
                return None
            except HttpResponseError as error:
                if error.status_code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    raise
                return b""

    def head(self, container: str, name: str) -> Head | None:
        """Returns what is known of the blob, or None when there is none."""
        served = Served()
        with translated(f"looking at {container}/{name}"):
            try:
                found = self._blob(container, name).get_blob_properties(raw_response_hook=served)
            except ResourceNotFoundError as error:
                _raise_unless_blob_is_absent(error)
                return None
        return Head(found.etag, found.last_modified, served.time, found.size, found.metadata or {})

    def create(
        self,
        container: str,
        name: str,
        body: bytes,
        metadata: Mapping[str, str] | None = None,
        *,
        owner: str = "",
    ) -> Written | None:
        """Creates a record (If-None-Match: *); None when it exists already and is not this very write.

        Args:
            container: where the blob lies.
            name: its path.
            body: its content.
            metadata: its metadata.
            owner: an id of the writer, kept with the write for a later `replace` or `touch`.
        """
        blob = self._blob(container, name)
        return self._conditional(
            f"creating {container}/{name}",
            blob,
            metadata,
            lambda marked, _: blob.upload_blob(
                body, metadata=marked, overwrite=False, content_settings=_content_settings(name)
            ),
            "",
            owner,
        )

    def replace(
        self,
        container: str,
        name: str,
        body: bytes,
        etag: str,
        metadata: Mapping[str, str] | None = None,
        *,
        owner: str = "",
    ) -> Written | None:
        """Changes a record (If-Match); None when it is not at `etag` any more and that was not this very write.

        Args:
            container: where the blob lies.
            name: its path.
            body: its new content.
            etag: the version that is changed.
            metadata: its new metadata.
            owner: an id of the writer, kept with the write. A version that the same owner wrote, by a call that raised
                because the answer was lost, then counts as the one that is changed.
        """
        blob = self._blob(container, name)
        return self._conditional(
            f"changing {container}/{name}",
            blob,
            metadata,
            lambda marked, version: blob.upload_blob(
                body,
                metadata=marked,
                overwrite=True,
                etag=version,
                match_condition=MatchConditions.IfNotModified,
                content_settings=_content_settings(name),
            ),
            etag,
            owner,
        )

    def touch(
        self, container: str, name: str, etag: str, metadata: Mapping[str, str], *, owner: str = ""
    ) -> Written | None:
        """Sets a record's metadata and so its Last-Modified (If-Match); all as in `replace`."""
        blob = self._blob(container, name)
        return self._conditional(
            f"touching {container}/{name}",
            blob,
            metadata,
            lambda marked, version: blob.set_blob_metadata(
                marked, etag=version, match_condition=MatchConditions.IfNotModified
            ),
            etag,
            owner,
        )

    def put(self, container: str, name: str, body: bytes, metadata: Mapping[str, str] | None = None) -> Written:
        """Writes a blob whatever stood there: for files that have one writer, or whose content follows from records."""
        with translated(f"writing {container}/{name}"):
            answer = self._blob(container, name).upload_blob(
                body, overwrite=True, metadata=dict(metadata or {}), content_settings=_content_settings(name)
            )
        return _written(answer)

    def append(self, container: str, name: str, body: bytes, offset: int) -> bool:
        """Appends to a log of one writer, creating it at offset 0; at most 4 MiB.

        Returns:
            False when the blob's length is neither `offset` nor, from this same append whose answer was lost,
            `offset + len(body)`: somebody else wrote to it.
        """
        blob = self._blob(container, name)
        with translated(f"appending to {container}/{name}"):
            try:
                if offset == 0:
                    blob.create_append_blob(
                        content_settings=_content_settings(name), match_condition=MatchConditions.IfMissing
                    )
            except ResourceExistsError:
                pass  # ours, if it is empty: the append position below decides
            try:
                blob.append_block(body, appendpos_condition=offset)
            except HttpResponseError as error:
                if code_of(error) != "AppendPositionConditionNotMet":
                    raise
                return blob.get_blob_properties().size == offset + len(body)
        return True

    def list(self, container: str, prefix: str, *, metadata: bool = False) -> Iterator[Listed]:
        """Lists the blobs under `prefix`, in the order of their names, a thousand a request."""
        include = ["metadata"] if metadata else None
        with translated(f"listing {container}/{prefix}"):
            for found in self._service.get_container_client(container).list_blobs(prefix, include=include):
                yield _listed(found)

    def files(self, container: str, prefix: str) -> Iterator[Listed]:
        """Lists as `list` does, without the empty blobs by which some tools and accounts mark folders."""
        for found in self.list(container, prefix, metadata=True):
            if found.metadata.get(FOLDER_MARK) != "true" and not found.name.endswith("/"):
                yield found

    def folders(self, container: str, prefix: str) -> Iterator[str]:
        """Lists the names one level below `prefix` that have blobs below them, each ending in a slash."""
        with translated(f"listing {container}/{prefix}"):
            for found in self._service.get_container_client(container).walk_blobs(prefix):
                if isinstance(found, BlobPrefix):
                    yield found.name

    def upload(
        self,
        container: str,
        name: str,
        file: Path,
        *,
        check: Callable[[], None] | None = None,
        opener: Callable[[str, int], int] | None = None,
        digest: Digest | None = None,
        pace: Callable[[int], None] | None = None,
        with_md5: bool = False,
    ) -> None:
        """Writes a file as a blob, as a whole or not at all; a large one in parallel blocks, five of them in memory.

        Args:
            container: where the blob lies.
            name: its path.
            file: what to write.
            check: called from time to time, from several threads, and before the last request; what it raises ends
                the upload, and the blob stays as it was.
            opener: opens the file, once, as `open` asks for it; None: as `open` does.
            digest: afterwards it has the hash of what was sent.
            pace: called with a number of bytes before they are sent; it may wait. What it raises ends the upload.
            with_md5: lists tell the content's MD5 afterwards, of a large file too.

        Raises:
            OSError: the file cannot be read, became shorter meanwhile, or is larger than a blob can be.
        """
        with translated(f"uploading {container}/{name}"):
            blob = self._blob(container, name)
            settings = _content_settings(name)
            upload_file(blob, file, settings, check, opener=opener, digest=digest, pace=pace, with_md5=with_md5)

    def download(
        self,
        container: str,
        name: str,
        file: Path,
        *,
        check: Callable[[], None] | None = None,
        etag: str = "",
        digest: Digest | None = None,
    ) -> bool:
        """Writes a blob into a file, whose folder exists, in parallel ranges; False, and no file, when there is none.

        Args:
            container: where the blob lies.
            name: its path.
            file: where to write it.
            check: called from time to time, from several threads; what it raises ends the download.
            etag: of the version to write: when the blob has another one meanwhile, there is none; empty: any.
            digest: afterwards it has the hash of what was written.

        Raises:
            OSError: the file cannot be written.
        """
        with translated(f"downloading {container}/{name}"):
            return download_file(self._blob(container, name), file, check, etag=etag, digest=digest)

    def delete(self, container: str, name: str, *, etag: str = "") -> None:
        """Deletes a blob, or only its version `etag`; that it does not exist, or not so any more, is as good."""
        version: dict[str, Any] = {"etag": etag, "match_condition": MatchConditions.IfNotModified} if etag else {}
        with translated(f"deleting {container}/{name}"):
            try:
                self._blob(container, name).delete_blob(**version)
            except (ResourceNotFoundError, ResourceModifiedError):
                return

    def delete_all(self, container: str, names: Sequence[str]) -> None:
        """Deletes blobs whatever stands there, with their snapshots; that one does not exist is as good."""
        with translated(f"deleting {len(names)} blobs of {container}"):
            for begin in range(0, len(names), MAX_BATCH):
                delete_blobs(self._service.get_container_client(container), names[begin : begin + MAX_BATCH])

    def create_container(self, container: str) -> None:
        """Creates a container; that it exists is as good."""
        with translated(f"creating container {container}"):
            try:
                self._service.create_container(container)
            except ResourceExistsError:
                return

    def _conditional(
        self,
        what: str,
        blob: BlobClient,
        metadata: Mapping[str, str] | None,
        write: Callable[[dict[str, str], str], Mapping[str, Any]],
        etag: str,
        owner: str,
    ) -> Written | None:
        """Runs one conditional write; on a conflict looks whose the version is that stands.

        The SDK sends a request again when its answer was lost. If the first one had been applied, the second fails its
        condition, and only the id in the metadata tells this from a lost race. When every try was lost the call
        raised, and it is the owner in that id by which the next call knows the version as its own.
        """
        mark = f"{owner}.{uuid.uuid4().hex}"
        marked = {**(metadata or {}), _WRITE: mark}
        with translated(what):
            try:
                try:
                    return _written(write(marked, etag))
                except (ResourceExistsError, ResourceModifiedError):
                    found = blob.get_blob_properties()
                standing = (found.metadata or {}).get(_WRITE, "")
                if standing == mark:
                    return Written(found.etag, found.last_modified)
                if owner and etag and standing.startswith(f"{owner}."):
                    return _written(write(marked, found.etag))
            except (ResourceExistsError, ResourceModifiedError):
                return None
            except ResourceNotFoundError as error:
                _raise_unless_blob_is_absent(error)
        return None


def _listed(found: BlobProperties) -> Listed:
    md5 = found.content_settings.content_md5 if found.blob_type == BlobType.BLOCKBLOB else None
    metadata = found.metadata or {}
    return Listed(found.name, found.etag, found.last_modified, found.size, metadata, bytes(md5 or b"").hex())


def _written(answer: Mapping[str, Any]) -> Written:
    return Written(answer["etag"], answer["last_modified"])


def _raise_unless_blob_is_absent(error: ResourceNotFoundError) -> None:
    """Lets a missing container through as an error: only a missing blob is an ordinary answer."""
    if code_of(error) == "ContainerNotFound":
        raise error


_TYPES: Final = {
    ".json": "application/json",
    ".html": "text/html; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".jsonl": "application/x-ndjson",
}


def _content_settings(name: str) -> ContentSettings:
    """Lets a browser show what people read; everything else is bytes."""
    suffix = name[name.rfind(".") :] if "." in name else ""
    return ContentSettings(content_type=_TYPES.get(suffix, "application/octet-stream"))
