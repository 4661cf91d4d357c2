"""When a worker ends for want of work: its clock, its queues and its cluster are told, none is real."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from dropsweep_trainer.worker.idleness import Idleness

LIMIT_S = 120.0


class Ticks(threading.Event):
    """Waiting for it takes no time, and moves a worker's clock."""

    def __init__(self, worker: "Worker") -> None:
        super().__init__()
        self._worker = worker

    def wait(self, timeout: float | None = None) -> bool:
        self._worker.now_s += timeout or 0.0
        return self.is_set()


class Worker:
    """An idleness whose surroundings a test moves."""

    def __init__(self, *, num_slots: int = 2, is_scaled: bool = True, **given: Any) -> None:
        self.now_s = 1000.0
        self.emptied_s = 0.0
        self.num_asked = 0
        self.may_leave = True
        self.before_answer: Callable[[], None] = lambda: None
        self.stopping = Ticks(self)
        self.idleness = Idleness(
            self.stopping,
            lambda moment_s: self.emptied_s >= moment_s,
            num_slots=num_slots,
            is_scaled=is_scaled,
            may_leave=self.asked,
            now_s=lambda: self.now_s,
            **{"limit_s": LIMIT_S, **given},
        )

    def asked(self) -> bool:
        self.num_asked += 1
        self.before_answer()
        return self.may_leave

    def finds_nothing(self) -> None:
        """A slot looks into all queues and finds nothing."""
        assert self.idleness.begin()
        self.emptied_s = self.now_s
        self.idleness.end()
        self.idleness.leave_if_idle()

    def runs_a_trial(self, seconds: float = 1.0) -> None:
        """A slot finds a message and runs its trial."""
        assert self.idleness.begin()
        with self.idleness.running():
            self.now_s += seconds
        self.idleness.end()


def test_a_scaled_worker_that_finds_nothing_at_first_ends_at_once() -> None:
    worker = Worker()
    assert not worker.idleness.is_over
    worker.finds_nothing()
    assert worker.idleness.is_over
    assert not worker.idleness.begin()


def test_a_scaled_worker_does_not_end_before_it_has_looked_into_every_queue() -> None:
    worker = Worker()
    worker.idleness.leave_if_idle()
    assert not worker.idleness.is_over


def test_a_scaled_worker_that_has_run_a_trial_ends_after_its_idle_time() -> None:
    worker = Worker()
    worker.runs_a_trial()
    worker.now_s += LIMIT_S - 1
    worker.finds_nothing()
    assert not worker.idleness.is_over
    worker.now_s += 1
    worker.finds_nothing()
    assert worker.idleness.is_over


def test_a_message_without_a_trial_to_run_does_not_keep_a_scaled_worker() -> None:
    worker = Worker()
    assert worker.idleness.begin()
    worker.idleness.end()
    worker.now_s += 0.1
    worker.finds_nothing()
    assert worker.idleness.is_over


def test_a_worker_that_nothing_scales_never_ends_for_want_of_work() -> None:
    worker = Worker(is_scaled=False, limit_s=None)
    worker.finds_nothing()
    worker.now_s += 1e9
    worker.finds_nothing()
    assert not worker.idleness.is_over


def test_one_slot_with_a_trial_keeps_all_of_them() -> None:
    worker = Worker()
    assert worker.idleness.begin()
    with worker.idleness.running():
        worker.now_s += 10 * LIMIT_S
        worker.finds_nothing()
        assert (worker.idleness.is_over, worker.idleness.num_running) == (False, 1)
    worker.idleness.end()
    worker.finds_nothing()
    assert (worker.idleness.is_over, worker.idleness.num_running) == (False, 0)


def test_a_worker_waits_for_a_slot_that_is_looking() -> None:
    worker = Worker(num_slots=2)
    assert worker.idleness.begin()
    worker.finds_nothing()
    assert not worker.idleness.is_over


