"""Real trainer processes on a deployment of their own, and what a test may see of them and do to them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

import pytest
from azure.storage.queue import QueueClient

from dropsweep.messages import TrialMessage
from dropsweep.names import MANIFEST_SUFFIX, RUNS, JobKey, trials_queue
from dropsweep.settings import Settings, StorageSettings
from dropsweep.states import TrialState
from dropsweep.storage import Store
from local.paths import ROOT
from tests.chaos.trainer import Plan
from tests.emulator.deployment import Deployment

PATIENCE_S: Final = 120.0
"""How long a test waits for what takes a few seconds on a machine with nothing else to do."""

QUICK: Final = {"DROPSWEEP_HEARTBEAT_S": "0.3", "DROPSWEEP_CLAIM_TIMEOUT_S": "1"}
"""Makes claims stale sooner; only where no second trainer could take a live claim of a starved one over."""
COUNT_UP: Final = """
step=0
if [ -n "$DROPSWEEP_RESUME_FROM" ]; then step=$(cat "$DROPSWEEP_RESUME_FROM/step"); echo resumed from $step; fi
while [ $step -lt {steps} ]; do
  sleep {pause}
  step=$((step + 1))
  printf '{{"step": %s, "score": %s}}\\n' $step $step >> "$DROPSWEEP_METRICS"
  mkdir "$DROPSWEEP_CHECKPOINTS/.new"; echo $step > "$DROPSWEEP_CHECKPOINTS/.new/step"
  mv "$DROPSWEEP_CHECKPOINTS/.new" "$DROPSWEEP_CHECKPOINTS/step-$step"
  echo step $step
done
"""
"""A training script in shell: counts up, makes a checkpoint at each step, resumes from one."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a trainer that was answered.

    Attributes:
        asked_s: when it was about to be sent, by the machine's monotonic clock, which all processes share.
        state: the state that a record's write carries.
        modified: Last-Modified of the answer.
    """

    asked_s: float
    method: str
    path: str
    query: str
    state: str
    status: int
    modified: str = ""

    @property
    def is_applied_write(self) -> bool:
        """True when it changed a blob."""
        return self.method != "GET" and self.method != "HEAD" and "/runs/" in self.path and self.status < 300


class Trainer:
    """One trainer process.

    Attributes:
        process: the process; its exit status is the trainer's.
        gates: the folder of its gates.
    """

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, name: str) -> None:
        self.process = process
        self.name = name
        self.gates = folder / f"{name}.gates"
        self._log = folder / f"{name}.log"
        self._requests = folder / f"{name}.requests"

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text()

    def requests(self) -> list[Request]:
        """Every request so far that was answered, in the order of the answers."""
        if not self._requests.exists():
            return []
        return [Request(**json.loads(line)) for line in self._requests.read_text().splitlines(keepends=False)]

    def waits_at(self, gate: str) -> bool:
        """True once a request of this trainer has come to that gate."""
        return any(self.gates.glob(f"{gate}.*"))

    def open_gates(self) -> None:
        """Lets all that waits at its gates go on."""
        (self.gates / "open").touch()

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the trainer alone."""
        self.process.send_signal(number)

    def kill_container(self) -> None:
        """SIGKILL to the trainer and all that its trials started, as when their container ends."""
        groups = [pid for pid, _, parent, _ in _processes() if parent == self.process.pid]
        self.process.kill()
        self.process.wait()
        for group in groups:
            kill_group(group)

    def exit_status(self) -> int:
        """Waits for the end of the trainer."""
        return self.process.wait(PATIENCE_S)


