import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from dropsweep.names import JobKey
from dropsweep.records import JobRecord
from dropsweep.states import JobReason, Wish
from dropsweep_trainer.claim import interruption
from dropsweep_trainer.claim.interruption import Asked, Interrupted, Interruption

JOB = JobRecord(
    JobKey("w", "e", "job-0123456789"), "sweep", JobReason.DISPATCHING, "job", 5, datetime(2026, 1, 1, tzinfo=UTC)
)


@dataclass
class Heard:
    job: JobRecord | None
    is_claim_lost: bool = False


@pytest.fixture
def heard() -> Heard:
    return Heard(JOB)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What time it is."""
    now = [1000.0]
    monkeypatch.setattr(interruption.time, "monotonic", lambda: now[0])
    return now


def wishing(heard: Heard, wish: Wish) -> None:
    assert heard.job is not None
    heard.job = replace(heard.job, requests={3: wish})


def ended_by(asked: Asked) -> Interruption | None:
    try:
        asked.check_rest()
    except Interrupted as interrupted:
        return interrupted.interruption
    return None


def test_the_command_is_asked_to_end_at_once(heard: Heard) -> None:
    stopping = threading.Event()
    asked = Asked(heard, 3, stopping, 20)
    assert asked.now() is None
    stopping.set()
    assert asked.now() is Interruption.STOPPING
    wishing(heard, Wish.PAUSE)
    assert asked.now() is Interruption.PAUSED
    wishing(heard, Wish.CANCEL)
    assert asked.now() is Interruption.CANCELLED
    heard.is_claim_lost = True
    assert asked.now() is Interruption.CLAIM_LOST
    with pytest.raises(Interrupted):
        asked.check()


def test_a_job_that_is_gone_is_cancelled() -> None:
    assert Asked(Heard(None), 3, threading.Event(), 20).now() is Interruption.CANCELLED


def test_uploads_go_on_for_the_grace_after_the_trial_was_cancelled(heard: Heard, clock: list[float]) -> None:
    asked = Asked(heard, 3, threading.Event(), 20)
    assert ended_by(asked) is None
    clock[0] += 500
    wishing(heard, Wish.CANCEL)
    assert ended_by(asked) is None
    clock[0] += 20
    assert ended_by(asked) is None
    clock[0] += 1
    assert ended_by(asked) is Interruption.CANCELLED


def test_uploads_do_not_end_for_a_pause_or_a_worker_that_shall_end(heard: Heard, clock: list[float]) -> None:
    stopping = threading.Event()
    stopping.set()
    asked = Asked(heard, 3, stopping, 20)
    wishing(heard, Wish.PAUSE)
    assert ended_by(asked) is None
    clock[0] += 10_000
    assert ended_by(asked) is None


@pytest.mark.parametrize(("limit_s", "allowed_s"), [(5.0, 60), (300.0, 300)])
def test_uploads_have_as_long_as_the_command_had(
    heard: Heard, clock: list[float], limit_s: float, allowed_s: int
) -> None:
    assert heard.job is not None
    heard.job = replace(heard.job, trial_timeout_s=limit_s)
    asked = Asked(heard, 3, threading.Event(), 20)
    assert ended_by(asked) is None
    clock[0] += allowed_s
    assert ended_by(asked) is None
    clock[0] += 1
    assert ended_by(asked) is Interruption.TIMED_OUT


def test_a_claim_that_is_lost_ends_uploads_at_once(heard: Heard) -> None:
    heard.is_claim_lost = True
    assert ended_by(Asked(heard, 3, threading.Event(), 20)) is Interruption.CLAIM_LOST


def test_a_job_that_is_being_cancelled_cancels_each_trial(heard: Heard) -> None:
    assert heard.job is not None
    heard.job = replace(heard.job, reason=JobReason.CANCEL_REQUESTED)
    assert Asked(heard, 3, threading.Event(), 20).now() is Interruption.CANCELLED
