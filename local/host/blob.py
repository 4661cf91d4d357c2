"""The blob trigger: finds new and changed blobs, runs the function once for each version, remembers what is done."""

import json
import logging
import re
import threading
import time
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.functions.blob import InputStream
from azure.storage.blob import BlobProperties

from dropsweep.errors import ConfigError
from local.host.account import Account
from local.host.config import HOST_CONTAINER, HostConfig
from local.host.functions import Function, FunctionFailed, invoke

logger = logging.getLogger(__name__)

POISON_QUEUE: Final = "webjobs-blobtrigger-poison"
SCAN_EACH_S: Final = 0.3
"""Pause between two scans, which stand in for Event Grid: functions with `source=EventGrid` are scanned too."""
_SCAN_SHARE: Final = 3.0
"""The pause is at least this many times as long as the scan: a full container may not take the whole processor."""
RETRY_S: Final = 1.0
"""From a failure to the next try."""


@dataclass(frozen=True, slots=True, order=True)
class _Version:
    """One version of one blob; the ETag is without its quotes."""

    name: str
    etag: str


@dataclass(slots=True)
class _Trouble:
    """How often a version failed, and when it is tried again (`time.monotonic`)."""

    num_failures: int = 0
    retry_at: float = 0.0


class BlobListener:
    """Runs one function for the blobs of one container."""

    def __init__(
        self,
        function: Function,
        path: str,
        account: Account,
        host_account: Account,
        config: HostConfig,
        executor: Executor,
        stopping: threading.Event,
    ) -> None:
        """Prepares; `listen` starts it.

        Args:
            function: gets each blob as `azure.functions.InputStream`.
            path: `container/pattern`; `{name}` in the pattern stands for any text.
            account: holds the container, which need not exist yet.
            host_account: where the host remembers what it has done, and puts what failed too often.
            config: from host.json.
            executor: runs the function; shared by all listeners.
            stopping: when set, nothing more is found.

        Raises:
            ConfigError: when `path` names no container.
        """
        self._container, slash, pattern = path.partition("/")
        if not slash or not pattern or "{" in self._container:
            raise ConfigError(f"blob path {path!r} must be container/pattern, as in jobs/{{name}}. Correct the trigger")
        self._pattern = _to_regex(pattern)
        self._function = function
        self._client = account.blobs.get_container_client(self._container)
        self._receipts = host_account.blobs.get_container_client(HOST_CONTAINER)
        self._poison = host_account.queues.get_queue_client(POISON_QUEUE)
        self._config = config
        self._executor = executor
        self._stopping = stopping
        self._lock = threading.Condition()
        self._done: set[_Version] = set()
        self._running: set[_Version] = set()
        self._troubles: dict[_Version, _Trouble] = {}

    def listen(self) -> None:
        """Finds and runs until `stopping` is set, then waits for what is running."""
        has_receipts = False
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                if not has_receipts:
                    self._read_receipts()
                    has_receipts = True
                self._scan()
            except AzureError as error:
                logger.warning("container %s cannot be read, trying again: %s", self._container, _first_line(error))
            took_s = time.monotonic() - started
            self._stopping.wait(max(SCAN_EACH_S, _SCAN_SHARE * took_s))
        with self._lock:
            self._lock.wait_for(lambda: not self._running)

    def _scan(self) -> None:
        try:
            found = {
                _Version(blob.name, _bare(blob.etag))
                for blob in self._client.list_blobs()
                if self._pattern.fullmatch(blob.name)
            }
        except ResourceNotFoundError:
            return  # as the real host: a container that is not there yet is an empty one
        now = time.monotonic()
        with self._lock:
            self._done &= found  # what was deleted or changed need not be remembered
            self._troubles = {version: self._troubles[version] for version in self._troubles.keys() & found}
            waiting = {version for version, trouble in self._troubles.items() if trouble.retry_at > now}
            num_free = self._config.max_blobs_at_once - len(self._running)
            fresh = sorted(found - self._done - self._running - waiting)[: max(0, num_free)]
            self._running.update(fresh)
        for version in fresh:
            self._executor.submit(self._run, version)

    def _run(self, version: _Version) -> None:
        try:
            if not self._stopping.is_set():
                self._try(version)
        except (ResourceModifiedError, ResourceNotFoundError):
            logger.info("blob %s/%s changed or went away before it was read", self._container, version.name)
        except AzureError as error:
            logger.warning("blob %s/%s will be tried again: %s", self._container, version.name, _first_line(error))
            self._note_failure(version)
        finally:
            with self._lock:
                self._running.discard(version)
                self._lock.notify_all()

    def _try(self, version: _Version) -> None:
        download = self._client.get_blob_client(version.name).download_blob(
            etag=f'"{version.etag}"', match_condition=MatchConditions.IfNotModified
        )
        value = self._to_function(version, download.properties, download.readall())
        try:
            invoke(self._function, value, f"New blob detected: {self._container}/{version.name}")
        except FunctionFailed:
            if self._note_failure(version) < self._config.poison_blob_threshold:
                return
            self._bury(version)
        self._remember(version)

    def _to_function(self, version: _Version, properties: BlobProperties, data: bytes) -> InputStream:
        return InputStream(
            data=data,
            name=f"{self._container}/{version.name}",
            uri=self._client.get_blob_client(version.name).url,
            length=len(data),
            blob_properties={
                "ETag": f'"{version.etag}"',
                "ContentLength": len(data),
                "ContentType": properties.content_settings.content_type,
                "LastModified": properties.last_modified.isoformat(),
                "CreatedOn": properties.creation_time.isoformat() if properties.creation_time else None,
            },
            metadata=dict(properties.metadata or {}),
        )

    def _note_failure(self, version: _Version) -> int:
        with self._lock:
            trouble = self._troubles.setdefault(version, _Trouble())
            trouble.num_failures += 1
            trouble.retry_at = time.monotonic() + RETRY_S
            return trouble.num_failures

    def _bury(self, version: _Version) -> None:
        body: dict[str, Any] = {
            "FunctionId": f"Host.Functions.{self._function.name}",
            "BlobType": "BlockBlob",
            "ContainerName": self._container,
            "BlobName": version.name,
            "ETag": f'"{version.etag}"',
        }
        try:
            self._poison.send_message(json.dumps(body))
        except ResourceNotFoundError:
            self._poison.create_queue()
            self._poison.send_message(json.dumps(body))
        logger.error(
            "Blob %s/%s failed %d times. Its name was put on queue '%s'.",
            self._container,
            version.name,
            self._config.poison_blob_threshold,
            POISON_QUEUE,
        )

    @property
    def _receipt_folder(self) -> str:
        return f"blobreceipts/{self._config.host_id}/Host.Functions.{self._function.name}/"

    def _read_receipts(self) -> None:
        try:
            self._receipts.create_container()
        except ResourceExistsError:
            for path in self._receipts.list_blob_names(name_starts_with=self._receipt_folder):
                etag, container, name = path.removeprefix(self._receipt_folder).split("/", 2)
                if container == self._container:
                    self._done.add(_Version(name, etag))

    def _remember(self, version: _Version) -> None:
        path = f"{self._receipt_folder}{version.etag}/{self._container}/{version.name}"
        # Overwriting is harmless: an empty receipt says all there is to say.
        self._receipts.upload_blob(path, b"", overwrite=True)
        with self._lock:
            self._done.add(version)


def _to_regex(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"\{[^{}]+\}", pattern)
    return re.compile(".+".join(re.escape(part) for part in parts), re.DOTALL)


def _bare(etag: str) -> str:
    return etag.strip('"')


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
