"""Azurite, the function host and the trainers together, from first to last."""

import fcntl
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from dropsweep.errors import ConfigError
from dropsweep.settings import STORAGE, StorageSettings
from dropsweep.storage import Store
from local.azurite import Azurite, is_free
from local.child import Child, around_proxy, stop_all
from local.host.http import LISTENS
from local.paths import ROOT, shown
from local.tail import Tail

CLUSTER: Final = "local"
_LOCK_WAIT_S: Final = 15.0
"""Longer than the children of a stack that was killed need to end."""
_HOST_START_S: Final = 60.0
_HOST_GRACE_S: Final = 15.0
_TRAINER_GRACE_S: Final = 20.0
_MIN_PAUSE_S: Final = 1.0
_MAX_PAUSE_S: Final = 30.0
_LIVED_LONG_S: Final = 60.0
_HOST_STARTED: Final = "Host started"

LOCAL_SETTINGS: Final = {
    # One machine, one clock, no network in between: a lost worker is noticed within seconds, not minutes.
    "DROPSWEEP_HEARTBEAT_S": "1",
    "DROPSWEEP_CLAIM_TIMEOUT_S": "20",
    "DROPSWEEP_GRACE_S": "5",
    "DROPSWEEP_CLUSTERS": CLUSTER,
    # Who tries a schedule, or `run-now`, does not wait for the next full minute.
    "DROPSWEEP_TICK_SCHEDULE": "*/5 * * * * *",
    "FUNCTIONS_WORKER_RUNTIME": "python",
    # Looking into an empty queue costs nothing here; host.json's pause is meant for an account that is paid by request.
    "AzureFunctionsJobHost__extensions__queues__maxPollingInterval": "00:00:00.1",
    "PYTHONUNBUFFERED": "1",
}


