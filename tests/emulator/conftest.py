"""What the tests against the emulator share: an open account and names that no other test has."""

import uuid

import pytest

from dropsweep.names import JobKey
from dropsweep.settings import Settings, StorageSettings
from dropsweep.storage import Store


@pytest.fixture(scope="session")
def settings(connection_string: str) -> Settings:
    return Settings(
        StorageSettings(connection_string),
        clusters=("local",),
        heartbeat_s=0.5,
        claim_timeout_s=3.0,
        grace_s=2.0,
        dispatch_window=64,
    )


@pytest.fixture(scope="session")
def store(settings: Settings) -> Store:
    store = Store.connect(settings.storage)
    store.prepare(settings.clusters)
    return store


@pytest.fixture
def workspace() -> str:
    return f"w-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def key(workspace: str) -> JobKey:
    return JobKey(workspace, "e", "job-0123456789")
