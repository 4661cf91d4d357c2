"""What the service tells of a blob: read, looked at, written or listed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Head:
    """What an answer says of a blob besides its content.

    Attributes:
        modified: Last-Modified; served: the Date of the same answer. Their difference is the blob's age by the
            storage service's own clock.
    """

    etag: str
    modified: datetime
    served: datetime
    size_bytes: int
    metadata: Mapping[str, str]

    @property
    def age_s(self) -> float:
        """Seconds since the last write, by the storage service's clock (whole seconds)."""
        return (self.served - self.modified).total_seconds()


@dataclass(frozen=True, slots=True)
class Blob(Head):
    """A blob with its content."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Written:
    """A write that was applied.

    Attributes:
        etag: names the blob's new version. modified: when, by the storage service's clock.
    """

    etag: str
    modified: datetime


@dataclass(frozen=True, slots=True)
class Listed:
    """One blob of a list; metadata only where it was asked for.

    Attributes:
        content_md5: what the service says is the MD5 of its content, in hexadecimal; empty where it says nothing, or
            does not keep it up as the content changes: it does for block blobs only.
    """

    name: str
    etag: str
    modified: datetime
    size_bytes: int
    metadata: Mapping[str, str]
    content_md5: str = ""
