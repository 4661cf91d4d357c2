"""Summing up what nodes used: no second is lost or counted twice, wherever a pass dies and whoever looks meanwhile."""

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from dropsweep import nodes as nodes_module
from dropsweep.errors import StorageUnavailable
from dropsweep.names import NODES, RUNS, month_of, node_hours
from dropsweep.nodes import hours_of, list_nodes
from dropsweep.records.node import HoursLedger, NodeRecord
from dropsweep.states import NodeState
from dropsweep.steps.fold import FOLD_AT, Folded, fold
from tests.unit.nodes.memory import Died, Service

AT = datetime(2031, 5, 20, tzinfo=UTC)
CRASHES = ["dies before", "dies after", "lost", "away"]


def leave(service: Service, name: str, *, seconds: int = 7, state: NodeState = NodeState.LEFT, month: str = "") -> None:
    """Has a node stand there that has said so."""
    record = NodeRecord(
        cluster="gpu",
        month=month or month_of(service.now()),
        node=name,
        worker=name,
        state=state,
        num_slots=1,
        beat_s=30.0,
        seconds=seconds,
        started=service.now(),
    )
    path = f"{NODES}gpu/{record.month}/{name}.json"
    assert service.store().blobs.create(RUNS, path, record.to_json(), record.to_metadata())


def seconds(service: Service, fault: Callable[[int, str], str] = lambda number, what: "") -> int:
    return round(hours_of(service.store(fault), "gpu", "2031-05") * 3600)


def made(num_left: int = 5, *, num_lost: int = 0, num_living: int = 0) -> Service:
    service = Service(AT.timestamp())
    for k in range(num_lost):
        leave(service, f"lost-{k}", seconds=1000 + k, state=NodeState.RUNNING)
    service.now_s += 7200
    for k in range(num_left):
        leave(service, f"left-{k}", seconds=2**k)
        service.now_s += 1
    for k in range(num_living):
        leave(service, f"living-{k}", seconds=10_000 + k, state=NodeState.IDLE)
    return service


def paths(service: Service) -> list[str]:
    return sorted(name.removeprefix(f"{NODES}gpu/") for _, name in service.blobs)


def ledger(service: Service) -> HoursLedger:
    return HoursLedger.from_json(service.blobs[RUNS, node_hours("gpu", "2031-05")].body)


def test_nodes_that_have_left_are_summed_up_and_living_ones_stay() -> None:
    service = made(5, num_living=2)
    before = seconds(service)
    assert fold(service.store(), fold_at=1) == Folded(num_nodes=5)
    assert paths(service) == ["2031-05.json", "2031-05/living-0.json", "2031-05/living-1.json"]
    assert ledger(service) == HoursLedger("gpu", "2031-05", 31, 5, (), 2)
    assert seconds(service) == before == 31 + 20_001
    assert list_nodes(service.store(), "gpu").num_folded == 5


