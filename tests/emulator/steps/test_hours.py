"""Nodes that have left are summed up on real storage, wherever a pass dies."""

import contextlib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from dropsweep.errors import StorageUnavailable
from dropsweep.names import NODES, RUNS, node_hours, node_record
from dropsweep.nodes import hours_of, list_nodes, read_ledger
from dropsweep.records.node import NodeRecord
from dropsweep.settings import Settings, StorageSettings
from dropsweep.states import NodeState
from dropsweep.steps.fold import Folded, fold
from dropsweep.steps.register import register
from dropsweep.steps.retain import retain
from dropsweep.storage import Store
from tests.emulator.clocks import Ahead
from tests.emulator.faults import DIE_AFTER, DIE_BEFORE, LOST_ANSWER, Died, Fault, Faults
from tests.emulator.leaping import LeapingAzurite


@pytest.fixture(scope="module")
def own_azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeapingAzurite]:
    with LeapingAzurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture
def own(own_azurite: LeapingAzurite) -> Settings:
    """An account of its own, for a pass looks at all clusters."""
    settings = Settings(StorageSettings(own_azurite.connection_string))
    store = Store.connect(settings.storage)
    store.prepare(())
    own_azurite.clock.reset()
    own_azurite.clock.pass_turn_of_month()
    store.blobs.delete_all(RUNS, [found.name for found in store.blobs.list(RUNS, NODES)])
    return settings


@pytest.fixture
def alone(own: Settings) -> Store:
    return Store.connect(own.storage)


def leave(store: Store, cluster: str, num: int, *, seconds: int = 10) -> None:
    for k in range(num):
        record = NodeRecord(
            cluster=cluster,
            month=month(store),
            node=f"n-{uuid.uuid4().hex}",
            worker=f"w-{k}",
            state=NodeState.LEFT,
            num_slots=1,
            beat_s=30.0,
            seconds=seconds + k,
            started=datetime.now(UTC),
        )
        path = node_record(cluster, record.month, record.node)
        assert store.blobs.create(RUNS, path, record.to_json(), record.to_metadata())


def month(store: Store) -> str:
    """The present one, by the service's clock."""
    return list_nodes(store, "any").month


def seconds(store: Store, cluster: str) -> int:
    return round(hours_of(store, cluster, month(store)) * 3600)


@pytest.mark.parametrize("fault", [DIE_BEFORE, DIE_AFTER, LOST_ANSWER], ids=str)
def test_dying_anywhere_neither_loses_nor_doubles_a_second(own: Settings, alone: Store, fault: Fault) -> None:
    number = 0
    while True:
        cluster = f"c-{number}"
        leave(alone, cluster, 3)
        faults = Faults(lambda at, _, number=number: fault if at == number else None)  # type: ignore[misc]
        with contextlib.suppress(Died, StorageUnavailable):
            fold(Store.connect(own.storage, faults, patience_s=0), fold_at=2)
        assert seconds(alone, cluster) == 33, number
        leave(alone, cluster, 1)
        for _ in range(2):
            fold(alone, fold_at=2)
            assert seconds(alone, cluster) == 43, number
        ledger = read_ledger(alone, cluster, month(alone))
        assert ledger is not None
        assert (ledger.folding, list_nodes(alone, cluster).num_folded) == ((), ledger.num_nodes)
        if not faults.num_spoilt:
            break
        alone.blobs.delete_all(RUNS, [found.name for found in alone.blobs.list(RUNS, NODES)])
        number += 1
    assert number == 5


def test_the_hourly_pass_sums_up(alone: Store) -> None:
    leave(alone, "gpu", 200)
    before = seconds(alone, "gpu")
    assert retain(alone).is_done
    assert list_nodes(alone, "gpu").num_folded == 100
    assert seconds(alone, "gpu") == before


def test_what_is_wrong_with_one_cluster_costs_the_others_nothing(
    alone: Store, caplog: pytest.LogCaptureFixture
) -> None:
    leave(alone, "a", 2)
    leave(alone, "b", 2)
    assert alone.blobs.create(RUNS, node_hours("a", month(alone)), b"broken")
    assert fold(alone, fold_at=1) == Folded(num_nodes=2)
    assert "cluster a cannot be summed up" in caplog.text


def test_hours_of_a_month_long_ago_are_deleted(own: Settings, alone: Store) -> None:
    leave(alone, "gpu", 4)
    fold(alone, fold_at=2)
    fold(Store.connect(own.storage, Ahead(), Ahead()), fold_at=100)
    assert list(alone.blobs.list(RUNS, NODES)) == []


def test_a_node_that_wakes_up_after_it_was_summed_up_is_counted_on_from_there(
    own_azurite: LeapingAzurite, alone: Store
) -> None:
    now_s = [0.0]
    one = register(alone, "gpu", "w", num_slots=1, beat_s=0.2, clock=lambda: now_s[0])
    one.beat(NodeState.RUNNING, 1)
    assert fold(alone, fold_at=1, lost_for_s=30) == Folded()
    own_azurite.clock.leap(60)
    assert fold(alone, fold_at=1, lost_for_s=30) == Folded(num_closed=1)
    assert fold(alone, fold_at=1) == Folded(num_nodes=1)
    now_s[0] = 5000.0
    one.beat(NodeState.RUNNING, 1)
    one.leave()
    assert seconds(alone, "gpu") == 5000
