"""The timer's look at schedules; each test has an account of its own, for a look sees all of them."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest

from dropsweep.client import schedules as client
from dropsweep.client.schedules import ScheduleState
from dropsweep.names import CODE, LIVE, RUNS, SCHEDULE_STATES, SCHEDULES, TICKS, ScheduleKey
from dropsweep.records.schedule import TickOutcome
from dropsweep.schedules import Calendar, Trigger, Unit, due_times
from dropsweep.states import JobState
from dropsweep.steps.tick import Ticked, tick
from dropsweep.storage import Store
from local.azurite import Azurite
from tests.emulator.faults import Faults
from tests.emulator.steps.ticking import HOURLY, JOB, KEY, World


@pytest.fixture(scope="module")
def own_azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    folder = tmp_path_factory.mktemp("azurite")
    with Azurite(folder / "data", log=folder / "azurite.log") as running:
        yield running


@pytest.fixture
def world(own_azurite: Azurite) -> World:
    return World(own_azurite.connection_string)


def test_a_due_time_becomes_one_job_however_often_the_timer_fires(world: World) -> None:
    world.drop(HOURLY)
    assert world.at(-1) == Ticked(num_schedules=1)
    assert world.at(0).num_submitted == 1
    assert world.at(0) == world.at(0.1) == Ticked(num_schedules=1)
    assert world.at(1).num_submitted == 1
    first, second = world.ticks()
    assert (first.due, second.due) == (world.due(0), world.due(1))
    assert {job.key.path for job in world.jobs()} == {first.job, second.job}
    job = world.jobs()[0]
    assert (job.key.workspace, job.key.experiment, job.schedule) == ("vision", "hourly", "hourly")
    assert job.source == "schedules/vision/hourly"


def test_a_quiet_pass_costs_two_lists_and_one_look_whatever_the_number_of_schedules(world: World) -> None:
    for number in range(20):
        world.drop(HOURLY, f"vision/hourly-{number}.json")
    world.at(-1)
    counting = Faults(lambda _number, _request: None)
    store = Store.connect(world.settings.storage, counting)
    assert tick(store, world.settings).num_schedules == 20
    assert counting.num_requests == 3


def test_without_a_schedule_there_is_nothing_to_do(world: World) -> None:
    assert tick(world.store, world.settings) == Ticked()


def test_the_time_is_the_storage_service_s(world: World) -> None:
    world.drop({**HOURLY, "trigger": {"type": "recurrence", "frequency": "hour", "interval": 1}})
    # Without a start it is due at once, and then each hour after.
    assert tick(world.store, world.settings).num_submitted == 1
    assert tick(world.store, world.settings).num_submitted == 0
    blob = world.store.blobs.head(SCHEDULES, "vision/hourly.json")
    assert blob is not None
    assert world.ticks()[0].due == blob.modified


@pytest.mark.parametrize(
    ("policy", "outcomes", "num_missed"),
    [
        ("latest", ["missed", "submitted"], 3),
        ("all", ["submitted"] * 4, 0),
        ("none", ["missed"], 4),
    ],
)
def test_what_was_missed_is_made_up_for_as_the_file_says(
    world: World, policy: str, outcomes: list[str], num_missed: int
) -> None:
    world.drop(HOURLY, catch_up=policy)
    world.at(-1)
    assert world.at(3.5).num_missed == num_missed
    assert world.outcomes() == outcomes
    missed = [found for found in world.ticks() if found.outcome is TickOutcome.MISSED]
    assert sum(found.num for found in missed) == num_missed
    assert all(found.first == world.due(0) for found in missed)
    assert world.at(3.6) == Ticked(num_schedules=1)
    assert world.at(4).num_submitted == 1


def test_skip_makes_no_job_while_an_earlier_one_is_live(world: World) -> None:
    world.drop(HOURLY, overlap="skip")
    world.at(0)
    assert world.at(1).num_skipped == 1
    world.end(world.ticks()[0].job)
    assert world.at(2).num_submitted == 1
    assert world.outcomes() == ["submitted", "skipped", "submitted"]


def test_replace_cancels_what_is_live_for_the_next_job(world: World) -> None:
    world.drop(HOURLY, overlap="replace")
    world.at(0)
    world.at(1)
    states = {job.key.path: job.state for job in world.jobs()}
    first, second = world.ticks()
    assert states == {first.job: JobState.CANCELLING, second.job: JobState.QUEUED}


def test_with_skip_of_several_due_times_at_once_the_first_becomes_a_job(world: World) -> None:
    world.drop(HOURLY, overlap="skip", catch_up="all")
    world.at(-1)
    assert world.at(3.5).num_skipped == 3
    assert world.outcomes() == ["submitted", "skipped", "skipped", "skipped"]


def test_a_broken_schedule_is_told_beside_it_and_stops_no_other(world: World) -> None:
    world.drop(HOURLY, "vision/a-broken.json", trigger={"type": "cron", "expression": "x"})
    world.drop(b"{", "vision/b-broken.yaml")
    world.drop(b"x" * 2_000_000, "vision/c-broken.yaml")
    world.drop(HOURLY)
    assert world.at(0).num_submitted == 1
    assert "five fields" in world.told("vision/a-broken.error.json")
    assert "not YAML" in world.told("vision/b-broken.error.json")
    assert "at most" in world.told("vision/c-broken.error.json")
    states = {found.key.name: found.state for found in client.schedules(world.store)}
    assert states["a-broken"] is ScheduleState.BROKEN
    assert states["hourly"] is ScheduleState.ACTIVE


def test_a_mended_schedule_goes_on_from_then_and_is_told_of_no_more(world: World) -> None:
    world.drop(HOURLY)
    world.at(0)
    world.drop(HOURLY, trigger={})
    world.at(1.5)
    assert world.told()
    world.drop(HOURLY)
    world.at(1.6)
    assert not world.told()
    assert world.at(2).num_submitted == 1
    assert not world.record().is_broken


def test_a_record_that_cannot_be_read_stops_no_other_and_is_left_as_it_is(world: World) -> None:
    world.drop(HOURLY, "vision/a.json")
    world.drop(HOURLY)
    world.store.blobs.put(RUNS, ScheduleKey("vision", "a").state, b"{}")
    done = world.at(0)
    assert (done.num_submitted, done.num_failed) == (1, 1)
    blob = world.store.blobs.read(RUNS, ScheduleKey("vision", "a").state)
    assert blob is not None
    assert blob.body == b"{}"


def test_a_file_that_lies_elsewhere_is_told_of_and_so_are_two_of_one_name(world: World) -> None:
    world.drop(HOURLY, "hourly.json")
    world.drop(HOURLY, "vision/deeper/hourly.json")
    world.drop(HOURLY, "vision/notes.txt")
    world.drop(HOURLY, "vision/twice.json")
    world.drop(json.dumps(HOURLY).encode(), "vision/twice.yaml")
    assert world.at(0).num_submitted == 0
    for path in ("hourly", "vision/deeper/hourly", "vision/notes"):
        assert "lies at" in world.told(f"{path}.error.json")
    assert "has one file" in world.told("vision/twice.error.json")
    for blob in list(world.store.blobs.list(SCHEDULES, "")):
        if not blob.name.endswith(".error.json") and blob.name != "vision/twice.json":
            world.store.blobs.delete(SCHEDULES, blob.name)
    world.at(0)
    assert [blob.name for blob in world.store.blobs.list(SCHEDULES, "")] == ["vision/twice.json"]
    assert world.at(1).num_submitted == 1


def test_a_job_that_is_refused_replaces_nothing(world: World) -> None:
    world.store.blobs.put(CODE, "often/job.yaml", b"type: command\ncommand: 'true'\n")
    world.drop(HOURLY, overlap="replace", create_job={"job": "code/often/job.yaml"})
    assert world.at(0).num_submitted == 1
    world.store.blobs.put(CODE, "often/job.yaml", b"type: command\n")
    assert world.at(1).num_refused == 1
    assert [job.state for job in world.jobs()] == [JobState.QUEUED]


def test_a_job_that_is_refused_is_told_beside_the_schedule_until_one_is_accepted(world: World) -> None:
    world.drop(HOURLY, create_job={"job": "code/nightly/job.yaml", "tags": {"by": "clock"}})
    assert world.at(0).num_refused == 1
    assert "the file must exist" in world.told()
    world.store.blobs.put(CODE, "nightly/job.yaml", b"type: command\ncommand: sh run.sh\ncode: absent\nname: nightly\n")
    assert world.at(1).num_refused == 1
    assert "absent" in world.told()
    assert client.schedules(world.store)[0].num_problems == 1
    world.store.blobs.put(CODE, "absent/run.sh", b"echo hi")
    assert world.at(2).num_submitted == 1
    assert not world.told()
    assert world.outcomes() == ["refused", "refused", "submitted"]
    (job,) = world.jobs()
    assert (job.name, job.tags) == ("nightly", {"by": "clock"})


def test_a_changed_file_makes_no_jobs_of_the_time_before_its_change(world: World) -> None:
    world.drop(HOURLY, trigger={"type": "cron", "expression": "0 0 29 2 *"})
    world.at(-1)
    blob = world.store.blobs.read(RUNS, KEY.state)
    assert blob is not None
    before = datetime.now(UTC).replace(microsecond=0) - timedelta(days=300)
    long_ago = replace(world.record(), anchor=before, until=before)
    assert world.store.blobs.replace(RUNS, KEY.state, long_ago.to_json(), blob.etag, long_ago.to_metadata())
    world.drop(HOURLY, catch_up="all")
    assert world.at(0).num_submitted == 1


def test_a_due_time_costs_fifteen_requests(world: World) -> None:
    world.drop(HOURLY)
    world.at(-1)
    counting = Faults(lambda _number, _request: None)
    assert world.at(0, store=Store.connect(world.settings.storage, counting)).num_submitted == 1
    assert counting.num_requests == 15


def test_the_record_of_a_deleted_schedule_goes_and_one_of_its_name_begins_anew(world: World) -> None:
    world.drop(HOURLY)
    world.at(5)
    world.store.blobs.delete(SCHEDULES, "vision/hourly.json")
    world.at(6)
    assert not list(world.store.blobs.list(RUNS, SCHEDULE_STATES))
    assert world.ticks()
    world.drop(HOURLY)
    assert world.at(7).num_submitted == 1


def test_a_year_of_jobs_with_both_changes_of_the_clock(world: World) -> None:
    """The whole step, driven through a year; the timer is seldom here, for each look costs requests."""
    world.drop(
        {
            "trigger": {
                "type": "recurrence",
                "frequency": "week",
                "interval": 2,
                "time_zone": "W. Europe Standard Time",
                "schedule": {"hours": 2, "minutes": 30, "week_days": "sunday"},
            },
            "catch_up": "all",
            "create_job": JOB,
        }
    )
    world.at(-1)
    now = datetime.now(UTC)
    for _ in range(26):
        now += timedelta(days=14, hours=3)
        tick(world.store, world.settings, now=now)
    trigger = Trigger(Calendar(Unit.WEEK, 2, "Europe/Berlin", (time(2, 30),), (6,)))
    record = world.record()
    wanted = [*due_times(trigger, anchor=record.anchor, after=record.anchor, until=now)]
    assert [found.due for found in world.ticks()] == wanted
    assert {due.hour for due in wanted} <= {0, 1}
    assert len(world.jobs()) == len(wanted) == len({found.job for found in world.ticks()})


def test_nothing_else_is_written_beside_schedules(world: World) -> None:
    world.drop(HOURLY)
    world.at(0)
    folders = {blob.name.partition("/")[0] + "/" for blob in world.store.blobs.list(RUNS, ".")}
    assert folders == {SCHEDULE_STATES, TICKS, LIVE}
