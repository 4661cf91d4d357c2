"""What is done on the storage account alone, as the client over HTTP tells it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from dropsweep.client.burials import Burials
from dropsweep.client.datasets import Check, Datasets, Existing, Uploaded, UploadProgress
from dropsweep.client.poison import BuriedName
from dropsweep.errors import DropsweepError, StorageCorrupt
from dropsweep.records.buried import BuriedMessage

if TYPE_CHECKING:
    from dropsweep.client.http.web import Web

_REMEDY: Final = "Name the storage account: --connection, or DROPSWEEP_STORAGE without DROPSWEEP_URL"


class AccountOnly(Burials, Datasets):
    """Refuses what nobody does over HTTP. Every method raises DropsweepError."""

    _web: "Web"

    def buried(self, *, on_corrupt: Callable[[str, StorageCorrupt], None] | None = None) -> list[BuriedMessage]:
        """Messages that nobody could act on are not to be had over HTTP."""
        self._refuse_poison()

    def requeue(self, message: BuriedMessage | str) -> BuriedMessage:
        """Messages that nobody could act on are not to be had over HTTP."""
        self._refuse_poison()

    def delete_buried(self, message: str) -> BuriedName:
        """Messages that nobody could act on are not to be had over HTTP."""
        self._refuse_poison()

    def delete_all_buried(self) -> Iterator[BuriedName]:
        """Messages that nobody could act on are not to be had over HTTP."""
        self._refuse_poison()

    def upload(
        self,
        folder: str | Path,
        name: str,
        *,
        existing: Existing | str = Existing.REFUSE,
        progress: UploadProgress | None = None,
        check: Check | None = None,
    ) -> Uploaded:
        """Data goes into the account, and not over HTTP."""
        self._refuse("data is not uploaded over HTTP, for it goes into the account at its full rate")

    def _refuse_poison(self) -> NoReturn:
        self._refuse("buried messages are not to be had over HTTP, for they may hold anything")

    def _refuse(self, why: str) -> NoReturn:
        raise DropsweepError(f"{self._web.url}: {why}. {_REMEDY}")
