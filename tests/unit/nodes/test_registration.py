"""A node's record, from when it comes until it leaves, against blobs in memory with a clock of their own."""

import contextlib
from datetime import UTC, datetime

import pytest

from dropsweep.clusters import Cluster
from dropsweep.errors import StorageUnavailable
from dropsweep.names import RUNS
from dropsweep.nodes import Budgets, NodeList, budget_of, hours_of, list_nodes, num_living, read_node
from dropsweep.records.node import NodeRecord
from dropsweep.states import NodeState
from dropsweep.steps.fold import fold
from dropsweep.steps.register import Registration, register
from dropsweep.storage import Store
from tests.unit.nodes.memory import Service

BEAT_S = 30.0
MAY = datetime(2031, 5, 31, 23, 0, tzinfo=UTC)


class World:
    """A cluster's nodes, whose machines' clocks are all wrong."""

    def __init__(self, at: datetime = MAY) -> None:
        self.service = Service(at.timestamp())
        self.store = self.service.store()

    def node(self, *, store: Store | None = None, skew_s: float = 12_345.6, today: datetime = MAY) -> Registration:
        return register(
            store or self.store,
            "gpu",
            "host.example-17",
            num_slots=2,
            beat_s=BEAT_S,
            clock=lambda: self.service.now_s + skew_s,
            today=lambda: today,
        )

    def wait(self, seconds: float) -> None:
        self.service.now_s += seconds

    def nodes(self) -> NodeList:
        return list_nodes(self.store, "gpu")

    def seconds(self, month: str = "2031-05") -> int:
        return round(hours_of(self.store, "gpu", month) * 3600)

    def records(self) -> list[NodeRecord]:
        names = sorted(name for _, name in self.service.blobs)
        return [NodeRecord.from_json(self.service.blobs[RUNS, name].body) for name in names]


@pytest.fixture
def world() -> World:
    return World()


def test_registering_sends_nothing_and_the_first_beat_creates_the_record(world: World) -> None:
    node = world.node()
    assert world.service.blobs == {}
    node.beat(NodeState.PREPARING, 0)
    (found,) = world.nodes().nodes
    assert (found.node, found.worker, found.state) == (node.node, "host.example-17", NodeState.PREPARING)
    assert found.node.startswith("host-example-17-")


def test_a_list_shows_the_last_word_of_each_node_and_since_when_it_is_there(world: World) -> None:
    node = world.node()
    node.beat(NodeState.PREPARING, 0)
    world.wait(40)
    node.beat(NodeState.RUNNING, 2, "busy")
    world.wait(7)
    (found,) = world.nodes().nodes
    assert (found.state, found.num_busy, found.num_slots, found.message) == (NodeState.RUNNING, 2, 2, "busy")
    assert found.started == MAY
    assert found.seconds == 40
    assert found.age_s(world.nodes().now) == 7
    assert world.seconds() == 47


def test_a_beat_costs_one_operation_and_so_does_a_list(world: World) -> None:
    operations: list[str] = []
    counted = world.service.store(lambda _, what: operations.append(what) or "")  # type: ignore[func-returns-value]
    node = world.node(store=counted)
    for _ in range(3):
        node.beat(NodeState.IDLE, 0)
        world.wait(BEAT_S)
    node.leave()
    assert operations == ["create", "replace", "replace", "replace"]
    operations.clear()
    list_nodes(counted, "gpu")
    hours_of(counted, "gpu", "2031-05")
    # The last one: the machine that runs this test is not of the year 2031.
    assert operations == ["page", "page", "page"]


def test_a_node_that_leaves_says_so_once_for_all(world: World) -> None:
    node = world.node()
    node.beat(NodeState.IDLE, 0)
    world.wait(99.5)
    node.leave(NodeState.UNUSABLE, "the setup command failed")
    world.wait(500)
    node.beat(NodeState.RUNNING, 1)
    node.leave()
    (found,) = world.nodes().nodes
    assert (found.state, found.seconds, found.message) == (NodeState.UNUSABLE, 100, "the setup command failed")
    whole = read_node(world.store, "gpu", "2031-05", node.node)
    assert whole is not None
    assert (whole.state, whole.seconds, whole.started) == (NodeState.UNUSABLE, 100, MAY)


def test_a_node_that_leaves_before_it_ever_spoke_is_counted(world: World) -> None:
    node = world.node()
    world.wait(3)
    node.leave()
    assert world.seconds() == 3
    assert num_living(world.store, "gpu") == 0


