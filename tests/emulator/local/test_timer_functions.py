"""The timers of the function app: retention has one of its own, beside the look at live jobs."""

from collections.abc import Iterator

import azure.functions as func
import pytest
from azure.functions.timer import TimerRequest

from dropsweep.names import FUNCTIONS_RECORD, RETENTION_RECORD, RUNS, WORKSPACES, workspace_file
from dropsweep.settings import DEFAULT_REPAIR_SCHEDULE, DEFAULT_RETAIN_SCHEDULE, Settings
from dropsweep.storage import Store
from functions import deployment, repair
from local.host.functions import Function, _read

CACHED = (deployment.settings, deployment.store, deployment.looks)


@pytest.fixture(scope="module")
def timers() -> dict[str, Function]:
    """The functions by name; they can be indexed once a process."""
    app = func.FunctionApp()
    app.register_functions(repair.blueprint)
    return {function.name: function for function in map(_read, app.get_functions())}


@pytest.fixture
def deployed(store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("DROPSWEEP_STORAGE", settings.storage.connection_string)
    for cached in CACHED:
        cached.cache_clear()
    for record in (FUNCTIONS_RECORD, RETENTION_RECORD):
        store.blobs.delete(RUNS, record)
    yield store
    for cached in CACHED:
        cached.cache_clear()


def test_each_timer_has_its_own_schedule_and_step(timers: dict[str, Function], deployed: Store, workspace: str) -> None:
    schedules = {name: timer.trigger["schedule"] for name, timer in timers.items()}
    assert schedules == {"repair": DEFAULT_REPAIR_SCHEDULE, "retain": DEFAULT_RETAIN_SCHEDULE}
    deployed.blobs.put(WORKSPACES, workspace_file(workspace), b"retention: {delete_after_days: 36000}")
    try:
        timers["repair"].call(TimerRequest())
        assert deployed.blobs.head(RUNS, FUNCTIONS_RECORD)
        assert deployed.blobs.head(RUNS, RETENTION_RECORD) is None
        timers["retain"].call(TimerRequest())
        assert deployed.blobs.head(RUNS, RETENTION_RECORD)
    finally:
        deployed.blobs.delete(WORKSPACES, workspace_file(workspace))
