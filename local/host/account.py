"""The storage account that a binding's `connection` names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from azure.storage.blob import BlobServiceClient, LinearRetry
from azure.storage.queue import QueueServiceClient

from dropsweep.errors import ConfigError
from dropsweep.settings import normalise_connection_string
from dropsweep.storage.request_log import RequestLog
from dropsweep.storage.transport import transport

REQUEST_LOG: Final = "DROPSWEEP_LOCAL_REQUEST_LOG"
"""Names a file that gets a line for each request of the host itself, beside that of the functions it runs."""

_READ_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Account:
    """Clients of one storage account; both may be used by many threads."""

    blobs: BlobServiceClient
    queues: QueueServiceClient


def connect(name: str, settings: Mapping[str, str]) -> Account:
    """Makes clients for the connection `name` as the real host does; nothing is sent yet.

    The setting `name` holds a connection string, or `{name}__blobServiceUri` and `{name}__queueServiceUri` hold
    addresses, for which the machine's own identity is used.

    Raises:
        ConfigError: when the settings name no account, or name it by what is no connection string, or the log of
            requests cannot be written.
    """
    log = settings.get(REQUEST_LOG)
    options: dict[str, Any] = {
        "transport": transport(_READ_TIMEOUT_S),
        "_additional_pipeline_policies": [RequestLog(log)] if log else [],
    }
    text = settings.get(name) or settings.get(f"AzureWebJobs{name}")
    if text:
        text = normalise_connection_string(text)
        return Account(
            BlobServiceClient.from_connection_string(text, retry_policy=_soon(), **options),
            QueueServiceClient.from_connection_string(text, retry_policy=_soon(), **options),
        )
    blob_uri, queue_uri = (settings.get(f"{name}__{service}ServiceUri") for service in ("blob", "queue"))
    if blob_uri and queue_uri:
        # Takes a tenth of a second to import, and an emulator needs none of it.
        from azure.identity import DefaultAzureCredential

        credential = DefaultAzureCredential()
        return Account(
            BlobServiceClient(blob_uri, credential, retry_policy=_soon(), **options),
            QueueServiceClient(queue_uri, credential, retry_policy=_soon(), **options),
        )
    raise ConfigError(
        f"no setting names the storage account of the connection {name}: there must be {name} (a connection string) "
        f"or both {name}__blobServiceUri and {name}__queueServiceUri. Set one of them in the environment"
    )


def _soon() -> LinearRetry:
    """Three short waits: the listeners go on by themselves, and the SDK's own waits, from 15 s up, would stop them."""
    return LinearRetry(backoff=1, retry_total=3, random_jitter_range=1)
