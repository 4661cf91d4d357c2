"""What the timers of the running stack do: schedules, policy files and retention's report of itself."""

import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from dropsweep.client import Client, Job
from dropsweep.client.schedules import ScheduleState
from dropsweep.names import FUNCTIONS_RECORD, RUNS, SCHEDULES, WORKSPACES, ScheduleKey, workspace_file
from dropsweep.quotas import WAITS
from dropsweep.records import JobRecord
from dropsweep.records.schedule import TickOutcome, TickRecord
from dropsweep.states import JobState
from dropsweep.version import __version__
from tests.emulator.deployment import until

MINUTELY = {
    "trigger": {"type": "recurrence", "frequency": "minute", "interval": 1},
    "create_job": {"type": "command", "command": "echo on time"},
}


def test_a_dropped_schedule_makes_a_job_at_once_each_minute_and_when_asked(client: Client) -> None:
    key = ScheduleKey(f"e2e-{uuid.uuid4().hex[:8]}", "minutely")
    client.store.blobs.put(SCHEDULES, f"{key.path}.json", json.dumps(MINUTELY).encode())
    until(lambda: client.schedules.show(key.path).state is ScheduleState.ACTIVE)
    asked = client.schedules.run_now(key.path)
    assert client.wait(asked, timeout_s=120).state is JobState.COMPLETED
    until(lambda: len(own(client, key)) >= 2, 200)  # one at once, one a minute later
    client.schedules.pause(key.path)
    later, first = own(client, key)[-2:]
    assert {first.outcome, later.outcome} == {TickOutcome.SUBMITTED}
    assert later.due - first.due == timedelta(minutes=1)
    for tick in (first, later):
        record = client.wait(tick.job, timeout_s=120)
        assert (record.state, record.schedule) == (JobState.COMPLETED, key.name)


def own(client: Client, key: ScheduleKey) -> list[TickRecord]:
    """The due times of a schedule that nobody asked for, latest first."""
    ticks = [tick for tick in client.schedules.show(key.path).ticks if not tick.run_id]
    return sorted(ticks, key=lambda tick: tick.due, reverse=True)


def test_a_job_over_its_workspace_s_quota_waits_and_then_runs(client: Client, tmp_path: Path) -> None:
    workspace = f"e2e-{uuid.uuid4().hex[:8]}"
    client.store.blobs.put(WORKSPACES, workspace_file(workspace), b"limits: {max_concurrent_jobs: 1}\n")
    client.store.blobs.put(WORKSPACES, f"{workspace}-other.yaml", b"limits: 3\n")
    # A process of the functions looks for policy files every ten seconds; the timer, each minute, tells of broken ones.
    until(lambda: client.store.blobs.head(WORKSPACES, f"{workspace}-other.error.json") is not None, 150)
    slow = client.submit(
        {"type": "command", "command": f"until [ -e {tmp_path}/go ]; do sleep 0.1; done", "name": "slow"},
        workspace=workspace,
    )
    until(lambda: is_so(client, slow, lambda record: record.state is JobState.RUNNING))
    next_one = client.submit({"type": "command", "command": "true", "name": "next"}, workspace=workspace)
    until(lambda: is_so(client, next_one, lambda record: record.message.startswith(WAITS)))
    assert client.record(next_one.key).state is JobState.QUEUED
    (tmp_path / "go").touch()
    assert client.wait(next_one, timeout_s=150).state is JobState.COMPLETED
    first, second = client.record(slow.key), client.record(next_one.key)
    assert first.finished is not None
    assert second.started is not None
    assert second.started >= first.finished


def test_the_timer_leaves_word_of_itself(client: Client) -> None:
    until(lambda: client.store.blobs.head(RUNS, FUNCTIONS_RECORD) is not None, 150)
    blob = client.store.blobs.read(RUNS, FUNCTIONS_RECORD)
    assert blob is not None
    assert json.loads(blob.body)["dropsweep"] == __version__


def is_so(client: Client, job: Job, holds: Callable[[JobRecord], bool]) -> bool:
    """True once the job has been taken up and something holds of its record."""
    return client.created(job.key) is not None and holds(client.record(job.key))
