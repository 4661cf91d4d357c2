"""A function host in a process of its own, with an app that writes down what its triggers bring."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient
from azure.storage.queue import QueueClient, QueueServiceClient

from local.paths import ROOT

APP = Path(__file__).parent / "app"


def wait_until(fact: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
    """Returns the first true value of `fact`; fails after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := fact():
            return value
        time.sleep(0.02)
    pytest.fail(f"not within {timeout_s} s: {what}")


_HANDLES_CTRL_C = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
print("listening", flush=True)
"""
"""What runs in the background of a shell has SIGINT ignored, and so has what it starts."""


@contextmanager
def program(code: str, *arguments: str, out: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Runs Python code that takes Ctrl-C, in the checkout; whatever happens in the block, it does not outlive it.

    What it prints goes to the file `out`, so that nothing waits for a line that does not come. Its children end with
    it.
    """
    with out.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", _HANDLES_CTRL_C + code, *arguments],
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: process.poll() is not None or "listening" in out.read_text(), "the program's start")
        yield process
    finally:
        process.kill()
        process.wait(60)


class HostProcess:
    """The host on one queue and one container that nobody else uses; it can be ended and started again."""

    def __init__(self, folder: Path, connection_string: str) -> None:
        name = f"t{uuid.uuid4().hex[:12]}"
        self.queue: QueueClient = QueueServiceClient.from_connection_string(connection_string).get_queue_client(name)
        self.container: ContainerClient = BlobServiceClient.from_connection_string(
            connection_string
        ).get_container_client(name)
        self.queue.create_queue()
        self.container.create_container()
        self.log = folder / "host.log"
        self.record = folder / "record.jsonl"
        self.settings = {
            **os.environ,
            "DROPSWEEP_STORAGE": connection_string,
            "AzureWebJobsStorage": connection_string,
            "AzureFunctionsWebHost__hostid": name,
            "QUEUE": name,
            "CONTAINER": name,
            "RECORD": str(self.record),
            "PYTHON_THREADPOOL_THREAD_COUNT": "32",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str, **settings: str) -> None:
        before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "local.host", "--app", str(APP), "--port", "0", *arguments],
                cwd=ROOT,
                env={**self.settings, **settings},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        process = self.process
        wait_until(lambda: process.poll() is not None or "Host started" in self.log.read_text()[before:], "the start")
        assert process.poll() is None, self.log.read_text()[before:]

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        try:
            return self.process.wait(timeout=60)
        finally:
            self.process.kill()
            self.process.wait(60)
            self.process = None

    def let_go(self) -> None:
        """Lets every call end that a message `hold` made, and each that one makes later."""
        self.record.with_suffix(".go").touch()

    def events(self, kind: str) -> list[dict[str, Any]]:
        if not self.record.exists():
            return []
        # The last line may be half written.
        whole = self.record.read_text().rpartition("\n")[0].splitlines()
        return [event for event in map(json.loads, whole) if event["event"] == kind]

    @property
    def port(self) -> int:
        return int(re.findall(r"127\.0\.0\.1:(\d+)/", self.log.read_text())[-1])

    def messages(self, queue: QueueClient) -> list[str]:
        return [message.content for message in queue.peek_messages(max_messages=32)]


@pytest.fixture
def stopped_host(tmp_path: Path, connection_string: str) -> Iterator[HostProcess]:
    host = HostProcess(tmp_path, connection_string)
    try:
        yield host
    finally:
        if host.process is not None:
            host.stop()
        host.queue.close()
        host.container.close()


@pytest.fixture
def host(stopped_host: HostProcess) -> HostProcess:
    stopped_host.start()
    return stopped_host
