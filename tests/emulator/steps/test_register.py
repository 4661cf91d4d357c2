"""A node's record on real storage: answers that are lost, a process that dies, many nodes at once."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from dropsweep.errors import StorageUnavailable
from dropsweep.names import NODES, RUNS
from dropsweep.nodes import clusters_with_nodes, hours_of, list_nodes, num_living, read_node
from dropsweep.settings import Settings
from dropsweep.states import NodeState
from dropsweep.steps.register import Registration, register
from dropsweep.storage import Store, Tally
from tests.emulator.faults import DIE_AFTER, DIE_BEFORE, LOST_ANSWER, Died, Fault, Faults, LoseAnswer
from tests.emulator.leaping import LeapingClock


@pytest.fixture
def cluster() -> str:
    return f"c-{uuid.uuid4().hex[:12]}"


def node(store: Store, cluster: str, worker: str = "host-1", *, beat_s: float = 30.0) -> Registration:
    return register(store, cluster, worker, num_slots=2, beat_s=beat_s, image="docker.io/library/trainer:1")


def test_a_node_comes_speaks_and_goes(store: Store, cluster: str) -> None:
    one = node(store, cluster)
    one.beat(NodeState.PREPARING, 0)
    one.beat(NodeState.RUNNING, 2, "Zwölf Boxkämpfer\n")
    found = list_nodes(store, cluster)
    (seen,) = found.nodes
    assert (seen.node, seen.state, seen.num_busy, seen.num_slots) == (one.node, NodeState.RUNNING, 2, 2)
    assert (seen.message, seen.image, seen.worker) == ("Zwölf Boxkämpfer\n", "docker.io/library/trainer:1", "host-1")
    assert 0 <= seen.age_s(found.now) < 60
    assert cluster in clusters_with_nodes(store)
    one.leave(NodeState.UNUSABLE, "x" * 3900)
    whole = read_node(store, cluster, found.month, one.node)
    assert whole is not None
    assert (whole.state, whole.message) == (NodeState.UNUSABLE, "x" * 3900)
    assert "x" * 1000 in list_nodes(store, cluster).nodes[0].message
    assert num_living(store, cluster) == 0


def test_a_node_s_life_costs_one_operation_a_word_and_its_list_one(
    settings: Settings, store: Store, cluster: str
) -> None:
    tally = Tally()
    one = node(Store.connect(settings.storage, tally), cluster)
    for state in (NodeState.PREPARING, NodeState.IDLE, NodeState.RUNNING):
        one.beat(state, 0)
    one.leave()
    assert tally.by_kind() == {"PUT": 2, "PUT metadata": 2}
    tally = Tally()
    list_nodes(Store.connect(settings.storage, tally), cluster)
    assert tally.by_kind() == {"GET list": 1}


@pytest.mark.parametrize("number", range(4))
def test_an_answer_that_is_lost_within_a_call_is_not_noticed(
    settings: Settings, store: Store, cluster: str, number: int
) -> None:
    """The SDK asks again, finds its own write, and goes on."""
    writes = iter(range(100))
    lost = LoseAnswer(lambda request: request.method == "PUT" and next(writes) == number)
    one = node(Store.connect(settings.storage, lost), cluster)
    one.beat(NodeState.IDLE, 0)
    one.beat(NodeState.IDLE, 0)
    one.beat(NodeState.RUNNING, 1)
    one.leave()
    assert lost.num_lost == 1
    assert [(seen.node, seen.state) for seen in list_nodes(store, cluster).nodes] == [(one.node, NodeState.LEFT)]


@pytest.mark.parametrize("number", range(8))
def test_an_answer_that_is_lost_for_good_leaves_one_record(
    settings: Settings, store: Store, cluster: str, number: int
) -> None:
    """The call raises, and the next one knows what stands there as its own."""
    faults = Faults(lambda at, _: LOST_ANSWER if at == number else None)
    one = node(Store.connect(settings.storage, faults, patience_s=0), cluster)
    num_refused = 0
    for state in (NodeState.PREPARING, NodeState.IDLE, NodeState.RUNNING):
        try:
            one.beat(state, 0)
        except StorageUnavailable:
            num_refused += 1
    for _ in range(2):
        try:
            one.leave()
        except StorageUnavailable:
            num_refused += 1
    assert num_refused == faults.num_spoilt
    assert [(seen.node, seen.state) for seen in list_nodes(store, cluster).nodes] == [(one.node, NodeState.LEFT)]


def live(one: Registration) -> None:
    for _ in range(3):
        one.beat(NodeState.RUNNING, 1)
    one.leave()


@pytest.mark.parametrize("fault", [DIE_BEFORE, DIE_AFTER], ids=str)
def test_a_node_that_dies_at_any_request_is_lost_and_counts_one_beat_at_most(
    settings: Settings, store: Store, cluster: str, service_clock: LeapingClock, fault: Fault
) -> None:
    for number in range(4):
        one_cluster = f"{cluster}-{number}"
        faults = Faults(lambda at, _, number=number: fault if at == number else None)  # type: ignore[misc]
        one = node(Store.connect(settings.storage, faults), one_cluster, beat_s=0.1)
        with pytest.raises(Died):
            live(one)
    service_clock.leap(60)
    for number in range(4):
        found = list_nodes(store, f"{cluster}-{number}")
        has_left = number == 3 and fault is DIE_AFTER
        num_written = 0 if number == 0 and fault is DIE_BEFORE else 1
        assert [seen.shown(found.now) for seen in found.nodes] == ["left" if has_left else "lost"] * num_written
        assert found.seconds <= 2 * num_written


def test_many_nodes_at_once_have_a_record_each(store: Store, cluster: str) -> None:
    def come(_: int) -> str:
        one = node(store, cluster, "same-host-1")
        one.beat(NodeState.IDLE, 0)
        return one.node

    with ThreadPoolExecutor(8) as pool:
        names = set(pool.map(come, range(16)))
    found = list_nodes(store, cluster)
    assert {seen.node for seen in found.nodes} == names
    assert len(names) == len(found.living) == 16


def test_a_node_whose_record_was_deleted_by_hand_goes_on_with_another(store: Store, cluster: str) -> None:
    one = node(store, cluster)
    one.beat(NodeState.IDLE, 0)
    first = one.node
    store.blobs.delete_all(RUNS, [found.name for found in store.blobs.list(RUNS, f"{NODES}{cluster}/")])
    one.beat(NodeState.RUNNING, 1)
    assert one.node == f"{first}-2"
    assert [seen.state for seen in list_nodes(store, cluster).nodes] == [NodeState.RUNNING]


def test_hours_of_a_month_without_nodes_are_none(store: Store, cluster: str) -> None:
    assert hours_of(store, cluster, "2001-01") == 0
    assert list_nodes(store, cluster).nodes == ()
