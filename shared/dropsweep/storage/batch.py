"""Many blobs deleted by few requests."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.blob import ContainerClient

from dropsweep.storage.retrying import LATER

MAX_BATCH: Final = 256
"""Blobs that one request may delete.

Source:
    https://learn.microsoft.com/rest/api/storageservices/blob-batch
"""
_GONE: Final = frozenset({HTTPStatus.ACCEPTED, HTTPStatus.NOT_FOUND})


def delete_blobs(container: ContainerClient, names: Sequence[str]) -> None:
    """Deletes at most `MAX_BATCH` blobs, with their snapshots; that one does not exist is as good.

    What the one request did not delete, because the service was busy or takes no such requests (a signature for single
    blobs, a gateway), is deleted one by one.

    Raises:
        AzureError: as the SDK does; some may have been deleted.
    """
    left: Sequence[str] = names
    try:
        answers = list(container.delete_blobs(*names, delete_snapshots="include", raise_on_any_failure=False))
        left = [name for name, answer in zip(names, answers, strict=True) if answer.status_code not in _GONE]
    except HttpResponseError as error:
        if error.status_code is None or error.status_code in LATER:
            raise  # it has been repeated for long enough
    for name in left:
        try:
            container.delete_blob(name, delete_snapshots="include")
        except ResourceNotFoundError:
            continue
