"""What of a checkpoint is in the storage already, told by content, and the upload of the rest."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from dropsweep.manifests import StoredFile
from dropsweep.names import RUNS
from dropsweep.storage import HEAD_BYTES, SINGLE_PUT_BYTES, Digest, Store, head_of, in_order

_PIECE_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds.

    Attributes:
        head, sha256: of its first MiB and of all of it. The first one tells of most files that have changed that they
            have, before all of them is read.
    """

    size_bytes: int
    head: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Known:
    """Contents that a whole checkpoint has, and where each lies.

    Attributes:
        blobs: below the folder of all checkpoints, as `StoredFile.blob`.
    """

    blobs: Mapping[Content, str] = field(default_factory=dict)

    @classmethod
    def of(cls, label: str, files: Iterable[tuple[StoredFile, Content]]) -> "Known":
        """Returns those of a checkpoint."""
        return cls({content: file.below(label) for file, content in files})

    def may_have(self, size_bytes: int, head: str) -> bool:
        """False when there is none of this size that begins so."""
        return any(content.size_bytes == size_bytes and content.head == head for content in self.blobs)


@dataclass(frozen=True, slots=True)
class Upload:
    """How the files of one checkpoint go up.

    Attributes:
        folder: where they lie.
        target: where they go, in the container `runs`: ends in a slash.
        known: what need not go up again.
        check: called before each request, and while a file is read or sent, from several threads.
        pace: called with a number of bytes before they are sent; it may wait.
        opener: opens a file, as `open` asks for it.
    """

    store: Store
    folder: Path
    target: str
    known: Known
    check: Callable[[], None]
    pace: Callable[[int], None]
    opener: Callable[[str, int], int]

    def send(self, sizes: Mapping[str, int]) -> list[tuple[StoredFile, Content]]:
        """Sends what is not known; returns all files, in the order of their paths.

        Small files go up several at a time, large ones in blocks, several at a time. Each is read once; one that is
        large and begins as a known one is read a first time to find out whether it is that.

        Args:
            sizes: the bytes of each file, by its path below the folder.

        Raises:
            StorageError: as the storage does. OSError: a file cannot be read. Whatever `check` and `pace` raise.
        """
        found: dict[str, Content] = {}
        for _ in in_order(self._small(sizes, found), self.check):
            pass
        for path, size_bytes in sizes.items():
            if path not in found:
                found[path] = self._known_large(path, size_bytes) or self._send_large(path, size_bytes)
        files = []
        for path, content in sorted(found.items()):
            blob = self.known.blobs.get(content, "")
            files.append((StoredFile(path, content.size_bytes, content.sha256, blob), content))
        return files

    def _small(self, sizes: Mapping[str, int], found: dict[str, Content]) -> Iterator[Callable[[], object]]:
        """Yields one upload for each file that fits into one request and is not known; notes the content of all."""
        for path, size_bytes in sizes.items():
            if size_bytes > SINGLE_PUT_BYTES:
                continue
            self.check()
            with open(self.folder / path, "rb", opener=self.opener) as stream:
                body = stream.read(SINGLE_PUT_BYTES)
            found[path] = Content(len(body), head_of(body), hashlib.sha256(body).hexdigest())
            if found[path] not in self.known.blobs:
                self.pace(len(body))
                self.check()
                yield partial(self.store.blobs.put, RUNS, f"{self.target}{path}", body)

    def _known_large(self, path: str, size_bytes: int) -> Content | None:
        """Returns the content of a file that is known; None when it is another one, most often after its first MiB."""
        digest = Digest()
        with open(self.folder / path, "rb", buffering=0, opener=self.opener) as stream:
            if not self.known.may_have(size_bytes, head_of(os.pread(stream.fileno(), HEAD_BYTES, 0))):
                return None
            while piece := stream.read(_PIECE_BYTES):
                self.check()
                digest.update(piece)
        content = Content(size_bytes, digest.head, digest.sha256)
        return content if content in self.known.blobs else None

    def _send_large(self, path: str, size_bytes: int) -> Content:
        digest = Digest()
        self.store.blobs.upload(
            RUNS,
            f"{self.target}{path}",
            self.folder / path,
            check=self.check,
            opener=self.opener,
            digest=digest,
            pace=self.pace,
        )
        return Content(size_bytes, digest.head, digest.sha256)
