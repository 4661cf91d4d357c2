"""`dropsweep schedule …` and the schedules of both clients."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dropsweep.cli.exits import ExitCode
from dropsweep.client.schedules import ScheduleState
from dropsweep.client.timetable import Schedules
from dropsweep.errors import DropsweepError, NotFoundError, SpecError
from dropsweep.names import RUNS, SCHEDULES, JobKey, ScheduleKey
from dropsweep.records.schedule import Asked, Pending, ScheduleRecord, TickOutcome, TickRecord
from tests.emulator.client.conftest import Run, World

BOTH_WAYS = True
AT = datetime(2026, 3, 1, 3, 30, tzinfo=UTC)
FILE: dict[str, Any] = {
    "display_name": "Each [bold]night[/bold]",
    "tags": {"team": "vision"},
    "overlap": "skip",
    "trigger": {"type": "cron", "expression": "30 3 * * *", "time_zone": "UTC", "start_time": "2026-01-01"},
    "create_job": {"type": "command", "command": "echo hi"},
}


@pytest.fixture
def key(world: World) -> ScheduleKey:
    """A schedule that the timer has looked at, with three due times behind it."""
    key = ScheduleKey(world.workspace, "nightly")
    written = world.store.blobs.put(SCHEDULES, f"{key.path}.json", json.dumps(FILE).encode())
    job = JobKey(key.workspace, "nightly", "nightly-0123456789").path
    ticks = [
        TickRecord(key, AT, TickOutcome.SUBMITTED, AT, job=job),
        TickRecord(key, AT + timedelta(days=3), TickOutcome.MISSED, AT, first=AT + timedelta(days=1), num=3),
        TickRecord(key, AT + timedelta(days=4), TickOutcome.SKIPPED, AT),
    ]
    for tick in ticks:
        assert world.store.blobs.create(RUNS, tick.path, tick.to_json())
    until = ticks[-1].due
    counts = {TickOutcome.SUBMITTED: 1, TickOutcome.MISSED: 3, TickOutcome.SKIPPED: 1}
    record = ScheduleRecord(
        key, written.etag.strip('"'), AT, until, until + timedelta(days=1), jobs=(job,), counts=counts
    )
    assert world.store.blobs.create(RUNS, key.state, record.to_json(), record.to_metadata())
    return key


@pytest.fixture
def schedules(world: World) -> Schedules:
    return world.client.schedules


def test_list_shows_the_schedules_of_a_workspace(run: Run, world: World, key: ScheduleKey) -> None:
    world.store.blobs.put(SCHEDULES, f"{world.workspace}/a-new.yaml", b"x")
    done = run("schedule", "list", "-w", world.workspace)
    assert done.exit_code == 0
    lines = [line.split() for line in done.stdout.splitlines()[1:]]
    assert lines == [
        [f"{world.workspace}/a-new", "new", "–"],
        [key.path, "active", "2026-03-06", "03:30:00", "UTC"],
    ]
    found = json.loads(run("schedule", "list", "-w", world.workspace, "--json").stdout)["schedules"]
    assert found[1] == {
        "schedule": key.path,
        "state": "active",
        "next_due": "2026-03-06T03:30:00Z",
        "num_problems": 0,
        "file": f"{key.path}.json",
    }


def test_without_a_schedule_list_says_so(run: Run, world: World) -> None:
    done = run("schedule", "list", "-w", world.workspace)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "no schedule" in done.stderr


def test_show_tells_what_the_file_says_and_what_became_of_the_due_times(run: Run, key: ScheduleKey) -> None:
    shown = run("schedule", "show", key.path).stdout
    assert "Each [bold]night[/bold]" in shown
    assert "cron 30 3 * * *, UTC" in shown
    assert "missed (3)" in shown
    assert "nightly-0123456789" in shown
    assert shown.index("skipped") < shown.rindex("missed (3)") < shown.rindex("submitted")
    found = json.loads(run("schedule", "show", key.path, "--ticks", 2, "--json").stdout)
    assert (found["overlap"], found["catch_up"], found["tags"]) == ("skip", "latest", {"team": "vision"})
    assert [tick["outcome"] for tick in found["ticks"]] == ["skipped", "missed"]
    assert found["counts"] == {"submitted": 1, "missed": 3, "skipped": 1}


def test_show_tells_what_is_wrong_with_a_file(run: Run, world: World, schedules: Schedules) -> None:
    path = f"{world.workspace}/broken"
    world.store.blobs.put(SCHEDULES, f"{path}.yaml", b"trigger: {type: cron, expression: x}\ncreate_job: code/a.yaml\n")
    shown = run("schedule", "show", path)
    assert shown.exit_code == 0
    assert "five fields" in shown.stdout
    found = schedules.show(path)
    assert found.state is ScheduleState.BROKEN
    assert [problem.path for problem in found.problems] == ["trigger.expression"]
    with pytest.raises(SpecError, match="five fields"):
        schedules.upcoming(path)
    assert run("schedule", "next", path).exit_code != 0


def test_pause_and_resume_tell_how_it_stands(run: Run, key: ScheduleKey, schedules: Schedules) -> None:
    assert run("schedule", "pause", key.path).stdout == f"{key.path}: paused\n"
    assert schedules.show(key.path).state is ScheduleState.PAUSED
    done = run("schedule", "resume", key.path, "--json")
    assert json.loads(done.stdout)["state"] == "active"
    due = schedules.show(key.path).next_due
    assert due is not None
    assert due > datetime.now(UTC)
    assert (due.hour, due.minute) == (3, 30)


def test_run_now_names_the_job_that_comes(run: Run, world: World, key: ScheduleKey, way: str) -> None:
    path = run("schedule", "run-now", key.path).stdout.strip()
    job = JobKey.parse(path)
    assert (job.workspace, job.experiment) == (world.workspace, "nightly")
    blob = world.store.blobs.read(RUNS, key.state)
    assert blob is not None
    pending = ScheduleRecord.from_json(blob.body).pending
    if way == "http":
        assert pending == ()
        assert world.client.record(job).schedule == "nightly"
    else:
        # The functions' timer makes it: only they know the clusters.
        assert len(pending) == 1
        assert pending[0].run_id


def test_a_job_is_asked_for_twice_under_one_id_in_vain(schedules: Schedules, key: ScheduleKey) -> None:
    asked = [schedules.run_now(key.path, submission_id=name) for name in ("one", "one", "two")]
    assert asked[0] == asked[1] != asked[2]
    with pytest.raises(SpecError):
        schedules.run_now(key.path, submission_id="two words")


def test_next_shows_as_many_due_times_as_are_asked_for(run: Run, key: ScheduleKey, schedules: Schedules) -> None:
    lines = run("schedule", "next", key.path, "-n", 3).stdout.splitlines()
    assert len(lines) == 3
    assert all(line.endswith("03:30:00 UTC") for line in lines)
    found = json.loads(run("schedule", "next", key.path, "-n", 3, "--json").stdout)
    assert [due[:10] for due in found["due"]] == [line[:10] for line in lines]
    with pytest.raises(DropsweepError, match="1 to 1000"):
        schedules.upcoming(key.path, 1001)


@pytest.mark.parametrize("name", ["show", "pause", "resume", "run-now", "next"])
def test_a_schedule_that_is_not_there_is_told(run: Run, world: World, schedules: Schedules, name: str) -> None:
    done = run("schedule", name, f"{world.workspace}/none")
    assert done.exit_code == ExitCode.NOT_FOUND
    assert "no such schedule" in done.stderr
    assert "names no schedule" in run("schedule", name, "none").stderr
    with pytest.raises(NotFoundError):
        schedules.show(f"{world.workspace}/none")


def test_records_come_back_as_they_were_written(key: ScheduleKey) -> None:
    tick = TickRecord(key, AT, TickOutcome.MISSED, AT, run_id="ab12", first=AT, num=7)
    assert TickRecord.from_json(tick.to_json()) == tick
    assert tick.path == key.tick(AT, "ab12") != key.tick(AT)
    turn = Pending((AT,), "skip", "e", {"a": [1, None, {"b": 0.5}]}, run_id="x", missed_last=AT, num_missed=2)
    record = ScheduleRecord(
        key, "e", AT, AT, AT, {"type": "cron"}, is_paused=True, pending=(turn,), asked=(Asked("x", AT, "a/b/c"),)
    )
    assert ScheduleRecord.from_json(record.to_json()) == record
