"""The host: one listener for each function, one pool of threads for all of them."""

import gc
import logging
import os
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, Self

from dropsweep.errors import ConfigError
from local.host.account import connect
from local.host.blob import BlobListener
from local.host.config import HostConfig, read_config, resolve
from local.host.functions import Function, load
from local.host.http import HttpListener
from local.host.queue import QueueListener
from local.host.timer import TimerListener

logger = logging.getLogger(__name__)

_HOST_STORAGE = "AzureWebJobsStorage"
_OFTEN_S = 0.2


class Listener(Protocol):
    """Something that fires functions."""

    def listen(self) -> None:
        """Fires them until the host is stopping; returns when the last call has ended."""


class _Stirring(ThreadPoolExecutor):
    """Runs functions of queues, blobs and timers, and notes the end of each: it may have sent a message.

    Attributes:
        stirred: set at each end.
    """

    def __init__(self, num_threads: int) -> None:
        super().__init__(num_threads, thread_name_prefix="function")
        self.stirred = threading.Event()

    def submit(self, *call: Any, **options: Any) -> Future[Any]:
        future = super().submit(*call, **options)
        future.add_done_callback(lambda _: self.stirred.set())
        return future


class Host:
    """A loaded function app with everything that listens for it."""

    def __init__(self, listeners: list[Listener], executor: ThreadPoolExecutor, stopping: threading.Event) -> None:
        """Takes ready-made listeners; `load` makes them from an app."""
        self._listeners = listeners
        self._executor = executor
        self._stopping = stopping

    @classmethod
    def load(
        cls,
        app: Path,
        settings: Mapping[str, str],
        *,
        port: int,
        stopping: threading.Event,
        often: str = "",
    ) -> Self:
        """Loads the app and makes a listener for each of its functions; nothing is fired yet.

        Args:
            app: the folder of function_app.py and host.json.
            settings: the app settings, normally the environment.
            port: of HTTP functions; 0 for any free one. Opened only if there are such functions.
            stopping: `run` returns after it was set.
            often: the queue that is looked into five times a second when it is empty, and at once after each function
                that ran for a message, a blob or a timer, whatever host.json says; empty: none.

        Raises:
            ConfigError: when the app, host.json or a setting is wrong; the message has the remedy.
        """
        config = read_config(app, settings)
        # The real worker's number of threads, and its setting.
        num_threads = int(settings.get("PYTHON_THREADPOOL_THREAD_COUNT") or min(32, (os.cpu_count() or 1) + 4))
        executor = _Stirring(num_threads)
        listeners: list[Listener] = []
        over_http: list[Function] = []
        for function in load(app):
            if function.trigger["type"] == "httpTrigger":
                over_http.append(function)
            else:
                listeners.append(_listener(function, settings, config, executor, stopping, often))
            logger.info("Functions.%s: %s", function.name, function.trigger["type"])
        if over_http:
            listeners.append(HttpListener(over_http, config.route_prefix, settings, port, stopping))
        if not listeners:
            raise ConfigError(f"{app}/function_app.py declares no function: there must be one. Register the blueprints")
        return cls(listeners, executor, stopping)

    def run(self) -> None:
        """Fires functions until `stopping` is set; returns when all that ran have ended."""
        threads = [
            threading.Thread(target=listener.listen, name=type(listener).__name__) for listener in self._listeners
        ]
        # What is loaded stays for as long as this runs: no collection need look at it again.
        gc.freeze()
        for thread in threads:
            thread.start()
        logger.info("Host started with %d listeners", len(threads))
        self._stopping.wait()
        logger.info("Host is stopping")
        for thread in threads:
            thread.join()
        self._executor.shutdown()
        logger.info("Host stopped")


def _listener(
    function: Function,
    settings: Mapping[str, str],
    config: HostConfig,
    executor: _Stirring,
    stopping: threading.Event,
    often: str,
) -> Listener:
    trigger = function.trigger
    connection = str(trigger.get("connection") or _HOST_STORAGE)
    match trigger["type"]:
        case "queueTrigger":
            queue = resolve(str(trigger["queueName"]), settings)
            limits, stirred = config.queues, None
            if queue == often:
                limits, stirred = replace(limits, max_polling_interval_s=_OFTEN_S), executor.stirred
            service = connect(connection, settings).queues
            return QueueListener(function, queue, service, limits, executor, stopping, stirred=stirred)
        case "blobTrigger":
            path = resolve(str(trigger["path"]), settings)
            account, host_account = connect(connection, settings), connect(_HOST_STORAGE, settings)
            return BlobListener(function, path, account, host_account, config, executor, stopping)
        case "timerTrigger":
            blobs = connect(_HOST_STORAGE, settings).blobs
            return TimerListener.from_trigger(function, settings, blobs, config, executor, stopping)
        case kind:
            raise ConfigError(
                f"function {function.name} has a {kind}, which this host cannot listen to. Use `func start`"
            )
