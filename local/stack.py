"""Azurite, the function host and the trainers together, from first to last."""

import fcntl
import functools
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, Self

from dropsweep.clusters import SETTING as CLUSTERS
from dropsweep.clusters import Cluster, dump_clusters
from dropsweep.errors import ConfigError
from dropsweep.names import ADVANCE_QUEUE
from dropsweep.settings import REQUEST_LOG, STORAGE, StorageSettings
from dropsweep.storage import Store
from local import keda
from local.azurite import Azurite, is_free
from local.child import Child, around_proxy, stop_all
from local.fleet import FixedFleet, Fleet, ScaledFleet, slots_of
from local.host.account import REQUEST_LOG as HOST_REQUEST_LOG
from local.host.http import LISTENS
from local.paths import ROOT
from local.scaler import Scaler
from local.tail import Tail

CLUSTER: Final = "local"
_LOCK_WAIT_S: Final = 15.0
"""Longer than the children of a stack that was killed need to end."""
_HOST_START_S: Final = 60.0
_HOST_GRACE_S: Final = 15.0
_TRAINER_GRACE_S: Final = 20.0
_HOST_STARTED: Final = "Host started"

LOCAL_SETTINGS: Final = {
    # One machine, one clock, no network in between: a lost worker is noticed within seconds, not minutes.
    "DROPSWEEP_HEARTBEAT_S": "1",
    "DROPSWEEP_CLAIM_TIMEOUT_S": "20",
    "DROPSWEEP_GRACE_S": "5",
    # Who tries a schedule, or `run-now`, does not wait for the next full minute.
    "DROPSWEEP_TICK_SCHEDULE": "*/5 * * * * *",
    "FUNCTIONS_WORKER_RUNTIME": "python",
    # As in the cloud.
    "PYTHON_THREADPOOL_THREAD_COUNT": "16",
    "PYTHONUNBUFFERED": "1",
}


