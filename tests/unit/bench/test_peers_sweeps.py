"""How closely a sweep of the race is looked at; no sweep runs."""

import pytest

from bench.peers.sweeps import _Progress

BEGAN = 1000.0


def test_while_no_trial_has_ended_it_is_not_known_when_they_will_have() -> None:
    progress = _Progress(BEGAN)
    assert progress.left_s(0, 0, BEGAN + 1) == 0.0
    assert progress.left_s(0, 64, BEGAN + 2) == 0.0


def test_counts_that_stand_still_do_not_move_the_end_away() -> None:
    progress = _Progress(BEGAN)
    assert progress.left_s(16, 64, BEGAN + 4) == pytest.approx(12.0)
    assert progress.left_s(16, 64, BEGAN + 10) == pytest.approx(6.0)
    assert progress.left_s(32, 64, BEGAN + 12) == pytest.approx(12.0)


def test_what_takes_longer_than_it_should_may_end_at_any_time() -> None:
    progress = _Progress(BEGAN)
    progress.left_s(32, 64, BEGAN + 8)
    assert progress.left_s(32, 64, BEGAN + 20) == 0.0