def test_a_few_are_left_alone_and_the_last_ones_stay_for_people_to_see() -> None:
    service = made(FOLD_AT - 1)
    assert fold(service.store()) == Folded()
    leave(service, "one-more")
    assert fold(service.store()) == Folded(num_nodes=FOLD_AT // 2)
    last = [f"left-{k}" for k in range(FOLD_AT // 2, FOLD_AT - 1)] + ["one-more"]
    assert {node.node for node in list_nodes(service.store(), "gpu").nodes} == set(last)


def test_lost_nodes_are_closed_first_and_summed_up_by_the_next_pass() -> None:
    service = made(1, num_lost=2)
    before = seconds(service)
    assert fold(service.store(), fold_at=1) == Folded(num_nodes=1, num_closed=2)
    assert seconds(service) == before == 1 + 2 * 1030 + 1
    assert {node.state for node in list_nodes(service.store(), "gpu").nodes} == {NodeState.LEFT}
    assert fold(service.store(), fold_at=1) == Folded(num_nodes=2)
    assert seconds(service) == before


def test_a_pass_without_nodes_costs_one_operation() -> None:
    operations: list[str] = []
    fold(Service().store(lambda _, what: operations.append(what) or ""))  # type: ignore[func-returns-value]
    assert operations == ["folders"]


@pytest.mark.parametrize("fault", CRASHES)
def test_a_pass_may_die_anywhere(fault: str) -> None:
    number, num_spoilt = 0, 1
    while num_spoilt:
        service = made(4, num_lost=2, num_living=1)
        before = seconds(service)
        num_spoilt = 0

        def script(at: int, _what: str, number: int = number) -> str:
            nonlocal num_spoilt
            num_spoilt += at == number
            return fault if at == number else ""

        for _ in range(2):
            with contextlib.suppress(Died, StorageUnavailable):
                fold(service.store(script if not num_spoilt else lambda at, what: ""), fold_at=1)
            assert seconds(service) == before, number
        for _ in range(3):
            fold(service.store(), fold_at=1)
            assert seconds(service) == before, number
        assert paths(service) == ["2031-05.json", "2031-05/living-0.json"]
        assert (ledger(service).num_nodes, ledger(service).folding) == (6, ())
        number += 1
    assert number > 12


@pytest.mark.parametrize("page", [5000, 2])
def test_who_looks_while_a_pass_is_under_way_sees_every_second_once(page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes_module, "_PAGE", page)
    num_cases = 0
    for num_before in range(16):  # operations of a pass before the look, which may be more than it has
        for at in range(6):  # the look's operation before which the pass goes on
            for num_more in range(0, 18, 3):
                service = made(4, num_living=1)
                before = seconds(service)
                part(service, num_before)

                def go_on(number: int, _what: str, at: int = at, num_more: int = num_more) -> str:
                    if number == at:
                        part(service, num_more)  # noqa: B023  # called in this very round
                    return ""

                assert seconds(service, go_on) == before, (num_before, at, num_more)
                num_cases += 1
    assert num_cases == 16 * 6 * 6


def part(service: Service, num_operations: int) -> None:
    """Runs the first operations of a pass."""
    with contextlib.suppress(Died):
        fold(service.store(lambda number, _: "dies before" if number == num_operations else ""), fold_at=1)


@pytest.mark.parametrize("num_of_other", range(0, 16))
@pytest.mark.parametrize("num_before", [0, 2])
def test_two_passes_at_once_take_no_node_twice(num_of_other: int, num_before: int) -> None:
    for at in range(20):
        service = made(4, num_lost=1, num_living=1)
        for k in range(num_before):
            leave(service, f"before-{k}", seconds=100 + k)
        if num_before:
            fold(service.store(), fold_at=4)  # so that there is a ledger already
        before = seconds(service)

        def interrupt(number: int, _what: str, at: int = at) -> str:
            if number == at:
                part(service, num_of_other)  # noqa: B023  # called in this very round
                assert seconds(service) == before  # noqa: B023
            return ""

        fold(service.store(interrupt), fold_at=1)
        assert seconds(service) == before, at
        fold(service.store(), fold_at=1)
        fold(service.store(), fold_at=1)
        assert seconds(service) == before, at
        assert ledger(service).num_nodes == 5 + num_before


@pytest.mark.parametrize("when", ["head", "replace"])
def test_a_node_that_speaks_again_while_it_is_closed_stays_open(when: str) -> None:
    service = made(0, num_lost=1)

    def speak(_number: int, what: str) -> str:
        if what == when:
            kept = service.blobs[RUNS, f"{NODES}gpu/2031-05/lost-0.json"]
            assert service.store().blobs.touch(
                RUNS, f"{NODES}gpu/2031-05/lost-0.json", kept.etag, {**kept.metadata, "seconds": "8200"}
            )
        return ""

    assert fold(service.store(speak), fold_at=1) == Folded()
    assert seconds(service) == 8200


def test_months_long_ago_are_deleted_with_what_cannot_be_read_in_them() -> None:
    service = made(3)
    fold(service.store(), fold_at=2)
    for month in ("2030-03", "2030-04"):
        leave(service, "old", month=month)
    broken = f"{NODES}gpu/2030-03/broken.json"
    assert service.store().blobs.create(RUNS, broken, b"?")
    assert fold(service.store()) == Folded(num_deleted=2)
    assert paths(service) == ["2030-04/old.json", "2031-05.json", "2031-05/left-2.json"]


def test_a_broken_record_costs_the_hours_of_that_node_alone(caplog: pytest.LogCaptureFixture) -> None:
    service = made(3)
    kept = service.blobs[RUNS, f"{NODES}gpu/2031-05/left-1.json"]
    assert service.store().blobs.touch(RUNS, f"{NODES}gpu/2031-05/left-1.json", kept.etag, {"state": "?"})
    assert seconds(service) == 1 + 4
    assert fold(service.store(), fold_at=1).num_nodes == 2
    assert seconds(service) == 1 + 4
    assert "left-1" in caplog.text


def test_a_broken_ledger_is_left_alone_and_counts_nothing(caplog: pytest.LogCaptureFixture) -> None:
    service = made(3)
    path = node_hours("gpu", "2031-05")
    assert service.store().blobs.create(RUNS, path, b"?", {"seconds": "soon"})
    assert fold(service.store(), fold_at=1) == Folded()
    assert "mend it by hand" in caplog.text
    assert seconds(service) == 7
    assert service.blobs[RUNS, path].body == b"?"


def test_a_ledger_whose_names_cannot_be_read_still_counts(caplog: pytest.LogCaptureFixture) -> None:
    service = made(3)
    taken = HoursLedger("gpu", "2031-05", 100, 9, ("left-0",), 5)
    assert service.store().blobs.create(RUNS, node_hours("gpu", "2031-05"), b"?", taken.to_metadata())
    assert seconds(service) == 107
    assert "cannot be read" in caplog.text or "is not JSON" in caplog.text
