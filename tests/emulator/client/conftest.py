"""Jobs and trials in the storage emulator, written through the records as the functions and trainers write them."""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from dropsweep.cli import app
from dropsweep.client import Client
from dropsweep.names import RUNS, JobKey
from dropsweep.records import Best, JobRecord, TrialRecord
from dropsweep.states import JobReason, TrialReason, TrialState
from dropsweep.storage import Store

Run = Callable[..., Result]
BEGAN = datetime(2026, 3, 1, 14, 0, 0, tzinfo=UTC)


@dataclass
class World:
    """One workspace of the account, with the means to put jobs there."""

    client: Client
    workspace: str = field(default_factory=lambda: f"w{uuid.uuid4().hex[:12]}")

    @property
    def store(self) -> Store:
        return self.client.store

    def key(self, job: str = "digits-abc", experiment: str = "default") -> JobKey:
        return JobKey(self.workspace, experiment, job)

    def job(self, key: JobKey | None = None, **changes: Any) -> JobRecord:
        key = key or self.key()
        record = JobRecord(
            key=key,
            kind="sweep",
            reason=JobReason.DISPATCHING,
            name="digits",
            num_trials=4,
            next_trial=4,
            created=BEGAN,
            started=BEGAN,
            goal="maximize",
            primary_metric="accuracy",
            cluster="local",
        )
        return self.write(replace(record, **changes))

    def write(self, record: JobRecord) -> JobRecord:
        before = self.store.blobs.head(RUNS, record.key.record)
        body, metadata = record.to_json(), record.to_metadata()
        if before is None:
            assert self.store.blobs.create(RUNS, record.key.record, body, metadata)
        else:
            assert self.store.blobs.replace(RUNS, record.key.record, body, before.etag, metadata)
        return record

    def trial(
        self,
        trial: int,
        reason: TrialReason = TrialReason.SUCCEEDED,
        metric: float | None = None,
        *,
        key: JobKey | None = None,
        step: float | None = None,
        attempt: int = 1,
        **changes: Any,
    ) -> TrialRecord:
        record = TrialRecord(
            job=key or self.key(),
            trial=trial,
            attempt=attempt,
            reason=reason,
            parameters={"lr": 0.01 * (trial + 1), "optimizer": "adam"},
            metric=metric,
            metrics={} if metric is None else {"accuracy": metric},
            started=BEGAN,
            finished=BEGAN + timedelta(seconds=8) if reason is not TrialReason.CLAIMED else None,
        )
        record = replace(record, **changes)
        name, metadata = record.job.trial(trial), record.to_metadata(step=step)
        before = self.store.blobs.head(RUNS, name)
        if before is None:
            assert self.store.blobs.create(RUNS, name, record.to_json(), metadata)
        else:
            assert self.store.blobs.replace(RUNS, name, record.to_json(), before.etag, metadata)
        return record

    def file(self, name: str, body: bytes | str | dict[str, Any]) -> None:
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        self.store.blobs.put(RUNS, name, content if isinstance(content, bytes) else content.encode())

    def finish(self, record: JobRecord, reason: JobReason = JobReason.TRIALS_COMPLETED, **changes: Any) -> JobRecord:
        return self.write(record.moved(reason, finished=BEGAN + timedelta(seconds=40), **changes))


@pytest.fixture(scope="session")
def client(connection_string: str) -> Client:
    made = Client.from_connection_string(connection_string)
    made.store.prepare(("local",))
    return made


@pytest.fixture
def world(client: Client) -> World:
    return World(client)


@pytest.fixture
def sweep(world: World) -> JobRecord:
    """A completed sweep of four trials: three completed, one failed; trial 1 is the best."""
    record = world.job(tags={"team": "[red]vision[/red]"})
    world.trial(0, metric=0.90)
    world.trial(1, metric=0.97, attempt=2)
    world.trial(2, TrialReason.EXIT_CODE, message="exit code 3: [bold]no space[/bold]", exit_code=3)
    world.trial(3, metric=0.97)
    counts = {TrialState.COMPLETED: 3, TrialState.FAILED: 1}
    best = Best(1, 0.97)
    return world.finish(
        record, counts=counts, best=best, closed_counts=counts, closed_best=best, closed_below=1, message="3 completed"
    )


@pytest.fixture
def run(connection_string: str) -> Run:
    """Runs a command line in this process, on the account of the tests."""

    def run(*arguments: str | Path | int) -> Result:
        env = {"DROPSWEEP_STORAGE": connection_string}
        return CliRunner().invoke(app, [str(argument) for argument in arguments], env=env, catch_exceptions=False)

    return run