def test_a_node_that_is_killed_counts_one_beat_more_than_it_said(world: World) -> None:
    node = world.node()
    node.beat(NodeState.RUNNING, 1)
    world.wait(10 * BEAT_S)
    found = world.nodes()
    assert found.nodes[0].shown(found.now) == "lost"
    assert found.living == ()
    assert world.seconds() == BEAT_S


@pytest.mark.parametrize("fault", ["lost", "away"])
@pytest.mark.parametrize("number", range(7))
def test_a_storage_that_does_not_answer_costs_no_second(world: World, fault: str, number: int) -> None:
    node = world.node(store=world.service.store(lambda at, _: fault if at in (number, number + 1) else ""))
    num_refused = 0
    for beat in range(6):
        try:
            node.beat(NodeState.IDLE, 0)
        except StorageUnavailable:
            num_refused += 1
        assert (beat + 1) * BEAT_S - 2 * BEAT_S <= world.seconds() <= (beat + 1) * BEAT_S
        world.wait(BEAT_S)
    for _ in range(3):
        try:
            node.leave()
        except StorageUnavailable:
            num_refused += 1
            world.wait(1)
    assert num_refused
    records = world.records()
    assert world.seconds() == sum(record.seconds for record in records)
    assert 6 * BEAT_S <= world.seconds() <= 6 * BEAT_S + 2
    assert world.nodes().living == ()


def test_a_leave_that_had_no_answer_is_said_again_by_the_next_beat_as_it_was(world: World) -> None:
    node = world.node(store=world.service.store(lambda at, _: "lost" if at == 1 else ""))
    node.beat(NodeState.RUNNING, 1)
    world.wait(5)
    with pytest.raises(StorageUnavailable):
        node.leave(NodeState.UNUSABLE, "broken")
    world.wait(50)
    node.beat(NodeState.RUNNING, 1)
    assert [(one.state, one.seconds, one.message) for one in world.records()] == [(NodeState.UNUSABLE, 5, "broken")]
    assert [one.state for one in world.nodes().nodes] == [NodeState.UNUSABLE]


def test_at_the_turn_of_a_month_the_seconds_are_parted_and_the_node_stays_the_same(world: World) -> None:
    world.service.now_s = MAY.timestamp() + 3600 - 65
    node = world.node()
    for _ in range(4):
        node.beat(NodeState.RUNNING, 1)
        world.wait(BEAT_S)
    world.wait(5)
    node.leave()
    assert (world.seconds("2031-05"), world.seconds("2031-06")) == (65, 60)
    old, new = world.records()
    assert (old.month, old.state, old.message) == ("2031-05", NodeState.LEFT, "goes on in 2031-06")
    assert (new.month, new.node, new.started) == ("2031-06", old.node, old.started)


def test_just_after_the_turn_a_node_that_has_not_spoken_yet_still_lives(world: World) -> None:
    world.service.now_s = MAY.timestamp() + 3600 - 20
    node = world.node()
    node.beat(NodeState.RUNNING, 1)
    world.wait(25)
    found = world.nodes()
    assert (found.month, [one.node for one in found.living], found.hours) == ("2031-06", [node.node], 0)
    world.wait(5)
    node.beat(NodeState.IDLE, 0)
    assert [one.state for one in world.nodes().nodes] == [NodeState.IDLE]


