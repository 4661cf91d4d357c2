"""A look at schedules may end anywhere, or be made twice at once, and each due time is still one job."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dropsweep.errors import StorageUnavailable
from dropsweep.names import LIVE, RUNS
from dropsweep.records.schedule import TickOutcome, TickRecord
from dropsweep.storage import Store
from local.azurite import Azurite
from tests.emulator.faults import DIE_AFTER, DIE_BEFORE, LOST_ANSWER, Died, Fault, Faults
from tests.emulator.steps.ticking import HOURLY, JOB, KEY, World


@pytest.fixture(scope="module")
def own_azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    folder = tmp_path_factory.mktemp("azurite")
    with Azurite(folder / "data", log=folder / "azurite.log") as running:
        yield running


@pytest.fixture
def world(own_azurite: Azurite) -> World:
    return World(own_azurite.connection_string)


def test_many_timers_at_once_make_one_job(world: World) -> None:
    world.drop(HOURLY, overlap="skip")
    world.at(-1)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(world.at, [0.0] * 8))
    assert world.outcomes() == [TickOutcome.SUBMITTED]
    assert len(world.jobs()) == 1
    assert world.record().counts == {TickOutcome.SUBMITTED: 1}


def test_what_was_decided_of_a_due_time_is_not_decided_anew(world: World) -> None:
    world.drop(HOURLY, overlap="skip")
    world.at(-1)
    # As by a pass that died after its decision; the job that it was decided by has ended since.
    decided = TickRecord(KEY, world.due(0), TickOutcome.SKIPPED, world.due(0))
    assert world.store.blobs.create(RUNS, decided.path, decided.to_json())
    assert world.at(0).num_skipped == 1
    assert world.ticks() == [decided]
    assert world.jobs() == []


def scene(world: World) -> dict[str, Any]:
    """What there is, without times and ids that differ from run to run."""
    record = world.record()
    return {
        "ticks": [(found.due - world.first, found.outcome, found.job) for found in world.ticks()],
        "jobs": [(job.key.path, job.state, job.schedule) for job in world.jobs()],
        "live": len(list(world.store.blobs.list(RUNS, LIVE))),
        "counts": dict(record.counts),
        "pending": record.pending,
        "until": record.until - world.first,
        "told": bool(world.told()),
    }


def prepare(world: World, policy: str) -> None:
    world.empty()
    world.drop(HOURLY, overlap=policy, catch_up="all")
    world.at(0)


@pytest.mark.parametrize("fault", [DIE_BEFORE, DIE_AFTER, LOST_ANSWER], ids=str)
@pytest.mark.parametrize("policy", ["allow", "skip", "replace"])
def test_dying_anywhere_loses_and_doubles_nothing(world: World, policy: str, fault: Fault) -> None:
    prepare(world, policy)
    world.at(2)
    undisturbed = scene(world)
    # Without DROPSWEEP_CHAOS=full one request in four, other ones for each case.
    stride = 1 if os.environ.get("DROPSWEEP_CHAOS") == "full" else 4
    number = (["allow", "skip", "replace"].index(policy) + len(fault.name)) % stride
    while True:
        prepare(world, policy)
        faults = Faults(lambda at, _, number=number: fault if at == number else None)  # type: ignore[misc]
        store = Store.connect(world.settings.storage, faults, patience_s=0)
        try:
            world.at(2, store=store)
        except (Died, StorageUnavailable):
            # The user changes the file before the next pass: what had begun goes on with the file as it was.
            world.drop(HOURLY, overlap=policy, catch_up="all", create_job={**JOB, "command": "echo changed"})
        if not faults.num_spoilt:
            break
        world.at(2)
        assert scene(world) == undisturbed, f"request {number}"
        number += stride
    assert number > 8
