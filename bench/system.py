"""A whole stack for one measure: fresh, with two trainers, and storage that logs what is asked of it."""

import json
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from bench.requests import CLAIM, JOB_RECORD, REPORT, PartyLogs, Request, RequestLog
from dropsweep.client import Client
from dropsweep.errors import DropsweepError
from dropsweep.names import RUNS, JobKey
from dropsweep.settings import StorageSettings
from dropsweep.states import JobState, TrialState
from dropsweep.storage import Store
from local.paths import STATE
from local.stack import Stack

DATA: Final = STATE / "bench"
NUM_TRAINERS: Final = 2
WORKSPACE: Final = "bench"
_LISTENS: Final = re.compile(r"http://127\.0\.0\.1:\d+/api\b")
_LOOK_S: Final = 0.005
_WARM_S: Final = 60.0
_SETTLED_S: Final = 1.5
"""After a job's end, hints that are on their way are still settled; the host looks for them five times a second."""


@dataclass(frozen=True, slots=True)
class Run:
    """A job that was run to its end.

    Attributes:
        key: the job.
        dropped, claimed, ended: `time.monotonic()` before the drop, and when the first trial's record and the job's
            final record were seen in the request log, which is looked at every 5 ms.
        requests: all that was asked of storage meanwhile and for a moment after, by every process, in order.
        parties: the same, as each party wrote it down.
    """

    key: JobKey
    dropped: float
    claimed: float
    ended: float
    requests: tuple[Request, ...]
    parties: Mapping[str, Sequence[Request]]


class Drops:
    """A person who drops job files.

    Attributes:
        client: how.
    """

    def __init__(self, client: Client) -> None:
        """The files that are dropped lie in a folder below the stack's data."""
        self.client = client
        self._folder = folder("drops")
        self._count = 0

    def drop(self, document: Mapping[str, Any]) -> JobKey:
        """Drops a job file: one request, and the upload of the code folder where it names one."""
        self._count += 1
        file = self._folder / f"job-{self._count}.json"
        file.write_text(json.dumps(document), encoding="utf-8")
        return self.client.submit(file, workspace=WORKSPACE).key


class System:
    """A running stack and the person who drops files into it. A context manager."""

    def __init__(self) -> None:
        """Describes it; entering starts it."""
        self.stack = Stack(DATA, num_trainers=NUM_TRAINERS, is_fresh=True, logs_requests=True)

    def __enter__(self) -> Self:
        """Starts it and warms it up: both trainers have run a trial, and no part does anything for the first time.

        Raises:
            DropsweepError: a part does not start or does not do its work.
        """
        self.stack.start()
        try:
            ours = StorageSettings(self.stack.connection_string, request_log=str(self.stack.requests / "client.log"))
            self.client = Client(Store.connect(ours))
            self._drops = Drops(self.client)
            self.requests = RequestLog(self.stack.logs / "azurite.log")
            self.parties = PartyLogs(self.stack.requests)
            until = time.monotonic() + _WARM_S
            while self._num_working < NUM_TRAINERS:
                if time.monotonic() > until:
                    raise DropsweepError(f"not every trainer ran a trial within {_WARM_S:g} s. Read {self.stack.logs}")
                self.run(no_op_sweep(2 * NUM_TRAINERS), timeout_s=_WARM_S)
        except BaseException:
            self.stack.stop()
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stack.stop()

    @property
    def url(self) -> str:
        """Where the host serves the HTTP API.

        Raises:
            DropsweepError: it does not.
        """
        found = _LISTENS.search((self.stack.logs / "host.log").read_text(encoding="utf-8", errors="replace"))
        if found is None:
            raise DropsweepError(f"the host serves no HTTP function: it must. Read {self.stack.logs / 'host.log'}")
        return found[0]

    @property
    def _num_working(self) -> int:
        logs = [self.stack.logs / f"trainer-{number}.log" for number in range(1, NUM_TRAINERS + 1)]
        return sum("starts in slot" in log.read_text(encoding="utf-8", errors="replace") for log in logs)

    def drop(self, document: Mapping[str, Any]) -> JobKey:
        """Drops a job file: one request, and the upload of the code folder where it names one."""
        return self._drops.drop(document)

    def run(self, document: Mapping[str, Any], *, timeout_s: float) -> Run:
        """Drops a job and follows it in the request log, which costs storage nothing.

        Raises:
            DropsweepError: it did not complete with every trial within `timeout_s`, or a part of the stack died.
        """
        self.requests.fresh()
        self.parties.fresh()
        found: list[Request] = []
        dropped = time.monotonic()
        key = self.drop(document)
        claimed = ended = 0.0
        is_reported = False

        def is_final() -> bool:
            nonlocal claimed, is_reported
            fresh = self.requests.fresh()
            found.extend(fresh)
            for request in fresh:
                if not request.path.startswith(f"{RUNS}/{key.path}/"):
                    continue
                if request.kind == CLAIM and not claimed:
                    claimed = time.monotonic()
                is_reported = is_reported or request.kind == REPORT
                if is_reported and request.kind == JOB_RECORD and request.status < 300:
                    return True
            return False

        self.wait(is_final, timeout_s=timeout_s, what=f"{key.path} is final")
        ended = time.monotonic()
        time.sleep(_SETTLED_S)
        found.extend(self.requests.fresh())
        parties = self.parties.fresh()
        self._check(key)
        return Run(key, dropped, claimed, ended, tuple(found), parties)

    def wait(self, holds: Callable[[], bool], *, timeout_s: float, what: str) -> None:
        """Waits until something holds, looking every 5 ms.

        Raises:
            DropsweepError: it did not within `timeout_s`, or a part of the stack died.
        """
        wait(self.stack, holds, timeout_s=timeout_s, what=what)

    def _check(self, key: JobKey) -> None:
        record = self.client.record(key)
        num_completed = record.counts.get(TrialState.COMPLETED, 0)
        if record.state is not JobState.COMPLETED or num_completed != record.num_trials:
            raise DropsweepError(
                f"{key.path} is {record.state} with {num_completed} of {record.num_trials} trials completed: its "
                f"numbers say nothing. Read the logs in {self.stack.logs}"
            )
        self.requests.fresh()  # this look was ours
        self.parties.fresh()


def wait(stack: Stack, holds: Callable[[], bool], *, timeout_s: float, what: str) -> None:
    """Waits until something holds, looking every 5 ms.

    Raises:
        DropsweepError: it did not within `timeout_s`, or a part of the stack died.
    """
    until = time.monotonic() + timeout_s
    while not holds():
        if dead := stack.dead():
            raise DropsweepError("\n".join(child.obituary for child in dead))
        if time.monotonic() > until:
            raise DropsweepError(f"not within {timeout_s:g} s: {what}. Read the logs in {stack.logs}")
        time.sleep(_LOOK_S)


def no_op_sweep(num_trials: int) -> dict[str, Any]:
    """Returns a sweep whose trials only report one metric."""
    return {
        "type": "sweep",
        "trial": {"command": """printf '{"score": %s}\\n' ${{search_space.x}} >> "$DROPSWEEP_METRICS" """},
        "search_space": {"x": {"type": "choice", "values": list(range(num_trials))}},
        "sampling_algorithm": "grid",
        "objective": {"goal": "maximize", "primary_metric": "score"},
    }


def folder(name: str) -> Path:
    """Returns an empty folder below the stack's data; what was in it is gone."""
    path = DATA / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path
