"""Schedules are paused, resumed, run now and shown; each test has an account of its own."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dropsweep.client import schedules as client
from dropsweep.client.schedules import ScheduleState
from dropsweep.errors import DropsweepError, NotFoundError, SpecError
from dropsweep.names import RUNS, SCHEDULE_STATES, SCHEDULES
from dropsweep.records.schedule import MAX_NUM_JOBS, TickOutcome
from dropsweep.steps.tick import Ticked, tick
from local.azurite import Azurite
from tests.emulator.steps.ticking import HOURLY, JOB, KEY, MINUTE, World


@pytest.fixture(scope="module")
def own_azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    folder = tmp_path_factory.mktemp("azurite")
    with Azurite(folder / "data", log=folder / "azurite.log") as running:
        yield running


@pytest.fixture
def world(own_azurite: Azurite) -> World:
    return World(own_azurite.connection_string)


def test_a_paused_or_disabled_schedule_makes_no_job_and_none_is_made_up_for(world: World) -> None:
    world.drop(HOURLY)
    world.drop(HOURLY, "vision/off.json", is_enabled=False)
    world.at(-1)
    client.pause(world.store, KEY)
    assert world.at(0) == Ticked(num_schedules=2)
    assert [found.state for found in client.schedules(world.store)] == [ScheduleState.PAUSED, ScheduleState.DISABLED]
    client.resume(world.store, KEY)
    world.drop(HOURLY, "vision/off.json")
    shown = client.schedule(world.store, KEY)
    assert (shown.state, shown.next_due) == (ScheduleState.ACTIVE, world.due(0))
    assert world.at(0).num_submitted == 2


def test_a_schedule_that_is_paused_before_the_timer_saw_it_stays_so(world: World) -> None:
    world.drop(HOURLY)
    assert client.schedules(world.store)[0].state is ScheduleState.NEW
    client.pause(world.store, KEY)
    assert world.at(0).num_submitted == 0
    client.resume(world.store, KEY)
    assert world.at(1.01).num_submitted == 1


def test_what_was_due_while_a_schedule_was_paused_is_not_made_up_for(world: World) -> None:
    world.drop(HOURLY, catch_up="all")
    world.at(-1)
    client.pause(world.store, KEY)
    blob = world.store.blobs.read(RUNS, KEY.state)
    assert blob is not None
    # As if it had been paused for three days.
    before = datetime.now(UTC).replace(microsecond=0) - timedelta(days=3)
    paused = replace(world.record(), anchor=before, until=before, next_due=before + timedelta(minutes=30))
    assert world.store.blobs.replace(RUNS, KEY.state, paused.to_json(), blob.etag, paused.to_metadata())
    client.resume(world.store, KEY)
    assert tick(world.store, world.settings) == Ticked(num_schedules=1)
    assert world.at(0).num_submitted == 1


def test_what_was_asked_for_before_a_schedule_was_deleted_still_comes(world: World) -> None:
    world.drop(HOURLY)
    job = client.run_now(world.store, KEY)
    world.store.blobs.delete(SCHEDULES, "vision/hourly.json")
    assert world.at(0).num_submitted == 1
    assert [made.key for made in world.jobs()] == [job]
    assert not list(world.store.blobs.list(RUNS, SCHEDULE_STATES))


def test_run_now_makes_a_job_beside_the_due_times_at_once_or_by_the_timer(world: World) -> None:
    world.drop(HOURLY, overlap="skip")
    world.at(-1)
    client.pause(world.store, KEY)
    now = client.run_now(world.store, KEY, world.settings)
    assert [job.key for job in world.jobs()] == [now]
    later = client.run_now(world.store, KEY)
    assert len(world.jobs()) == 1
    assert world.at(-1).num_submitted == 1
    assert {job.key for job in world.jobs()} == {now, later}
    client.resume(world.store, KEY)
    assert world.at(0).num_skipped == 1  # both are live
    assert world.record().counts == {TickOutcome.SUBMITTED: 2, TickOutcome.SKIPPED: 1}


def test_a_job_that_is_asked_for_twice_under_one_id_is_one_job(world: World) -> None:
    world.drop(HOURLY)
    job = client.run_now(world.store, KEY, world.settings, submission_id="ask-1")
    world.drop(HOURLY, create_job={**JOB, "name": "renamed"})
    assert client.run_now(world.store, KEY, world.settings, submission_id="ask-1") == job
    world.drop(HOURLY, trigger={})
    assert client.run_now(world.store, KEY, submission_id="ask-1") == job
    world.drop(HOURLY)
    other = client.run_now(world.store, KEY, world.settings, submission_id="ask-2")
    assert [made.key for made in world.jobs()] == sorted([job, other])
    assert world.record().counts == {TickOutcome.SUBMITTED: 2}


def test_many_who_ask_at_once_under_one_id_get_one_job(world: World) -> None:
    world.drop(HOURLY)
    with ThreadPoolExecutor(8) as pool:
        asked = {*pool.map(lambda _: client.run_now(world.store, KEY, submission_id="ask"), range(8))}
    assert len(world.record().asked) == len(world.record().pending) == 1
    world.at(-1)
    assert {job.key for job in world.jobs()} == asked
    assert len(asked) == 1


def test_a_refusal_is_told_again_to_who_asks_again_under_its_id(world: World) -> None:
    world.drop(HOURLY, create_job={**JOB, "code": "absent"})
    for _ in range(2):
        with pytest.raises(SpecError, match="absent"):
            client.run_now(world.store, KEY, world.settings, submission_id="ask")
    assert len(world.ticks()) == 1


def test_the_ids_of_a_hundred_jobs_that_were_asked_for_are_kept(world: World) -> None:
    world.drop(HOURLY)
    client.run_now(world.store, KEY, submission_id="new")
    blob = world.store.blobs.read(RUNS, KEY.state)
    assert blob is not None
    (new,) = world.record().asked
    full = replace(world.record(), asked=tuple(replace(new, run_id=f"{number:012}") for number in range(MAX_NUM_JOBS)))
    assert world.store.blobs.replace(RUNS, KEY.state, full.to_json(), blob.etag, full.to_metadata())
    client.run_now(world.store, KEY, submission_id="newer")
    assert len(world.record().asked) == MAX_NUM_JOBS
    assert world.record().asked[0] == full.asked[1]


@pytest.mark.parametrize("wrong", ["two words", "x" * 129, 'a"b'])
def test_an_id_that_cannot_be_one_is_refused(world: World, wrong: str) -> None:
    world.drop(HOURLY)
    with pytest.raises(SpecError, match="submission_id"):
        client.run_now(world.store, KEY, submission_id=wrong)


def test_run_now_tells_what_is_wrong(world: World) -> None:
    with pytest.raises(NotFoundError, match="no such schedule"):
        client.run_now(world.store, KEY)
    world.drop(HOURLY, trigger={})
    with pytest.raises(SpecError, match="trigger"):
        client.run_now(world.store, KEY)
    world.drop(HOURLY, create_job="code/none.yaml")
    with pytest.raises(SpecError, match="must exist"):
        client.run_now(world.store, KEY)
    world.drop(HOURLY, create_job={**JOB, "code": "absent"})
    with pytest.raises(SpecError, match="absent"):
        client.run_now(world.store, KEY, world.settings)


def test_next_due_times_are_those_after_what_was_dealt_with(world: World) -> None:
    world.drop(HOURLY)
    assert client.next_due(world.store, KEY, 2) == [world.due(0), world.due(1)]
    world.at(1)
    assert client.next_due(world.store, KEY, 1) == [world.due(2)]
    with pytest.raises(DropsweepError, match="1 to 1000"):
        client.next_due(world.store, KEY, 0)


def test_a_schedule_shows_its_latest_due_times_newest_first(world: World) -> None:
    world.drop(HOURLY, display_name="Each hour", tags={"a": 1})
    for hours in range(30):
        world.at(hours)
    shown = client.schedule(world.store, KEY, num_ticks=28)
    assert [found.due for found in shown.ticks] == [world.due(29 - number) for number in range(28)]
    assert (shown.display_name, shown.tags, shown.trigger) == ("Each hour", {"a": "1"}, f"cron {MINUTE} * * * *")
    assert shown.counts == {TickOutcome.SUBMITTED: 30}
