"""What trials left is kept beside the next trial: one trial a slot, and nothing is forgotten."""

import threading

from dropsweep.names import JobKey
from dropsweep_trainer.messages.keepers import Keepers, Rests

ONE, OTHER = JobKey("w", "e", "one"), JobKey("w", "e", "other")


class Work:
    """Something to keep that takes until it is let go."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.has_begun = threading.Event()
        self.has_ended = False

    def __call__(self) -> None:
        self.has_begun.set()
        assert self.may_end.wait(60)
        self.has_ended = True


def test_a_slot_goes_on_while_its_trial_is_kept() -> None:
    keepers, work = Keepers(threading.Event()), Work()
    keepers.begin(0, ONE, work)
    assert work.has_begun.wait(60)
    assert not work.has_ended
    work.may_end.set()
    keepers.finish()
    assert work.has_ended


def test_a_slot_s_next_trial_is_kept_only_after_the_one_before_and_other_slots_do_not_wait() -> None:
    keepers, first, second, elsewhere = Keepers(threading.Event()), Work(), Work(), Work()
    keepers.begin(0, ONE, first)
    keepers.begin(1, ONE, elsewhere)
    assert elsewhere.has_begun.wait(60)
    thread = threading.Thread(target=keepers.begin, args=(0, ONE, second))
    thread.start()
    assert not second.has_begun.wait(0.05)
    first.may_end.set()
    assert second.has_begun.wait(60)
    assert first.has_ended
    thread.join()
    second.may_end.set()
    elsewhere.may_end.set()
    keepers.finish()


def test_another_job_s_trial_waits_and_one_of_the_same_job_does_not() -> None:
    keepers, work = Keepers(threading.Event()), Work()
    keepers.begin(0, ONE, work)
    keepers.wait(0, unless=ONE)
    keepers.wait(1)
    assert not work.has_ended
    work.may_end.set()
    assert keepers.wait(0, unless=OTHER)
    assert work.has_ended
    keepers.finish()


def test_who_waits_gives_up_when_its_time_is_over_or_the_worker_is_to_end() -> None:
    stopping, work = threading.Event(), Work()
    keepers = Keepers(stopping)
    keepers.begin(0, ONE, work)
    assert not keepers.wait(0, unless=OTHER, limit_s=0.01)
    stopping.set()
    assert not keepers.wait(0)
    work.may_end.set()
    keepers.finish()
    assert keepers.wait(0)


def test_a_worker_that_is_to_end_keeps_what_its_last_trial_left_beside_what_is_being_kept() -> None:
    stopping, first, second = threading.Event(), Work(), Work()
    keepers = Keepers(stopping)
    keepers.begin(0, ONE, first)
    thread = threading.Thread(target=keepers.begin, args=(0, ONE, second))
    thread.start()
    assert not second.has_begun.wait(0.05)
    stopping.set()
    assert second.has_begun.wait(60)
    assert not first.has_ended
    thread.join()
    second.may_end.set()
    ended = threading.Thread(target=keepers.finish)
    ended.start()
    ended.join(0.05)
    assert ended.is_alive()
    first.may_end.set()
    ended.join(60)
    assert first.has_ended
    assert second.has_ended


def test_what_fails_is_logged_and_the_slot_goes_on() -> None:
    keepers, work = Keepers(threading.Event()), Work()
    work.may_end.set()

    def fail() -> None:
        raise ValueError("nobody foresaw it")

    keepers.begin(0, ONE, fail)
    keepers.begin(0, ONE, work)
    keepers.finish()
    assert work.has_ended


def test_a_rest_is_owed_once_and_grows_until_all_is_well_again() -> None:
    rests = Rests()
    taken = []
    for asked_s in (5.0, 5.0, 30.0, 5.0, 0.0, 5.0):
        rests.note(0, asked_s)
        taken += [rests.take_s(0), rests.take_s(0)]
    assert taken == [5.0, 0.0, 10.0, 0.0, 30.0, 0.0, 60.0, 0.0, 0.0, 0.0, 5.0, 0.0]


def test_a_rest_that_is_asked_for_late_is_not_lost_and_is_its_own_slot_s() -> None:
    rests = Rests()
    rests.note(0, 5.0)
    rests.note(1, 0.0)
    rests.note(0, 0.0)
    assert (rests.take_s(1), rests.take_s(0)) == (0.0, 5.0)


def test_a_rest_has_an_end_however_often_it_is_asked_for() -> None:
    rests = Rests()
    for _ in range(100):
        rests.note(0, 5.0)
    assert rests.take_s(0) == 900.0
