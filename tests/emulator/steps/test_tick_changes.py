"""A schedule's file that is changed, broken or mended between two looks; each test has an account of its own."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from azure.core.rest import HttpRequest

from dropsweep.client import schedules as client
from dropsweep.client.schedules import ScheduleState
from dropsweep.clusters import Cluster
from dropsweep.names import SCHEDULES
from dropsweep.records.schedule import TickOutcome
from dropsweep.settings import Settings
from dropsweep.steps.tick import Ticked, tick
from dropsweep.storage import Store
from local.azurite import Azurite
from tests.emulator.faults import Faults
from tests.emulator.steps.ticking import HOURLY, JOB, KEY, MINUTE, World

HOURS = 8


@pytest.fixture(scope="module")
def own_azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    folder = tmp_path_factory.mktemp("azurite")
    with Azurite(folder / "data", log=folder / "azurite.log") as running:
        yield running


@pytest.fixture
def world(own_azurite: Azurite) -> World:
    return World(own_azurite.connection_string)


def with_clusters(world: World, *clusters: str) -> Settings:
    return Settings(world.settings.storage, clusters=tuple(map(Cluster, clusters)))


def last_dues(num: int) -> list[datetime]:
    """The latest due times of HOURLY, about half an hour ago and before."""
    now = datetime.now(UTC)
    last = now.replace(minute=MINUTE, second=0, microsecond=0)
    last -= timedelta(hours=1) if last > now else timedelta(0)
    return [last - timedelta(hours=number) for number in reversed(range(num))]


def test_a_schedule_that_a_setting_broke_goes_on_once_the_setting_is_mended(world: World) -> None:
    world.drop(HOURLY, create_job={**JOB, "compute": "azureml:gpu"})
    world.settings = with_clusters(world, "gpu")
    assert world.at(0).num_submitted == 1
    world.settings = with_clusters(world, "cpu")
    assert world.at(1).num_refused == 1
    assert "no trainer serves" in world.told()
    assert "no trainer serves" in str(world.ticks()[-1].problems[0])
    world.settings = with_clusters(world, "gpu")
    assert world.at(1.1) == Ticked(num_schedules=1)
    assert not world.told()
    assert [world.at(hours).num_submitted for hours in (2, 3, 4)] == [1, 1, 1]
    assert world.outcomes() == ["submitted", "refused", "submitted", "submitted", "submitted"]


def test_what_is_told_of_a_broken_schedule_is_what_is_wrong_now(world: World) -> None:
    world.drop(HOURLY, create_job={**JOB, "compute": "azureml:gpu"})
    world.settings = with_clusters(world, "cpu")
    world.at(0)
    assert "`azureml:cpu`" in world.told()
    world.settings = with_clusters(world, "gpus")
    world.at(0.2)
    assert "`azureml:gpus`" in world.told()


def test_a_broken_schedule_is_looked_at_each_five_minutes_only(world: World) -> None:
    world.drop(HOURLY, trigger={})
    world.at(0)
    counting = Faults(lambda _number, _request: None)
    store = Store.connect(world.settings.storage, counting)
    world.at(0.08, store=store)
    assert counting.num_requests == 2  # the two lists
    until = world.record().until
    world.at(0.09, store=store)
    assert world.record().until > until


def test_while_there_are_two_files_no_due_time_is_made_up_for(world: World) -> None:
    world.drop(HOURLY, catch_up="all")
    assert world.at(0).num_submitted == 1
    world.drop(HOURLY, "vision/hourly.yaml")
    assert [world.at(hours).num_submitted for hours in (0.2, 1, 2, 2.95)] == [0, 0, 0, 0]
    world.store.blobs.delete(SCHEDULES, "vision/hourly.yaml")
    assert world.at(3) == Ticked(num_schedules=1)
    assert world.at(4).num_submitted == 1
    assert [found.due for found in world.ticks()] == [world.due(0), world.due(4)]


def test_one_of_two_files_that_goes_during_a_look_does_not_take_the_record_with_it(world: World) -> None:
    world.drop(HOURLY)
    world.at(-1)
    anchor = world.record().anchor
    world.drop(HOURLY, "vision/hourly.yaml")

    def goes(_number: int, request: HttpRequest) -> None:
        if request.method == "HEAD" and request.url.endswith("/vision/hourly.json"):
            world.store.blobs.delete(SCHEDULES, "vision/hourly.json")

    world.at(-0.9, store=Store.connect(world.settings.storage, Faults(goes)))
    assert world.record().anchor == anchor
    assert world.at(0).num_submitted == 1


def test_what_is_due_after_a_broken_file_was_written_anew_and_before_the_look_comes(world: World) -> None:
    world.drop(HOURLY, trigger={})
    tick(world.store, world.settings)
    world.drop(HOURLY)
    assert world.at(0).num_submitted == 1


@pytest.mark.parametrize(("policy", "num_jobs"), [("all", HOURS), ("latest", 1), ("none", 0)])
def test_a_word_changed_in_a_file_changes_nothing_of_what_was_missed(world: World, policy: str, num_jobs: int) -> None:
    world.drop(HOURLY, catch_up=policy)
    world.at(-1)
    world.rewind(HOURS)
    world.drop(HOURLY, catch_up=policy, description="a word changed")
    tick(world.store, world.settings)
    dues = last_dues(HOURS)
    made = [found.due for found in world.ticks() if found.outcome is TickOutcome.SUBMITTED]
    assert made == (dues[-num_jobs:] if num_jobs else [])
    missed = [found for found in world.ticks() if found.outcome is TickOutcome.MISSED]
    assert sum(found.num for found in missed) == HOURS - num_jobs
    if missed:
        assert (missed[0].first, missed[0].due) == (dues[0], dues[HOURS - num_jobs - 1])


def test_the_due_times_before_a_change_are_those_of_the_old_trigger(world: World) -> None:
    world.drop(HOURLY, catch_up="all")
    world.at(-1)
    record = world.rewind(HOURS)
    world.drop({"trigger": {"type": "recurrence", "frequency": "minute", "interval": 1}, "create_job": JOB})
    tick(world.store, world.settings)
    assert [found.due for found in world.ticks() if found.outcome is TickOutcome.SUBMITTED] == last_dues(1)
    assert world.record().anchor == record.anchor
    assert world.record().until >= datetime.now(UTC) - timedelta(minutes=5)


@pytest.mark.parametrize(
    ("changes", "outcome", "state"),
    [
        ({"is_enabled": False}, TickOutcome.SUBMITTED, ScheduleState.DISABLED),
        ({"trigger": {"type": "cron", "expression": "30 0 29 2 *"}}, TickOutcome.SUBMITTED, ScheduleState.ACTIVE),
        ({"trigger": {}}, TickOutcome.REFUSED, ScheduleState.BROKEN),
    ],
)
def test_what_was_due_before_a_change_and_not_looked_at_has_its_record(
    world: World, changes: dict[str, object], outcome: TickOutcome, state: ScheduleState
) -> None:
    world.drop(HOURLY)
    world.at(-1)
    world.rewind(1)
    world.drop({**HOURLY, **changes})
    tick(world.store, world.settings)
    assert [(found.due, found.outcome) for found in world.ticks()] == [(last_dues(1)[0], outcome)]
    assert client.schedule(world.store, KEY).state is state
    assert tick(world.store, world.settings).num_submitted == 0
    assert bool(world.told()) == (state is ScheduleState.BROKEN)


def test_a_due_time_that_finds_its_file_doubled_is_refused_once(world: World) -> None:
    world.drop(HOURLY)
    world.at(-1)
    world.rewind(1)
    world.drop(HOURLY, "vision/hourly.yaml")
    assert tick(world.store, world.settings).num_refused == 1
    assert tick(world.store, world.settings).num_refused == 0
    assert "has one file" in str(world.ticks()[0].problems[0])


def test_what_was_due_before_a_pause_still_comes_and_nothing_after(world: World) -> None:
    world.drop(HOURLY)
    world.at(-1)
    world.rewind(1)
    client.pause(world.store, KEY)
    client.pause(world.store, KEY)
    assert tick(world.store, world.settings).num_submitted == 1
    assert [found.due for found in world.ticks()] == last_dues(1)
    assert world.at(3) == Ticked(num_schedules=1)
    assert world.record().is_paused


def test_a_pause_over_a_broken_file_tells_what_it_was_due_for(world: World) -> None:
    world.drop(HOURLY)
    world.at(-1)
    world.rewind(1)
    world.drop(HOURLY, trigger={})
    client.pause(world.store, KEY)
    assert tick(world.store, world.settings).num_refused == 1
    assert world.outcomes() == ["refused"]
    assert "trigger" in world.told()


def test_a_paused_schedule_that_is_dropped_anew_after_a_look_is_not_paused(world: World) -> None:
    world.drop(HOURLY)
    client.pause(world.store, KEY)
    world.store.blobs.delete(SCHEDULES, "vision/hourly.json")
    world.drop(HOURLY)
    assert world.at(0).num_submitted == 0  # the same one, for nothing has looked meanwhile
    world.store.blobs.delete(SCHEDULES, "vision/hourly.json")
    world.at(0.5)
    world.drop(HOURLY)
    assert world.at(1).num_submitted > 0