class Stack:
    """A running system. Its data, in one folder, outlives it.

    Use it as a context manager: whatever ends the block, no process is left. If this process is killed instead, its
    children end by themselves.

    Attributes:
        logs: the folder of one log file per process.
    """

    def __init__(
        self,
        data: Path,
        *,
        num_trainers: int = 2,
        num_slots: int = 1,
        with_host: bool = True,
        usual_ports: bool = False,
        is_fresh: bool = False,
        logs_requests: bool = False,
        app: Path = ROOT,
        trainer_command: Sequence[str] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Describes a stack; `start` makes it run.

        Args:
            data: the folder of all its data and logs; used by one stack at a time.
            num_trainers: trainer processes; may be 0.
            num_slots: trials that each trainer runs at once.
            with_host: start the function host. Without it something else must run the functions on this storage.
            usual_ports: take the ports that storage and Functions tools expect, when they are free.
            is_fresh: start with empty storage, whatever the folder holds from before.
            logs_requests: storage writes a line for each request into its log.
            app: the folder of function_app.py and host.json.
            trainer_command: in place of the trainer, a program and its arguments.
            settings: above `LOCAL_SETTINGS` in the environment of the host and the trainers.
        """
        self.logs = data / "logs"
        self._data = data
        self._num_trainers = num_trainers
        self._num_slots = num_slots
        self._with_host = with_host
        self._usual_ports = usual_ports
        self._is_fresh = is_fresh
        self._logs_requests = logs_requests
        self._app = app
        self._trainer_command = trainer_command
        self._settings = {**LOCAL_SETTINGS, **(settings or {})}
        self._lock: int | None = None
        self._azurite: Azurite | None = None
        self._host: Child | None = None
        self._trainers: list[Child] = []
        self._pauses: dict[int, _Pause] = {}
        self._tending = threading.Lock()

    @property
    def connection_string(self) -> str:
        """Names the running storage account.

        Raises:
            ConfigError: when the stack does not run.
        """
        if self._azurite is None:
            raise ConfigError("the stack does not run: it must, to have an address. Call start first")
        return self._azurite.connection_string

    @property
    def url(self) -> str:
        """Where the HTTP API of the running host is, up to and with `/api`.

        Raises:
            ConfigError: no host runs here.
        """
        log = self.logs / "host.log"
        # The last one: a host that was started again may have another port.
        found = re.findall(rf"{re.escape(LISTENS)}(\S+)", log.read_text(encoding="utf-8")) if self._host else []
        if not found:
            raise ConfigError("no function host runs here: it must, for the HTTP API. Start the stack with one")
        return str(found[-1])

    @property
    def children(self) -> list[Child]:
        """All processes that were started, in the order in which they are stopped."""
        vital = [self._host, self._azurite.child if self._azurite else None]
        return [*self._trainers, *(child for child in vital if child)]

    def start(self) -> None:
        """Starts everything; returns when storage answers and the host listens. Trainers may still be starting.

        Raises:
            ConfigError: when another stack uses the folder, or a part does not start. Nothing is left running then.
        """
        try:
            self._data.mkdir(parents=True, exist_ok=True)
            self._lock = _take(self._data / "lock")
            if self._is_fresh:
                for folder in (self._data / "storage", self._data / "work", self.logs):
                    shutil.rmtree(folder, ignore_errors=True)
            self.logs.mkdir(exist_ok=True)
            self._azurite = Azurite(
                self._data / "storage",
                log=self.logs / "azurite.log",
                usual_ports=self._usual_ports,
                logs_requests=self._logs_requests,
                keeps_open=[self._lock],
            )
            Store.connect(StorageSettings(connection_string=self.connection_string)).prepare((CLUSTER,))
            tail = Tail([self.logs / "host.log"])
            if self._with_host:
                self._host = self._start_host()
            for number in range(1, self._num_trainers + 1):
                self._trainers.append(self._start_trainer(number))
                self._pauses[number] = _Pause(time.monotonic())
            if self._host:
                self._wait_for_host(self._host, tail)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends trainers, host and Azurite, in this order; returns when no process is left. Harmless when none runs.

        Ctrl-C and SIGTERM wait until it is done: each part has its grace, after which it is killed.
        """
        with _undisturbed():
            with self._tending:
                trainers, self._trainers = self._trainers, []
            stop_all(trainers)
            if self._host:
                self._host.stop()
                self._host = None
            if self._azurite:
                self._azurite.stop()
                self._azurite = None
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def dead(self) -> list[Child]:
        """Returns the processes that ended without being asked to."""
        return [child for child in self.children if child.exit_status is not None]

    def vital_dead(self) -> list[Child]:
        """Returns those of the host and the storage that ended without being asked to: nothing goes on without them."""
        vital = [self._host, self._azurite.child if self._azurite else None]
        return [child for child in vital if child and child.exit_status is not None]

    def tend(self) -> list[str]:
        """Starts trainers again that have died, each after its pause; returns a line for each death, for a person.

        The pause is 1 s at first and twice as long each time, up to 30 s, and 1 s again once the trainer has lived for
        a minute: as a cloud platform treats a container. To be called several times a second, from any thread.

        Raises:
            OSError: a process cannot be started.
        """
        lines = []
        with self._tending:
            for number, trainer in enumerate(self._trainers, 1):
                pause = self._pauses[number]
                if trainer.exit_status is None:
                    continue
                now = time.monotonic()
                if pause.until is None:
                    pause.died(now)
                    lines.append(
                        f"{trainer.name} ended with status {trainer.exit_status} and is started again in "
                        f"{pause.length_s:g} s; its log is {shown(trainer.log)}"
                    )
                elif now >= pause.until:
                    trainer.stop()  # closes our end of its pipe
                    self._trainers[number - 1] = self._start_trainer(number)
                    pause.began(now)
        return lines

    def revive(self) -> list[str]:
        """Starts whatever has ended again, at once: the storage on the same ports and data, the host, the trainers.

        Returns the names of what was started. When the storage was, it answers already; the rest may still be starting.
        `tend` is the gentler way, for trainers that keep dying by themselves. To be called from one thread.

        Raises:
            ConfigError: the storage does not start; this may be called again.
            OSError: a process cannot be started.
        """
        names = []
        if self._azurite and self._azurite.child.exit_status is not None:
            self._azurite.start_again()
            names.append(self._azurite.child.name)
        if self._host and self._host.exit_status is not None:
            self._host.stop()  # closes our end of its pipe
            self._host = self._start_host()
            names.append(self._host.name)
        with self._tending:
            for number, trainer in enumerate(self._trainers, 1):
                if trainer.exit_status is not None:
                    trainer.stop()
                    self._trainers[number - 1] = self._start_trainer(number)
                    self._pauses[number] = _Pause(time.monotonic())
                    names.append(trainer.name)
        return names

    def _start_host(self) -> Child:
        port = "7071" if self._usual_ports and is_free(7071) else "0"
        command = [sys.executable, "-m", "local.host", "--app", str(self._app), "--port", port]
        return self._child("host", command, self.logs / "host.log", _HOST_GRACE_S)

    def _start_trainer(self, number: int) -> Child:
        work = self._data / "work" / f"trainer-{number}"
        work.mkdir(parents=True, exist_ok=True)
        command = self._trainer_command or [
            *(sys.executable, "-m", "dropsweep_trainer", "--cluster", CLUSTER),
            *("--slots", str(self._num_slots), "--work", str(work)),
        ]
        return self._child(f"trainer-{number}", command, self.logs / f"trainer-{number}.log", _TRAINER_GRACE_S)

    def _child(self, name: str, command: Sequence[str], log: Path, grace_s: float) -> Child:
        storage = self.connection_string
        env = {**os.environ, STORAGE: storage, "AzureWebJobsStorage": storage}
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT / "trainer_image"), os.environ.get("PYTHONPATH"))))
        env = around_proxy(env | self._settings)
        # While any of them lives, a second stack on the same folder waits.
        keeps_open = [] if self._lock is None else [self._lock]
        return Child(name, command, log=log, env=env, cwd=ROOT, grace_s=grace_s, keeps_open=keeps_open)

    def _wait_for_host(self, host: Child, tail: Tail) -> None:
        deadline = time.monotonic() + _HOST_START_S
        while time.monotonic() < deadline and host.exit_status is None:
            if any(_HOST_STARTED in line for _, line in tail.read()):
                return
            time.sleep(0.05)
        raise ConfigError(
            f"the function host did not start (exit status {host.exit_status}). "
            f"Read {host.log}, which ends with:\n{host.last_lines()}"
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()


class _Pause:
    """How long a trainer waits before it is started again."""

    def __init__(self, now: float) -> None:
        self.length_s = 0.0
        self.until: float | None = None
        self._born = now

    def died(self, now: float) -> None:
        """Sets the pause after a death."""
        lived_long = now - self._born >= _LIVED_LONG_S
        self.length_s = _MIN_PAUSE_S if lived_long or not self.length_s else min(2 * self.length_s, _MAX_PAUSE_S)
        self.until = now + self.length_s

    def began(self, now: float) -> None:
        """Notes the new start."""
        self.until = None
        self._born = now


def _take(path: Path) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() < deadline:
                time.sleep(0.2)
                continue
            os.close(lock)
            raise ConfigError(
                f"{path.parent} is in use: one stack at a time may use a data folder. Stop the other one"
            ) from None
        return lock


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Holds Ctrl-C and SIGTERM off: a second one must not leave processes behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def say(_number: int, _frame: object) -> None:
        print("Stopping; this takes a few seconds.", file=sys.stderr, flush=True)

    before = {number: signal.signal(number, say) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
