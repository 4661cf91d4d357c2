"""The timer trigger: runs a function at the times of its schedule, never twice at once."""

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from datetime import UTC, datetime
from typing import Self

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.functions.timer import TimerRequest
from azure.storage.blob import BlobServiceClient

from local.host.config import HOST_CONTAINER, HostConfig, resolve
from local.host.cron import Schedule
from local.host.functions import Function, FunctionFailed, invoke

logger = logging.getLogger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


class TimerListener:
    """Runs one function on one schedule, and remembers in a blob when it is due next."""

    def __init__(
        self,
        function: Function,
        schedule: Schedule,
        service: BlobServiceClient,
        config: HostConfig,
        executor: Executor,
        stopping: threading.Event,
        *,
        runs_at_start: bool = False,
        is_monitored: bool = True,
        now: Callable[[], datetime] = _now,
    ) -> None:
        """Prepares; `listen` starts it.

        Args:
            function: gets `azure.functions.TimerRequest`.
            schedule: when.
            service: of the account in which the host remembers what it has done.
            config: from host.json.
            executor: runs the function; shared by all listeners.
            stopping: when set, it is not run again.
            runs_at_start: run once at every start of the host.
            is_monitored: remember the next time, so that one missed while the host was off is made up for at start.
            now: the clock, in UTC.
        """
        self._function = function
        self._schedule = schedule
        self._executor = executor
        self._stopping = stopping
        self._runs_at_start = runs_at_start
        self._is_monitored = is_monitored
        self._now = now
        self._container = service.get_container_client(HOST_CONTAINER)
        self._status = self._container.get_blob_client(f"timers/{config.host_id}/Host.Functions.{function.name}/status")

    @classmethod
    def from_trigger(
        cls,
        function: Function,
        settings: Mapping[str, str],
        service: BlobServiceClient,
        config: HostConfig,
        executor: Executor,
        stopping: threading.Event,
    ) -> Self:
        """Makes the listener that the function's binding describes.

        Raises:
            ConfigError: when its schedule is none.
        """
        trigger = function.trigger
        return cls(
            function,
            Schedule.parse(resolve(str(trigger["schedule"]), settings)),
            service,
            config,
            executor,
            stopping,
            runs_at_start=trigger.get("runOnStartup") is True,
            is_monitored=trigger.get("useMonitor") is not False,
        )

    def listen(self) -> None:
        """Runs the function when it is due, until `stopping` is set; returns when the last run has ended."""
        due = self._read_due()
        is_past_due = due is not None and due <= self._now()
        if is_past_due or self._runs_at_start:
            self._fire(is_past_due=is_past_due)
        while not self._stopping.is_set():
            due = self._schedule.next_after(self._now())
            self._write_due(due)
            while (wait_s := (due - self._now()).total_seconds()) > 0:
                # At most a minute at a time: the machine may sleep, and its clock may be set.
                if self._stopping.wait(min(wait_s, 60.0)):
                    return
            self._fire(is_past_due=False)

    def _fire(self, *, is_past_due: bool) -> None:
        # Waiting for the end is what keeps two runs from overlapping.
        with contextlib.suppress(FunctionFailed):
            self._executor.submit(invoke, self._function, TimerRequest(past_due=is_past_due), "Timer fired.").result()

    def _read_due(self) -> datetime | None:
        if not self._is_monitored:
            return None
        try:
            return datetime.fromisoformat(json.loads(self._status.download_blob().readall())["Next"])
        except ResourceNotFoundError:
            return None
        except (AzureError, ValueError, KeyError) as error:
            logger.warning("the status of timer %s cannot be read, taken as new: %s", self._function.name, error)
            return None

    def _write_due(self, due: datetime) -> None:
        if not self._is_monitored:
            return
        body = json.dumps({"Next": due.isoformat(), "LastUpdated": self._now().isoformat()})
        try:
            with contextlib.suppress(ResourceExistsError):
                self._container.create_container()
            self._status.upload_blob(body, overwrite=True)
        except AzureError as error:
            logger.warning("the status of timer %s cannot be written: %s", self._function.name, error)