class Trainers:
    """A deployment whose trainers are real processes."""

    def __init__(self, connection_string: str, folder: Path) -> None:
        self._storage = StorageSettings(connection_string)
        settings = Settings(self._storage, heartbeat_s=0.5, claim_timeout_s=5.0, grace_s=2.0)
        self.deployment = Deployment(Store.connect(self._storage), settings, f"w-{uuid.uuid4().hex[:12]}", folder)
        self.folder = folder
        self._started: list[Trainer] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        for trainer in self._started:
            if trainer.process.poll() is None:
                trainer.send(signal.SIGCONT)
                trainer.kill_container()
            print(f"---- {trainer.name} ended with {trainer.process.returncode}\n{trainer.log}")  # shown by a failure
        for file in self.folder.glob("*.pid"):
            kill_group(int(file.read_text()))

    def start(
        self,
        name: str,
        plan: Plan | None = None,
        *,
        num_slots: int = 1,
        exit_when_idle_s: float | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> Trainer:
        """Starts a trainer; with a plan, as tests/chaos/trainer.py runs it."""
        trained = self.deployment.settings
        arguments = ["--work", str(self.folder / name), "--slots", str(num_slots)]
        if exit_when_idle_s is not None:
            arguments += ["--exit-when-idle", str(exit_when_idle_s)]
        gates = self.folder / f"{name}.gates"
        gates.mkdir(exist_ok=True)
        program = ["-m", "dropsweep_trainer"]
        if plan is not None:
            plan = replace(plan, requests=str(self.folder / f"{name}.requests"), gate_folder=str(gates))
            program = [str(Path(__file__).with_name("trainer.py")), plan.to_json()]
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *program, *arguments],
                cwd=ROOT,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in ("shared", "trainer_image")),
                    "DROPSWEEP_STORAGE": self._storage.connection_string,
                    "DROPSWEEP_CLUSTERS": self.deployment.cluster,
                    "DROPSWEEP_HEARTBEAT_S": f"{trained.heartbeat_s:g}",
                    "DROPSWEEP_CLAIM_TIMEOUT_S": f"{trained.claim_timeout_s:g}",
                    "DROPSWEEP_GRACE_S": f"{trained.grace_s:g}",
                    **environment,
                },
                stderr=log,
            )
        trainer = Trainer(process, self.folder, name)
        self._started.append(trainer)
        return trainer

    def send(self, key: JobKey, trial: int = 0, *, num_copies: int = 1) -> None:
        """Sends more messages of a trial."""
        for _ in range(num_copies):
            self.deployment.store.queues.send(self.queue, TrialMessage(key, trial).to_text())

    @property
    def queue(self) -> str:
        """The queue that these trainers read."""
        return trials_queue(self.deployment.cluster)

    def num_messages(self) -> int:
        """How many messages that queue has, hidden ones included."""
        return self.deployment.store.queues.count(self.queue)

    def clear_messages(self) -> None:
        """Deletes every message of that queue behind the trainers' backs, hidden ones too."""
        with QueueClient.from_connection_string(self._storage.connection_string, self.queue) as queue:
            queue.clear_messages()

    def is_running(self, key: JobKey, attempt: int, trial: int = 0) -> bool:
        """True while the record says that this attempt runs."""
        if self.deployment.store.blobs.head(RUNS, key.trial(trial)) is None:
            return False
        record = self.deployment.trial(key, trial)
        return (record.state, record.attempt) == (TrialState.RUNNING, attempt)

    def labels(self, key: JobKey, trial: int = 0) -> list[str]:
        """The whole checkpoints of a trial, oldest first."""
        names = (blob.name for blob in self.deployment.store.blobs.list(RUNS, key.checkpoints(trial)))
        return sorted(Path(name).name.removesuffix(MANIFEST_SUFFIX) for name in names if name.endswith(MANIFEST_SUFFIX))

    def versions(self, key: JobKey) -> dict[str, str]:
        """Every blob of a job but the job's own record, with its ETag."""
        found = self.deployment.store.blobs.list(RUNS, f"{key.path}/")
        return {blob.name: blob.etag for blob in found if blob.name != key.record}

    def owner(self, key: JobKey, trial: int = 0) -> str:
        """Whose write of the trial's record stands: each claim has an id of its own."""
        head = self.deployment.store.blobs.head(RUNS, key.trial(trial))
        assert head is not None
        return head.metadata["write"].partition(".")[0]

    def has_ended(self, *keys: JobKey) -> bool:
        """Passes over the jobs; True once all are final."""
        return all(self.deployment.look(key).state.is_final for key in keys)

    def pid_file(self, name: str) -> Path:
        """A file for a trial's process id: `echo $$ > …`; its group is ended with the test."""
        return self.folder / f"{name}.pid"


@pytest.fixture(name="trainers")
def _trainers(connection_string: str, tmp_path: Path) -> Iterator[Trainers]:
    with Trainers(connection_string, tmp_path) as running:
        yield running


trainers = _trainers


def group_lives(group: int) -> bool:
    """True while a process of the group runs; one that only waits to be reaped does not."""
    return any(of == group and state not in "ZX" for _, state, _, of in _processes())


def kill_group(group: int) -> None:
    """SIGKILL to a process group that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _processes() -> list[tuple[int, str, int, int]]:
    """Process id, state, parent and group of everything that runs."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,stat=,ppid=,pgid="], capture_output=True, text=True, check=True)
    rows: list[Any] = [line.split() for line in listed.stdout.splitlines()]
    return [(int(pid), state[0], int(parent), int(group)) for pid, state, parent, group in rows]
