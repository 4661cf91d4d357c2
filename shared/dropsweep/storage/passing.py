"""Reads for somebody who passes blobs on to others: parts with the size of the whole, new versions only, pages."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.blob import BlobClient, BlobServiceClient

from dropsweep.storage.links import Link, LinkMaker
from dropsweep.storage.translate import code_of, translated

_CONTENT_RANGE: Final = re.compile(r"bytes (?:\d+-\d+|\*)/(\d+)")


@dataclass(frozen=True, slots=True)
class Part:
    """Some bytes of a blob.

    Attributes:
        body: the bytes from `offset` on; empty when the blob has none there.
        offset: where they begin.
        size_bytes: of the whole blob, when this was read.
        etag: the version that was read.
        content_type: as its writer named it.
    """

    body: bytes
    offset: int
    size_bytes: int
    etag: str
    content_type: str


@dataclass(frozen=True, slots=True)
class Fresh:
    """A blob's content and version."""

    body: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Says that a blob is still at the version that the caller has."""

    etag: str


@dataclass(frozen=True, slots=True)
class PageEntry:
    """One blob of a page."""

    name: str
    modified: datetime
    size_bytes: int
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Page:
    """Some blobs of a list.

    Attributes:
        items: in the order of their names.
        next: where the following page begins; empty after the last one.
        served: the Date of the answer, by the storage service's clock.
    """

    items: tuple[PageEntry, ...]
    next: str
    served: datetime


class Served:
    """Keeps the Date of the last answer of one call that has one: what a gateway says of its trouble may not."""

    def __init__(self) -> None:
        self.time = datetime.fromtimestamp(0, UTC)

    def __call__(self, response: Any) -> None:
        """Takes one answer; a hook on raw responses."""
        date = response.http_response.headers.get("Date")
        if date is not None:
            self.time = parsedate_to_datetime(date)


class Passing:
    """A part of `Blobs`; the errors are those of `Blobs`."""

    _service: BlobServiceClient
    _links: LinkMaker

    def read_part(self, container: str, name: str, offset: int, length: int) -> Part | None:
        """Returns at most `length` bytes from `offset` on; None when there is no blob. One request, two past the end.

        All bytes are of one version: one that is replaced while a large part is read is asked for anew, once.
        """
        with translated(f"reading {container}/{name}"):
            blob = self._service.get_blob_client(container, name)
            for is_last in (False, True):
                try:
                    download = blob.download_blob(offset=offset, length=length)
                    body = download.readall()
                except ResourceNotFoundError as error:
                    _raise_unless_blob_is_absent(error)
                    return None
                except HttpResponseError as error:
                    if error.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                        return _nothing_there(blob, offset)
                    if error.status_code == HTTPStatus.PRECONDITION_FAILED and not is_last:
                        continue
                    raise
                break
            found = download.properties
            sizes = _CONTENT_RANGE.fullmatch(str(found.content_range))
            size_bytes = int(sizes[1]) if sizes else offset + len(body)
            return Part(body, offset, size_bytes, found.etag, found.content_settings.content_type or "")

    def read_unless(self, container: str, name: str, etag: str) -> Fresh | Unchanged | None:
        """Returns the blob unless it is at version `etag` (If-None-Match); None when there is none. One request.

        Args:
            container: where the blob lies.
            name: its path.
            etag: the version that the caller has, in its quotes; empty: none.
        """
        known: dict[str, Any] = {"etag": etag, "match_condition": MatchConditions.IfModified} if etag else {}
        with translated(f"reading {container}/{name}"):
            try:
                download = self._service.get_blob_client(container, name).download_blob(**known)
                return Fresh(download.readall(), download.properties.etag)
            except ResourceNotFoundError as error:
                _raise_unless_blob_is_absent(error)
                return None
            except HttpResponseError as error:
                if error.status_code != HTTPStatus.NOT_MODIFIED:
                    raise
                return Unchanged(etag)

    def page(self, container: str, prefix: str, *, limit: int, cursor: str = "", metadata: bool = False) -> Page | None:
        """Lists at most `limit` blobs under `prefix`, beginning where the page before ended. One request.

        Args:
            container: where the blobs lie.
            prefix: how their names begin.
            limit: 1 to 5,000.
            cursor: `next` of the page before; empty: the first page.
            metadata: read the metadata too.

        Returns:
            None when the service takes the cursor for none of its own.
        """
        include = ["metadata"] if metadata else None
        served = Served()
        with translated(f"listing {container}/{prefix}"):
            pages = (
                self._service.get_container_client(container)
                .list_blobs(prefix, include=include, results_per_page=limit, raw_response_hook=served)
                .by_page(cursor or None)
            )
            try:
                found = next(pages, ())
                items = tuple(
                    PageEntry(blob.name, blob.last_modified, blob.size, blob.metadata or {}) for blob in found
                )
            except HttpResponseError as error:
                if cursor and error.status_code == HTTPStatus.BAD_REQUEST:
                    return None
                raise
            return Page(items, getattr(pages, "continuation_token", None) or "", served.time)

    def link(self, container: str, name: str, now: datetime) -> Link | None:
        """Returns a link that reads one blob for 15 minutes, whether the blob is there or not.

        Args:
            container: where the blob lies.
            name: its path.
            now: the storage service's time.

        Returns:
            None when the account was opened with a shared access signature, which cannot sign another one.
        """
        with translated(f"signing a link to {container}/{name}"):
            return self._links.make(self._service.get_blob_client(container, name), now)


def _nothing_there(blob: BlobClient, offset: int) -> Part | None:
    """The service does not say in the same answer how long the blob is."""
    try:
        found = blob.get_blob_properties()
    except ResourceNotFoundError as error:
        _raise_unless_blob_is_absent(error)
        return None
    return Part(b"", offset, found.size, found.etag, found.content_settings.content_type or "")


def _raise_unless_blob_is_absent(error: ResourceNotFoundError) -> None:
    if code_of(error) == "ContainerNotFound":
        raise error