def test_a_worker_ends_only_after_a_look_that_began_when_it_was_idle() -> None:
    worker = Worker(limit_s=0.0)
    worker.emptied_s = worker.now_s
    worker.runs_a_trial()
    worker.idleness.leave_if_idle()
    assert not worker.idleness.is_over
    worker.finds_nothing()
    assert worker.idleness.is_over


def test_a_worker_that_its_cluster_cannot_do_without_stays() -> None:
    worker = Worker()
    worker.may_leave = False
    worker.finds_nothing()
    worker.finds_nothing()
    assert (worker.idleness.is_over, worker.num_asked) == (False, 2)
    worker.may_leave = True
    worker.finds_nothing()
    assert worker.idleness.is_over


def test_work_that_comes_while_the_cluster_is_asked_keeps_the_worker() -> None:
    worker = Worker()
    worker.before_answer = lambda: worker.runs_a_trial()
    worker.finds_nothing()
    assert (worker.num_asked, worker.idleness.is_over) == (1, False)


def test_a_worker_whose_slots_all_rest_ends_after_its_idle_time_without_another_look() -> None:
    worker = Worker(num_slots=1)
    worker.runs_a_trial()
    worker.idleness.rest(900.0)
    assert worker.idleness.is_over
    assert worker.now_s == pytest.approx(1001.0 + LIMIT_S, abs=1)


def test_a_worker_that_is_told_to_stop_looks_for_nothing_more() -> None:
    worker = Worker(is_scaled=False, limit_s=None)
    worker.stopping.set()
    assert worker.idleness.is_over
    assert not worker.idleness.begin()


def test_messages_that_are_only_read_do_not_keep_a_worker() -> None:
    worker = Worker()
    worker.runs_a_trial()
    for _ in range(3):
        worker.now_s += LIMIT_S / 3
        assert worker.idleness.begin()
        worker.idleness.end()
    worker.finds_nothing()
    assert worker.idleness.is_over


def fails_to_look(worker: Worker, seconds: float) -> None:
    """A slot asks for messages and gets an error, in the end."""
    assert worker.idleness.begin()
    worker.now_s += seconds
    worker.idleness.end()
    worker.idleness.end_if_cut_off()


def test_a_scaled_worker_that_cannot_look_ends_after_its_idle_time_without_asking_its_cluster() -> None:
    worker = Worker()
    worker.may_leave = False
    fails_to_look(worker, LIMIT_S - 1)
    assert not worker.idleness.is_over
    fails_to_look(worker, 1)
    assert (worker.idleness.is_over, worker.num_asked) == (True, 0)


def test_a_failed_look_does_not_end_a_worker_that_its_cluster_cannot_do_without() -> None:
    worker = Worker()
    worker.may_leave = False
    worker.now_s += 10 * LIMIT_S
    worker.finds_nothing()
    fails_to_look(worker, LIMIT_S - 1)
    assert not worker.idleness.is_over


def test_a_worker_that_cannot_look_runs_its_trial_to_the_end() -> None:
    worker = Worker()
    with worker.idleness.running():
        fails_to_look(worker, 10 * LIMIT_S)
        assert not worker.idleness.is_over
    fails_to_look(worker, LIMIT_S - 1)
    assert not worker.idleness.is_over


@pytest.mark.parametrize(("is_scaled", "limit_s"), [(False, LIMIT_S), (True, None)])
def test_a_worker_that_no_scaler_started_outlives_every_outage(is_scaled: bool, limit_s: float | None) -> None:
    worker = Worker(is_scaled=is_scaled, limit_s=limit_s)
    fails_to_look(worker, 10 * LIMIT_S)
    assert not worker.idleness.is_over


def test_a_worker_takes_no_message_once_it_has_lived_for_as_long_as_it_was_told() -> None:
    worker = Worker(leave_after_s=50.0, is_scaled=False, limit_s=None)
    worker.may_leave = False
    assert worker.idleness.begin()
    with worker.idleness.running():
        worker.now_s += 49
        assert not worker.idleness.is_over
        worker.now_s += 1
        assert (worker.idleness.is_over, worker.idleness.begin()) == (True, False)
    assert not worker.stopping.is_set()
