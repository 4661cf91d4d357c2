import threading
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from dropsweep_trainer.sharing.alone import Gate, Pass

DEADLINE_S = 60.0


class Asker:
    """A trial that goes through a gate in a thread of its own, and stays past it until it is told to go."""

    def __init__(self, gate: Gate, *, is_alone: bool, check: Callable[[], None] = lambda: None) -> None:
        self.is_past = threading.Event()
        self.may_go = threading.Event()
        self.waits = threading.Event()
        self.error: Exception | None = None
        self.place: Pass | None = None
        self._gate = gate
        self._is_alone = is_alone
        self._check = check
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        def check() -> None:
            self.waits.set()
            self._check()

        try:
            with self._gate.passing(is_alone=self._is_alone, check=check) as self.place:
                self.is_past.set()
                assert self.may_go.wait(DEADLINE_S)
        except Exception as error:  # noqa: BLE001 - looked at by the test
            self.error = error

    def past(self) -> "Asker":
        assert self.is_past.wait(DEADLINE_S)
        return self

    def waiting(self) -> "Asker":
        assert self.waits.wait(DEADLINE_S)
        assert not self.is_past.is_set()
        return self

    def go(self) -> "Asker":
        self.may_go.set()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        return self


def test_trials_pass_beside_each_other() -> None:
    gate = Gate()
    first = Asker(gate, is_alone=False).past()
    second = Asker(gate, is_alone=False).past()
    assert not gate.is_closed
    first.go()
    second.go()


def test_one_that_is_to_be_alone_waits_for_all_before_it_and_is_waited_for_by_all_after_it() -> None:
    gate = Gate()
    before = [Asker(gate, is_alone=False).past() for _ in range(2)]
    alone = Asker(gate, is_alone=True).waiting()
    after = Asker(gate, is_alone=False).waiting()
    assert gate.is_closed
    before[0].go()
    alone.waiting()
    before[1].go()
    alone.past()
    assert not after.is_past.is_set()
    assert gate.is_closed
    alone.go()
    after.past()
    assert not gate.is_closed
    after.go()


def test_two_that_are_to_be_alone_follow_each_other() -> None:
    gate = Gate()
    first = Asker(gate, is_alone=True).past()
    second = Asker(gate, is_alone=True).waiting()
    first.go()
    second.past().go()
    assert not gate.is_closed


def test_a_trial_knows_whether_others_ran_beside_it() -> None:
    gate = Gate()
    long = Asker(gate, is_alone=False).past()
    assert long.place is not None
    assert not long.place.had_company
    Asker(gate, is_alone=False).past().go()
    long.go()
    assert long.place.had_company
    later = Asker(gate, is_alone=False).past().go()
    assert later.place is not None
    assert not later.place.had_company
    alone = Asker(gate, is_alone=True).past().go()
    assert alone.place is not None
    assert not alone.place.had_company


def test_one_that_gives_up_waiting_holds_nobody_up() -> None:
    gate = Gate()
    stopping = threading.Event()

    def check() -> None:
        if stopping.is_set():
            raise InterruptedError("told to stop")

    long = Asker(gate, is_alone=False).past()
    alone = Asker(gate, is_alone=True, check=check).waiting()
    after = Asker(gate, is_alone=False).waiting()
    stopping.set()
    after.past().go()
    alone.go()
    assert isinstance(alone.error, InterruptedError)
    assert not gate.is_closed
    long.go()


def test_an_error_past_the_gate_opens_it() -> None:
    gate = Gate()
    with pytest.raises(ValueError, match="wrong"), gate.passing(is_alone=True):
        raise ValueError("wrong")
    with ExitStack() as stack:
        stack.enter_context(gate.passing(is_alone=False))
        stack.enter_context(gate.passing(is_alone=False))
