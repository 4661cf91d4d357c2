"""Turns the SDK's errors into ours: one table, one place."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)

from dropsweep.errors import NotFoundError, StorageDenied, StorageError, StorageUnavailable

BY_STATUS: Final[dict[int, type[StorageError]]] = {
    401: StorageDenied,
    403: StorageDenied,
    408: StorageUnavailable,
    429: StorageUnavailable,
    500: StorageUnavailable,
    502: StorageUnavailable,
    503: StorageUnavailable,
    504: StorageUnavailable,
}
"""What an answer means that remained after all retries; a status that is not here is a plain StorageError."""

_NO_ANSWER = (ServiceRequestError, ServiceResponseError)
_REMEDY: Final[dict[type[StorageError], str]] = {
    StorageDenied: "Check the key, or sign in (`az login`) and give the identity the roles that docs/deploy.md names, "
    "or Storage Blob Data Contributor and Storage Queue Data Contributor on the account",
    StorageUnavailable: "Is the account's name right, and is the service (or Azurite) up?",
}


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Runs SDK calls; what they raise comes out as a StorageError that says `what` was tried.

    Raises:
        StorageUnavailable, StorageDenied, StorageError: see `BY_STATUS`.
        NotFoundError: for a container or queue that does not exist.
    """
    try:
        yield
    except ClientAuthenticationError as error:
        raise _told(StorageDenied, what, error) from error
    except HttpResponseError as error:
        if code_of(error) in ("ContainerNotFound", "QueueNotFound"):
            raise NotFoundError(
                f"{what}: the container or queue does not exist. It is made by `make up`, the deployment, or "
                "Store.prepare()"
            ) from error
        # The SDK has an HttpResponseError without an answer too: a connection that broke off in the middle of one.
        kind = BY_STATUS.get(error.status_code, StorageError) if error.status_code else StorageUnavailable
        raise _told(kind, what, error) from error
    except _NO_ANSWER as error:
        raise _told(StorageUnavailable, what, error) from error
    except AzureError as error:
        raise _told(StorageError, what, error) from error


def code_of(error: HttpResponseError) -> str:
    """Returns the service's own name for what went wrong, such as `BlobNotFound`; empty when it gave none."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def _told(kind: type[StorageError], what: str, error: AzureError) -> StorageError:
    first_line = next(iter(str(error.message).splitlines()), type(error).__name__).rstrip(".")
    remedy = _REMEDY.get(kind)
    return kind(f"{what}: {first_line}" + (f". {remedy}" if remedy else ""))
