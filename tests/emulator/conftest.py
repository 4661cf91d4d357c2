"""What the tests against the emulator share: an open account and names that no other test has."""

import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dropsweep.clusters import Cluster
from dropsweep.names import JobKey
from dropsweep.settings import Settings, StorageSettings
from dropsweep.storage import Store
from dropsweep_trainer.worker.worker import Worker
from tests.emulator.deployment import Deployment
from tests.emulator.leaping import LeapingAzurite, LeapingClock
from tests.emulator.proxy import Proxy


@pytest.fixture(scope="session")
def settings(connection_string: str) -> Settings:
    return Settings(
        StorageSettings(connection_string),
        clusters=(Cluster("local"),),
        heartbeat_s=0.5,
        claim_timeout_s=5.0,
        grace_s=2.0,
        dispatch_window=64,
        retry_delay_s=0.1,
    )


@pytest.fixture(scope="session")
def store(settings: Settings) -> Store:
    store = Store.connect(settings.storage)
    store.prepare(settings.cluster_names)
    return store


@pytest.fixture
def workspace() -> str:
    return f"w-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def key(workspace: str) -> JobKey:
    return JobKey(workspace, "e", "job-0123456789")


@pytest.fixture
def deployment(store: Store, settings: Settings, workspace: str, tmp_path: Path) -> Deployment:
    return Deployment(store, settings, workspace, tmp_path)


@pytest.fixture
def in_background() -> Iterator[Callable[[Worker], threading.Thread]]:
    """Runs workers in threads and stops them all at the end."""
    started: list[tuple[Worker, threading.Thread]] = []

    def start(worker: Worker) -> threading.Thread:
        thread = threading.Thread(target=worker.run)
        started.append((worker, thread))
        thread.start()
        return thread

    yield start
    for worker, thread in started:
        worker.stopping.set()
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture
def service_clock(azurite: LeapingAzurite) -> Iterator[LeapingClock]:
    """The account's clock, which a test that has no other thread at work may have leap."""
    yield azurite.clock
    azurite.clock.reset()


@pytest.fixture
def blob_line(azurite: LeapingAzurite) -> Iterator[Proxy]:
    """A line to the blobs that can be broken."""
    with Proxy(azurite.endpoints.blob_port) as proxy:
        yield proxy


@pytest.fixture
def queue_line(azurite: LeapingAzurite) -> Iterator[Proxy]:
    """A line to the queues that can be broken."""
    with Proxy(azurite.endpoints.queue_port) as proxy:
        yield proxy
