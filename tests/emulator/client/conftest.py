"""Jobs and trials in the storage emulator, written through the records as the functions and trainers write them.

The tests of a module with `BOTH_WAYS` run twice: on the account, and over the HTTP API on top of it; but those that
ask for the connection string themselves are about the account.
"""

import inspect
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest
from typer.testing import CliRunner, Result

from dropsweep.api.app import create_app
from dropsweep.cli import app
from dropsweep.client import BaseClient, Client
from dropsweep.client.http import HttpClient
from dropsweep.names import RUNS, JobKey
from dropsweep.records import Best, JobRecord, TrialRecord
from dropsweep.settings import Settings
from dropsweep.states import JobReason, TrialReason, TrialState
from dropsweep.storage import Store
from local.host.functions import Function
from local.host.http import KEY_SETTING, HttpListener

API_KEY = "a-function-key-of-the-tests=="

Run = Callable[..., Result]
BEGAN = datetime(2026, 3, 1, 14, 0, 0, tzinfo=UTC)


@dataclass
class World:
    """One workspace of the account, with the means to put jobs there."""

    client: BaseClient
    store: Store
    workspace: str = field(default_factory=lambda: f"w{uuid.uuid4().hex[:12]}")

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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    is_about_account = "connection_string" in inspect.signature(metafunc.function).parameters
    if "way" in metafunc.fixturenames and getattr(metafunc.module, "BOTH_WAYS", False) and not is_about_account:
        metafunc.parametrize("way", ["account", "http"], indirect=True)


@pytest.fixture
def way(request: pytest.FixtureRequest) -> str:
    """Which way leads to the jobs: `account` or `http`."""
    return str(getattr(request, "param", "account"))


@pytest.fixture(scope="session")
def account(connection_string: str) -> Client:
    made = Client.from_connection_string(connection_string)
    made.store.prepare(("local",))
    return made


@pytest.fixture(scope="session")
def api_url(account: Client, settings: Settings) -> Iterator[str]:
    """The API over the account of the tests."""
    with serving(account.store, settings) as url:
        yield url


@contextmanager
def serving(store: Store, settings: Settings) -> Iterator[str]:
    """Serves the API over an account, behind the local host's web server and a function key; gives its URL."""
    middleware = func.AsgiMiddleware(create_app(lambda: store, lambda: settings))

    async def answer(req: func.HttpRequest) -> func.HttpResponse:
        return await middleware.handle_async(req)

    trigger = {"type": "httpTrigger", "route": "{*path}", "methods": [], "authLevel": "function"}
    stopping = threading.Event()
    listener = HttpListener([Function("api", "req", trigger, answer)], "api", {KEY_SETTING: API_KEY}, 0, stopping)
    thread = threading.Thread(target=listener.listen)
    thread.start()
    yield f"http://127.0.0.1:{listener.port}/api"
    stopping.set()
    thread.join(60)
    assert not thread.is_alive()


@pytest.fixture
def client(way: str, account: Client, request: pytest.FixtureRequest) -> BaseClient:
    return account if way == "account" else HttpClient(request.getfixturevalue("api_url"), API_KEY)


@pytest.fixture
def world(client: BaseClient, account: Client) -> World:
    return World(client, account.store)


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
def run(way: str, connection_string: str, request: pytest.FixtureRequest) -> Run:
    """Runs a command line in this process, on the account of the tests or over its API."""
    env = {"DROPSWEEP_STORAGE": connection_string, "DROPSWEEP_URL": "", "DROPSWEEP_KEY": API_KEY}
    if way == "http":
        env |= {"DROPSWEEP_STORAGE": "", "DROPSWEEP_URL": request.getfixturevalue("api_url")}

    def run(*arguments: str | Path | int) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], env=env, catch_exceptions=False)

    return run
