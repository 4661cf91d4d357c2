"""An account that no other test uses, since an examination looks at the whole of it; empty before each test."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient
from typer.testing import CliRunner, Result

from dropsweep import __version__
from dropsweep.cli import app
from dropsweep.client.doctor.examination import Bounds, Finding, Status, examine
from dropsweep.names import FUNCTIONS_RECORD, RUNS, SUBMISSIONS_QUEUE, JobKey
from dropsweep.records import JobRecord, TrialRecord
from dropsweep.records.codec import dump, time_out
from dropsweep.settings import StorageSettings
from dropsweep.states import JobReason, TrialReason
from dropsweep.storage import Store
from tests.emulator.leaping import LeapingAzurite, LeapingClock

MOMENT_S = 30.0
"""A bound that what was just written keeps, however slow the machine is."""
LATER_S = 60.0
"""A leap of the account's clock that passes it, and none of the usual bounds."""


@dataclass
class Account:
    """A storage account that is prepared as a deployment does it, and what stands in it."""

    store: Store
    connection_string: str
    clock: LeapingClock

    def age(self) -> None:
        """Makes what stands in it older than `MOMENT_S`, by the account's clock; what is written from now on is new."""
        self.clock.leap(LATER_S)

    def examine(self, **bounds: float) -> list[Finding]:
        return examine(self.store, clusters=("local",), bounds=Bounds(**bounds), now=self.clock.now)

    def told(self, check: str, status: Status, **bounds: float) -> list[Finding]:
        """The findings of one check with one status."""
        return [found for found in self.examine(**bounds) if (found.check, found.status) == (check, status)]

    def timer(self, age_s: float = 0.0, **more: Any) -> None:
        """Leaves the record of a timer pass."""
        at = self.clock.now() - timedelta(seconds=age_s)
        document = {"version": 1, "dropsweep": __version__, "at": time_out(at), **more}
        self.store.blobs.put(RUNS, FUNCTIONS_RECORD, dump(document))

    def job(self, reason: JobReason = JobReason.DISPATCHING, job: str = "digits-abc", **changes: Any) -> JobRecord:
        """Leaves a live job of four trials, all dispatched, as the functions do."""
        key = JobKey("vision", "default", job)
        now = self.clock.now()
        base = JobRecord(
            key, "sweep", reason, "digits", 4, now, window=4, next_trial=4, started=now, goal="maximize",
            primary_metric="score", cluster="local",
        )  # fmt: skip
        record = replace(base, **changes)
        assert self.store.blobs.create(RUNS, key.record, record.to_json(), record.to_metadata())
        self.store.blobs.put(RUNS, key.marker, b"")
        return record

    def trial(self, job: JobRecord, trial: int, reason: TrialReason = TrialReason.CLAIMED) -> None:
        record = TrialRecord(job.key, trial, 1, reason, {"x": trial}, started=job.started, worker="worker")
        assert self.store.blobs.create(RUNS, job.key.trial(trial), record.to_json(), record.to_metadata())


@pytest.fixture(scope="session")
def own_azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeapingAzurite]:
    with LeapingAzurite(tmp_path_factory.mktemp("examined")) as running:
        yield running


@pytest.fixture
def account(own_azurite: LeapingAzurite) -> Account:
    """Prepared, with a timer that has just passed: nothing is wrong with it."""
    text = own_azurite.connection_string
    with (
        BlobServiceClient.from_connection_string(text) as blobs,
        QueueServiceClient.from_connection_string(text) as queues,
    ):
        for container in blobs.list_containers():
            blobs.delete_container(container.name)
        for queue in queues.list_queues():
            queues.delete_queue(queue.name)
    own_azurite.clock.reset()
    store = Store.connect(StorageSettings(text))
    store.prepare(("local",))
    store.queues.create_queue(SUBMISSIONS_QUEUE)
    made = Account(store, text, own_azurite.clock)
    made.timer()
    return made


@pytest.fixture
def run(account: Account) -> Callable[..., Result]:
    """Runs `dropsweep` in this process, on that account."""

    def run(*arguments: str, env: dict[str, str | None] | None = None) -> Result:
        named = {"DROPSWEEP_STORAGE": account.connection_string} | (env or {})
        return CliRunner().invoke(app, list(arguments), env=named, catch_exceptions=False)

    return run
