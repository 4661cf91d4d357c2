"""Links that let anybody who has one read one blob for a while, without an account."""

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from azure.storage.blob import BlobClient, BlobSasPermissions, BlobServiceClient, UserDelegationKey, generate_blob_sas

LINK_LIFETIME: Final = timedelta(minutes=15)
_KEY_LIFETIME: Final = timedelta(hours=2)
"""A user delegation key costs a request, so one serves for many links. The service allows up to seven days."""


@dataclass(frozen=True, slots=True)
class Link:
    """A URL with its own permission.

    Attributes:
        url: reads one blob, and does nothing else. Whoever has it may, so it is a secret while it lasts.
        expires: by the storage service's clock.
    """

    url: str
    expires: datetime


class LinkMaker:
    """Makes links for the blobs of one account. Safe to use from many threads.

    With an account key the signature is made with it; with an identity, by a key that the service hands out for the
    identity (https://learn.microsoft.com/rest/api/storageservices/create-user-delegation-sas), for which the identity
    needs the role Storage Blob Delegator, or one that contains it.
    """

    def __init__(self, service: BlobServiceClient) -> None:
        self._service = service
        self._lock = threading.Lock()
        self._delegation: tuple[UserDelegationKey, datetime] | None = None

    def make(self, blob: BlobClient, now: datetime) -> Link | None:
        """Makes a link that can be read with for `LINK_LIFETIME`.

        Args:
            blob: what it leads to.
            now: the storage service's time.

        Returns:
            None when the account was opened with a shared access signature, which cannot sign another one.

        Raises:
            AzureError: as the SDK does; 403 when the identity may not ask for a key.
        """
        expires = now + LINK_LIFETIME
        signed_by = self._signed_by(now, expires)
        if signed_by is None:
            return None
        signature = generate_blob_sas(
            account_name=str(blob.account_name),
            container_name=blob.container_name,
            blob_name=blob.blob_name,
            permission=BlobSasPermissions(read=True),
            expiry=expires,
            protocol="https" if blob.url.startswith("https:") else "https,http",
            **signed_by,
        )
        return Link(f"{blob.url}?{signature}", expires)

    def _signed_by(self, now: datetime, expires: datetime) -> dict[str, Any] | None:
        credential = self._service.credential
        if credential is None:
            return None
        if account_key := getattr(credential, "account_key", None):
            return {"account_key": account_key}
        if not hasattr(credential, "get_token"):
            return None
        with self._lock:
            if self._delegation is None or self._delegation[1] < expires:
                until = now + _KEY_LIFETIME
                self._delegation = (self._service.get_user_delegation_key(now, until), until)
            return {"user_delegation_key": self._delegation[0]}
