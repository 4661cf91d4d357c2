"""Blobs in memory with a clock that tests set; `tests/emulator/steps/test_memory.py` compares them with real ones."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar, cast

from dropsweep.errors import StorageUnavailable
from dropsweep.storage import Blob, Head, Listed, Page, PageEntry, Queues, Store, Written
from dropsweep.storage.blobs import Blobs

_T = TypeVar("_T")


class Died(BaseException):
    """Stands for the end of the process."""


@dataclass(frozen=True)
class Kept:
    body: bytes
    etag: str
    modified: datetime
    metadata: Mapping[str, str]
    mark: str


@dataclass
class Service:
    """What many stores share.

    Attributes:
        now_s: the service's time.
    """

    now_s: float = 1_900_000_000.0

    def __post_init__(self) -> None:
        self.blobs: dict[tuple[str, str], Kept] = {}
        self.numbers = itertools.count(1)

    def now(self) -> datetime:
        """Whole seconds, as the service tells them."""
        return datetime.fromtimestamp(int(self.now_s), UTC)

    def store(self, fault: Callable[[int, str], str] = lambda number, what: "") -> Store:
        """Opens the account; `fault` says of each operation, by number from 0, whether it `dies before` or `after`.

        Or `lost`: it is applied, and there is no answer; `away`: neither.
        """
        return Store(cast(Blobs, MemoryBlobs(self, fault)), cast(Queues, None))


class MemoryBlobs:
    """Does for one store what `Blobs` does, as far as records of nodes need it."""

    def __init__(self, service: Service, fault: Callable[[int, str], str]) -> None:
        self._service = service
        self._fault = fault
        self.num_operations = 0

    def create(
        self, container: str, name: str, body: bytes, metadata: Mapping[str, str] | None = None, *, owner: str = ""
    ) -> Written | None:
        def act() -> Written | None:
            return (
                None if (container, name) in self._service.blobs else self._put(container, name, body, metadata, owner)
            )

        return self._operate("create", act)

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
        def act() -> Written | None:
            kept = self._service.blobs.get((container, name))
            if kept is None or (kept.etag != etag and not (owner and kept.mark == owner)):
                return None
            return self._put(container, name, body, metadata, owner)

        return self._operate("replace", act)

    def touch(
        self, container: str, name: str, etag: str, metadata: Mapping[str, str], *, owner: str = ""
    ) -> Written | None:
        kept = self._service.blobs.get((container, name))
        return self.replace(container, name, kept.body if kept else b"", etag, metadata, owner=owner)

    def head(self, container: str, name: str) -> Head | None:
        def act() -> Head | None:
            kept = self._service.blobs.get((container, name))
            now = self._service.now()
            return Head(kept.etag, kept.modified, now, len(kept.body), kept.metadata) if kept else None

        return self._operate("head", act)

    def read(self, container: str, name: str) -> Blob | None:
        def act() -> Blob | None:
            kept = self._service.blobs.get((container, name))
            now = self._service.now()
            return Blob(kept.etag, kept.modified, now, len(kept.body), kept.metadata, kept.body) if kept else None

        return self._operate("read", act)

    def page(self, container: str, prefix: str, *, limit: int, cursor: str = "", metadata: bool = False) -> Page | None:
        def act() -> Page:
            names = [name for name in self._names(container, prefix) if name >= cursor]
            kept = [(name, self._service.blobs[container, name]) for name in names[:limit]]
            items = tuple(
                PageEntry(name, one.modified, len(one.body), one.metadata if metadata else {}) for name, one in kept
            )
            return Page(items, names[limit] if len(names) > limit else "", self._service.now())

        return self._operate("page", act)

    def list(self, container: str, prefix: str, *, metadata: bool = False) -> Iterator[Listed]:
        def act() -> list[Listed]:
            kept = [(name, self._service.blobs[container, name]) for name in self._names(container, prefix)]
            return [
                Listed(name, one.etag, one.modified, len(one.body), one.metadata if metadata else {})
                for name, one in kept
            ]

        return iter(self._operate("list", act))

    def folders(self, container: str, prefix: str) -> Iterator[str]:
        def act() -> list[str]:
            below = [name.removeprefix(prefix).partition("/") for name in self._names(container, prefix)]
            return sorted({f"{prefix}{folder}/" for folder, slash, _ in below if slash})

        return iter(self._operate("folders", act))

    def delete(self, container: str, name: str, *, etag: str = "") -> None:
        def act() -> None:
            kept = self._service.blobs.get((container, name))
            if kept is not None and etag in ("", kept.etag):
                del self._service.blobs[container, name]

        self._operate("delete", act)

    def delete_all(self, container: str, names: Sequence[str]) -> None:
        for name in names:
            self._operate("delete", lambda name=name: self._service.blobs.pop((container, name), None))  # type: ignore[misc]

    def _names(self, container: str, prefix: str) -> Sequence[str]:
        return sorted(name for where, name in self._service.blobs if where == container and name.startswith(prefix))

    def _put(self, container: str, name: str, body: bytes, metadata: Mapping[str, str] | None, owner: str) -> Written:
        kept = Kept(body, str(next(self._service.numbers)), self._service.now(), dict(metadata or {}), owner)
        self._service.blobs[container, name] = kept
        return Written(kept.etag, kept.modified)

    def _operate(self, what: str, act: Callable[[], _T]) -> _T:
        fault = self._fault(self.num_operations, what)
        self.num_operations += 1
        if fault == "dies before":
            raise Died
        if fault == "away":
            raise StorageUnavailable("the storage is away")
        done = act()
        if fault == "dies after":
            raise Died
        if fault == "lost":
            raise StorageUnavailable("the answer was lost")
        return done
