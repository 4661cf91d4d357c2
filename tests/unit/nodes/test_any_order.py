"""Nodes that come, speak, fall silent, wake up and go in any order, with passes that die and answers that are lost."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from dropsweep.errors import StorageUnavailable
from dropsweep.nodes import hours_of
from dropsweep.states import NodeState
from dropsweep.steps.fold import fold
from dropsweep.steps.register import Registration, register
from tests.unit.nodes.memory import Died, Service

BEGIN = datetime(2031, 5, 31, 12, 0, tzinfo=UTC)
MONTHS = [f"2031-{number:02}" for number in range(5, 13)]
BEAT_S = 30.0
FAULTS = st.tuples(st.integers(0, 12), st.sampled_from(["", "dies before", "dies after", "lost", "away"]))


@dataclass
class Machine:
    """One node, and what is known of it for sure.

    Attributes:
        came_s, gone_s: its life, by the service's clock, which nobody tells it.
        said_s: its life as of the last word that the storage confirmed, as long as it confirmed each.
        has_missed: a word was not confirmed, or the node was silent for long.
    """

    registration: Registration
    came_s: float
    faults: list[str] = field(default_factory=list)
    gone_s: float | None = None
    said_s: float = 0.0
    has_missed: bool = False


class Clusters(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.service = Service(BEGIN.timestamp())
        self.machines: list[Machine] = []
        self.counted = self.count()

    @rule(skew_s=st.floats(-1e6, 1e6))
    def come(self, skew_s: float) -> None:
        faults: list[str] = []

        def fault(_number: int, _what: str) -> str:
            return faults.pop(0) if faults else ""

        registration = register(
            self.service.store(fault),
            "gpu",
            f"w-{len(self.machines)}",
            num_slots=1,
            beat_s=BEAT_S,
            clock=lambda: self.service.now_s + skew_s,
            today=self.service.now,
        )
        self.machines.append(Machine(registration, self.service.now_s, faults))

    @rule(which=st.integers(0, 9), faults=st.lists(st.sampled_from(["", "lost", "away"]), max_size=3))
    def beat(self, which: int, faults: list[str]) -> None:
        self.act(which, faults, lambda node: node.registration.beat(NodeState.RUNNING, 1))

    @rule(which=st.integers(0, 9), faults=st.lists(st.sampled_from(["", "lost", "away"]), max_size=2))
    def leave(self, which: int, faults: list[str]) -> None:
        def go(node: Machine) -> None:
            node.gone_s = self.service.now_s
            node.registration.leave()

        self.act(which, faults, go)

    @rule(which=st.integers(0, 9))
    def be_killed(self, which: int) -> None:
        living = self.living()
        if living:
            living[which % len(living)].gone_s = self.service.now_s

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds: float) -> None:
        """Less than makes any node lost that speaks in between."""
        self.service.now_s += seconds

    @rule(hours=st.floats(1.1, 400))
    def wait_long(self, hours: float) -> None:
        """Longer than it takes until silent nodes are closed."""
        self.service.now_s += hours * 3600
        # What a node used that was closed meanwhile is not counted when it wakes up in another month.
        for node in self.machines:
            node.has_missed = True

    @rule(at=FAULTS, fold_at=st.integers(1, 4))
    def sum_up(self, at: tuple[int, str], fold_at: int) -> None:
        before = self.count()
        store = self.service.store(lambda number, _: at[1] if number == at[0] else "")
        with contextlib.suppress(Died, StorageUnavailable):
            fold(store, fold_at=fold_at)
        assert self.count() == before

    @invariant()
    def no_second_counts_twice(self) -> None:
        used_s = sum((node.gone_s or self.service.now_s) - node.came_s for node in self.machines)
        # Of each node one beat that it may not have lived, and the rounding of each of its records.
        slack_s = sum(BEAT_S + 2 * (len(MONTHS) + 1) for _ in self.machines)
        assert sum(self.count().values()) <= used_s + slack_s

    @invariant()
    def what_was_said_stays_counted(self) -> None:
        assert sum(self.count().values()) >= sum(int(node.said_s) for node in self.machines)

    @invariant()
    def hours_never_fall(self) -> None:
        now = self.count()
        for month, seconds in self.counted.items():
            # A node that speaks may say a second or two less than was counted just before.
            assert now[month] >= seconds - 2 * len(self.machines)
        self.counted = now

    def act(self, which: int, faults: list[str], do: Callable[[Machine], None]) -> None:
        living = self.living()
        if not living:
            return
        node = living[which % len(living)]
        node.faults[:] = faults
        try:
            do(node)
        except StorageUnavailable:
            node.has_missed = True
        else:
            if not node.has_missed:
                node.said_s = self.service.now_s - node.came_s
        node.faults.clear()

    def living(self) -> list[Machine]:
        return [node for node in self.machines if node.gone_s is None]

    def count(self) -> dict[str, int]:
        store = self.service.store()
        return {month: round(hours_of(store, "gpu", month) * 3600) for month in MONTHS}


def test_nodes_in_any_order() -> None:
    run_state_machine_as_test(Clusters, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))  # type: ignore[no-untyped-call]
