"""Opens the storage account."""

import logging
import threading
from collections.abc import Iterable
from typing import Any, Final

from azure.core.pipeline.policies import HTTPPolicy, SansIOHTTPPolicy
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from dropsweep.errors import ConfigError
from dropsweep.names import ADVANCE_QUEUE, CONTAINERS, SUBMISSIONS_QUEUE, poison_queue, trials_queues
from dropsweep.settings import StorageSettings
from dropsweep.storage.blobs import Blobs
from dropsweep.storage.queues import Queues
from dropsweep.storage.request_log import RequestLog
from dropsweep.storage.retrying import PATIENCE_S, Clock, Outages, Retrying
from dropsweep.storage.transfer import SINGLE_GET_BYTES, SINGLE_PUT_BYTES
from dropsweep.storage.transport import transport

READ_TIMEOUT_S: Final = 20.0
"""Far below the claim timeout: a request that hangs is sent again while the claim still stands."""
_LEAST_READ_TIMEOUT_S: Final = 2.0
"""A service that is merely busy answers within it."""


class Store:
    """One storage account: `blobs` and `queues`. Safe to use from many threads; keep one a process."""

    def __init__(self, blobs: Blobs, queues: Queues, outages: Outages | None = None) -> None:
        self.blobs = blobs
        self.queues = queues
        self._outages = outages or Outages(Clock())

    @classmethod
    def connect(
        cls,
        settings: StorageSettings,
        *policies: HTTPPolicy[Any, Any] | SansIOHTTPPolicy[Any, Any],
        patience_s: float = PATIENCE_S,
        stopping: threading.Event | None = None,
        read_timeout_s: float = READ_TIMEOUT_S,
        clock: Clock | None = None,
    ) -> "Store":
        """Opens the account; nothing is sent yet.

        Args:
            settings: a connection string, or two URLs (then the identity is what azure-identity finds).
            policies: pipeline policies that see each request on the wire, such as a `Tally`.
            patience_s: how long a request is repeated that got no answer, or one that means "later"; 0: never.
            stopping: once it is set, a request is repeated for at most 5 s more, for a process that shall end.
            read_timeout_s: how long an answer may stand still before its request counts as failed; no longer than
                the patience, for a request that hangs would outlast that, but for 2 s at least.
            clock: what the waiting between two tries goes by.

        Raises:
            ConfigError: when the SDK cannot read the settings, or the log of requests cannot be written.
        """
        # The SDK logs every request at INFO, and the Functions worker shows INFO.
        logging.getLogger("azure").setLevel(logging.WARNING)
        clock = clock or Clock()
        # Last, next to the wire: what another policy keeps back was not sent.
        logs = [RequestLog(settings.request_log)] if settings.request_log else []
        outages = Outages(clock)
        options: dict[str, Any] = {
            "transport": transport(min(read_timeout_s, max(patience_s, _LEAST_READ_TIMEOUT_S))),
            "_additional_pipeline_policies": [*policies, *logs],
        }
        blob_options = {
            **options,
            "retry_policy": Retrying(patience_s, stopping, clock, outages),
            "max_single_put_size": SINGLE_PUT_BYTES,
            "max_single_get_size": SINGLE_GET_BYTES,
        }
        queue_options = {**options, "retry_policy": Retrying(patience_s, stopping, clock, outages)}
        try:
            if settings.connection_string:
                blobs = BlobServiceClient.from_connection_string(settings.connection_string, **blob_options)
                queues = QueueServiceClient.from_connection_string(settings.connection_string, **queue_options)
            else:
                # Imported here: it costs 0.3 s and a connection string needs none of it.
                from azure.identity import DefaultAzureCredential

                identity = {"managed_identity_client_id": settings.client_id} if settings.client_id else {}
                credential = DefaultAzureCredential(**identity)
                blobs = BlobServiceClient(settings.blob_uri, credential=credential, **blob_options)
                queues = QueueServiceClient(settings.queue_uri, credential=credential, **queue_options)
        except ValueError as error:
            why = str(error).rstrip(".")
            raise ConfigError(f"the storage account cannot be opened: {why}. Check DROPSWEEP_STORAGE") from error
        return cls(Blobs(blobs), Queues(queues), outages)

    @property
    def outage_age_s(self) -> float:
        """Seconds since this account was last out of reach for 5 s or more; infinite if it never was.

        What others had to write meanwhile, such as heartbeats, may have been held up as well.
        """
        return self._outages.age_s

    def prepare(self, clusters: Iterable[str]) -> None:
        """Creates every container and queue, of the clusters of these names too; the deployment does it in Azure."""
        for container in CONTAINERS:
            self.blobs.create_container(container)
        for queue in (SUBMISSIONS_QUEUE, ADVANCE_QUEUE, poison_queue(SUBMISSIONS_QUEUE), poison_queue(ADVANCE_QUEUE)):
            self.queues.create_queue(queue)
        for cluster in clusters:
            for queue in trials_queues(cluster):
                self.queues.create_queue(queue)