@pytest.mark.parametrize("fault", ["lost", "away"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_turn_that_the_storage_interrupts_is_made_up_for(world: World, fault: str, number: int) -> None:
    world.service.now_s = MAY.timestamp() + 3600 - 20
    node = world.node(store=world.service.store(lambda at, _: fault if at == number else ""))
    for _ in range(5):
        with contextlib.suppress(StorageUnavailable):
            node.beat(NodeState.RUNNING, 1)
        world.wait(BEAT_S)
    node.leave()
    assert (world.seconds("2031-05"), world.seconds("2031-06")) == (20, 130)
    assert [record.state for record in world.records()] == [NodeState.LEFT] * 2


@pytest.mark.parametrize("today", [datetime(2031, 4, 1, tzinfo=UTC), datetime(2035, 1, 1, tzinfo=UTC)])
def test_a_machine_s_wrong_calendar_does_not_matter(world: World, today: datetime) -> None:
    node = world.node(today=today)
    node.beat(NodeState.IDLE, 0)
    world.wait(10)
    node.leave()
    assert [(record.month, record.seconds) for record in world.records()] == [("2031-05", 10)]


def test_a_first_word_without_an_answer_counts_once_when_the_next_one_falls_into_another_month(world: World) -> None:
    faults = ["lost"]
    node = register(
        world.service.store(lambda _number, _what: faults.pop() if faults else ""),
        "gpu",
        "host-17",
        num_slots=1,
        beat_s=BEAT_S,
        clock=lambda: world.service.now_s,
        today=lambda: datetime.fromtimestamp(world.service.now_s, UTC),
    )
    world.wait(600)
    with pytest.raises(StorageUnavailable):
        node.beat(NodeState.IDLE, 0)
    world.wait(3600)
    node.beat(NodeState.IDLE, 0)
    assert abs(world.seconds("2031-05") - 3600) <= 2 * BEAT_S
    assert abs(world.seconds("2031-06") - 600) <= 2
    assert world.nodes().living[0].node == node.node


def test_a_node_that_was_closed_for_lost_goes_on_where_it_was_counted_to(world: World) -> None:
    world.service.now_s -= 20_000
    node = world.node()
    node.beat(NodeState.RUNNING, 1)
    first = node.node
    world.wait(3700)
    assert fold(world.store, fold_at=1).num_closed == 1
    node.beat(NodeState.RUNNING, 1)
    assert node.node == f"{first}-2"
    world.wait(10)
    node.leave()
    assert world.seconds() == 3710


def test_what_a_node_said_to_nobody_before_it_was_closed_is_counted_by_its_next_record(world: World) -> None:
    world.service.now_s -= 20_000
    node = world.node(store=world.service.store(lambda at, _: "away" if at in (1, 2) else ""))
    node.beat(NodeState.RUNNING, 1)
    for _ in range(2):
        world.wait(100)
        with pytest.raises(StorageUnavailable):
            node.beat(NodeState.RUNNING, 1)
    world.wait(3600)
    assert fold(world.store, fold_at=1).num_closed == 1
    node.leave()
    assert world.seconds() == 3800


def test_a_node_whose_record_was_summed_up_is_never_counted_twice(world: World) -> None:
    world.service.now_s -= 20_000
    node = world.node()
    node.beat(NodeState.RUNNING, 1)
    world.wait(3700)
    fold(world.store, fold_at=1)
    assert fold(world.store, fold_at=1).num_nodes == 1
    assert world.seconds() == BEAT_S
    node.beat(NodeState.RUNNING, 1)
    assert world.seconds() == 3700
    node.leave()
    assert world.seconds() == 3700


def test_a_cap_is_reached_when_the_hours_are_and_gone_with_the_month(world: World) -> None:
    cluster = Cluster("gpu", monthly_node_hours=0.5)
    node = world.node()
    node.beat(NodeState.RUNNING, 1)
    budgets = Budgets(clock=lambda: world.service.now_s)
    world.wait(1799)
    node.beat(NodeState.RUNNING, 1)
    assert budgets.spent(world.store, cluster) is None
    world.wait(29)
    assert budgets.spent(world.store, cluster) is None  # as of 29 s ago
    world.wait(1)
    spent = budgets.spent(world.store, cluster)
    assert spent is not None
    assert spent == budget_of(cluster, world.nodes())
    assert spent.why() == (
        "waits: cluster gpu has used its 0.5 node-hours of 2031-05; "
        "it goes on in 2031-06, or when monthly_node_hours is raised"
    )
    world.service.now_s = MAY.timestamp() + 3600 - 3
    assert budgets.spent(world.store, cluster) is not None
    world.wait(3)
    assert budgets.spent(world.store, cluster) is None


def test_of_a_cap_of_no_hours_no_month_is_told_in_which_it_goes_on(world: World) -> None:
    spent = Budgets(clock=lambda: world.service.now_s).spent(world.store, Cluster("gpu", monthly_node_hours=0))
    assert spent is not None
    cap = "its cap is 0 node-hours: nothing is begun until monthly_node_hours is raised"
    assert spent.why() == f"waits: cluster gpu: {cap}"


def test_a_cluster_without_a_cap_costs_no_operation(world: World) -> None:
    def refuse(_number: int, what: str) -> str:
        raise AssertionError(what)

    assert Budgets().spent(world.service.store(refuse), Cluster("gpu")) is None


def test_a_raised_cap_counts_at_once(world: World) -> None:
    node = world.node()
    node.beat(NodeState.RUNNING, 1)
    world.wait(3600 - 60)
    node.leave()
    budgets = Budgets()
    assert budgets.spent(world.store, Cluster("gpu", monthly_node_hours=0.98)) is not None
    assert budgets.spent(world.store, Cluster("gpu", monthly_node_hours=0.99)) is None