class Stack:
    """A running system. Its data, in one folder, outlives it.

    Use it as a context manager: whatever ends the block, no process is left. If this process is killed instead, its
    children end by themselves.

    Attributes:
        logs: the folder of one log file per process.
        requests: the folder of the logs of requests; empty without `logs_requests`.
        clusters: what its trainers serve, as the host and the trainers are told.
    """

    def __init__(
        self,
        data: Path,
        *,
        num_trainers: int = 2,
        num_slots: int = 1,
        clusters: Sequence[Cluster] = (),
        polling_interval_s: float = keda.POLLING_INTERVAL_S,
        with_host: bool = True,
        usual_ports: bool = False,
        is_fresh: bool = False,
        logs_requests: bool = False,
        app: Path = ROOT,
        trainer_command: Sequence[str] | None = None,
        settings: Mapping[str, str] | None = None,
        wrap: Callable[[str, Sequence[str]], Sequence[str]] | None = None,
    ) -> None:
        """Describes a stack; `start` makes it run.

        Args:
            data: the folder of all its data and logs; used by one stack at a time.
            num_trainers: trainer processes that stay, of the cluster `CLUSTER`; may be 0.
            num_slots: trials that each of them runs at once.
            clusters: what is served in place of that cluster, each with as many trainers as its queues are long,
                between its fewest and its most; the first takes jobs that name none. Their mounts become folders below
                `data`, one for each share.
            polling_interval_s: seconds between two looks at the queues of `clusters`.
            with_host: start the function host. Without it something else must run the functions on this storage.
            usual_ports: take the ports that storage and Functions tools expect, when they are free.
            is_fresh: start with empty storage, whatever the folder holds from before.
            logs_requests: storage writes a line for each request into its log, and each process into one of its own
                below `requests`: `host.log`, `functions.log`, and one for each trainer.
            app: the folder of function_app.py and host.json.
            trainer_command: in place of the trainer, a program and its arguments; those of a cluster of `clusters` get
                the trainer's own arguments after these.
            settings: above `LOCAL_SETTINGS` and the clusters in the environment of the host and the trainers.
            wrap: gets the name and the command of the host and of each trainer; what it returns is run in its place.
        """
        self.logs = data / "logs"
        self.requests = self.logs / "requests"
        self._data = data
        self._num_trainers = num_trainers
        self._num_slots = num_slots
        self._is_scaled = bool(clusters)
        self.clusters = (
            tuple(self._at_home(cluster) for cluster in clusters) if clusters else (_resident(num_trainers, num_slots),)
        )
        self._polling_interval_s = polling_interval_s
        self._with_host = with_host
        self._usual_ports = usual_ports
        self._is_fresh = is_fresh
        self._logs_requests = logs_requests
        self._app = app
        self._trainer_command = trainer_command
        self._wrap = wrap
        self._settings = {**LOCAL_SETTINGS, CLUSTERS: dump_clusters(self.clusters), **(settings or {})}
        self._lock: int | None = None
        self._azurite: Azurite | None = None
        self._host: Child | None = None
        self._fleets: list[Fleet] = []
        self._scaler: Scaler | None = None

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
        """All processes that were started, in the order in which they are stopped.

        Without trainers that have left because their cluster had nothing to do.
        """
        vital = [self._host, self._azurite.child if self._azurite else None]
        trainers = [child for fleet in self._fleets for child in fleet.children]
        return [*trainers, *(child for child in vital if child)]

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
            self.requests.mkdir(parents=True, exist_ok=True)
            self._azurite = Azurite(
                self._data / "storage",
                log=self.logs / "azurite.log",
                usual_ports=self._usual_ports,
                logs_requests=self._logs_requests,
                keeps_open=[self._lock],
            )
            storage = StorageSettings(connection_string=self.connection_string)
            Store.connect(storage).prepare(cluster.name for cluster in self.clusters)
            tail = Tail([self.logs / "host.log"])
            if self._with_host:
                self._host = self._start_host()
            if self._is_scaled:
                self._start_scaling(storage)
            else:
                fleet = FixedFleet(self._num_trainers, self._start_resident)
                self._fleets.append(fleet)
                fleet.fill()
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
            if self._scaler:
                self._scaler.stop()
                self._scaler = None
            fleets, self._fleets = self._fleets, []
            stop_all([trainer for fleet in fleets for trainer in fleet.close()])
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

        Trainers of clusters that are scaled need no call: they come and go by themselves. Their starts and departures
        are among the lines.

        Raises:
            OSError: a process cannot be started.
        """
        return [line for fleet in self._fleets for line in fleet.tend()]

    def revive(self) -> list[str]:
        """Starts whatever has ended again, at once: the storage on the same ports and data, the host, the trainers.

        Returns the names of what was started. When the storage was, it answers already; the rest may still be starting.
        `tend` is the gentler way, for trainers that keep dying by themselves. A scaled cluster gets what it needs at
        the next look at its queues. To be called from one thread.

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
        return names + [name for fleet in self._fleets for name in fleet.revive()]

    def _start_host(self) -> Child:
        port = "7071" if self._usual_ports and is_free(7071) else "0"
        # Between a trial's end and the next one's start there is a message to this queue.
        command = [
            sys.executable,
            "-m",
            "local.host",
            "--app",
            str(self._app),
            "--port",
            port,
            "--often",
            ADVANCE_QUEUE,
        ]
        return self._child("host", command, self.logs / "host.log", _HOST_GRACE_S)

    def _start_scaling(self, storage: StorageSettings) -> None:
        for cluster in self.clusters:
            for mount in cluster.mounts:
                Path(mount.path).mkdir(parents=True, exist_ok=True)
        fleets = [ScaledFleet(cluster, functools.partial(self._start_node, cluster)) for cluster in self.clusters]
        self._fleets.extend(fleets)
        self._scaler = Scaler(storage, fleets, polling_interval_s=self._polling_interval_s)
        self._scaler.start()

    def _start_node(self, cluster: Cluster, number: int) -> Child:
        return self._start_trainer(f"trainer-{cluster.name}-{number}", ["--cluster", cluster.name, "--scaled"])

    def _start_resident(self, number: int) -> Child:
        # They share the machine, and each would compute with as many threads as that has cores.
        share = ["--workers", str(self._num_trainers)]
        arguments = ["--cluster", CLUSTER, "--slots", str(self._num_slots), *share]
        return self._start_trainer(f"trainer-{number}", arguments)

    def _start_trainer(self, name: str, arguments: Sequence[str]) -> Child:
        work = self._data / "work" / name
        work.mkdir(parents=True, exist_ok=True)
        program = self._trainer_command or [sys.executable, "-m", "dropsweep_trainer"]
        is_whole = self._trainer_command is not None and not self._is_scaled
        command = [*program, *([] if is_whole else [*arguments, "--work", str(work)])]
        return self._child(name, command, self.logs / f"{name}.log", _TRAINER_GRACE_S)

    def _at_home(self, cluster: Cluster) -> Cluster:
        """A cluster as it can be on one machine: its mounts are folders, and how many slots it has is said."""
        mounts = tuple(
            replace(mount, path=str((self._data / "mounts" / mount.share).absolute())) for mount in cluster.mounts
        )
        return replace(cluster, mounts=mounts, slots_per_node=slots_of(cluster))

    def _child(self, name: str, command: Sequence[str], log: Path, grace_s: float) -> Child:
        storage = self.connection_string
        env = {**os.environ, STORAGE: storage, "AzureWebJobsStorage": storage}
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT / "trainer_image"), os.environ.get("PYTHONPATH"))))
        if self._logs_requests:
            env |= self._request_logs(name)
        env = around_proxy(env | self._settings)
        if self._wrap:
            command = self._wrap(name, command)
        # While any of them lives, a second stack on the same folder waits.
        keeps_open = [] if self._lock is None else [self._lock]
        return Child(name, command, log=log, env=env, cwd=ROOT, grace_s=grace_s, keeps_open=keeps_open)

    def _request_logs(self, name: str) -> dict[str, str]:
        """Names the files to which a child writes its requests; the host's own and its functions' are two."""
        if name == "host":
            return {
                HOST_REQUEST_LOG: str(self.requests / "host.log"),
                REQUEST_LOG: str(self.requests / "functions.log"),
            }
        return {REQUEST_LOG: str(self.requests / f"{name}.log")}

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


def _resident(num_trainers: int, num_slots: int) -> Cluster:
    """The cluster of trainers that stay."""
    return Cluster(
        CLUSTER,
        description="the trainers of this machine",
        slots_per_node=num_slots,
        min_instances=num_trainers,
        max_instances=max(1, num_trainers),
    )


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
