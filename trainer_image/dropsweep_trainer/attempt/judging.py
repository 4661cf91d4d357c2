"""What an attempt comes to, by how its command ended and what asked for that."""

from dataclasses import replace
from typing import assert_never

from dropsweep.states import TrialReason
from dropsweep_trainer.attempt.attempt import Attempt
from dropsweep_trainer.attempt.outcome import Outcome, cancellation, exceeded, judged, retried, retried_alone
from dropsweep_trainer.attempt.watching import CommandEnd
from dropsweep_trainer.claim.interruption import Interruption


def judge(attempt: Attempt, end: CommandEnd, *, had_company: bool) -> Outcome:
    """Returns what an attempt comes to.

    Args:
        attempt: whose processes are gone.
        end: how its command ended, or why it was not started.
        had_company: others ran beside it on its node.

    Raises:
        ClaimLost: another worker has the trial.
    """
    exit_code = end.exit_code
    match end.interruption:
        case Interruption.STOPPING:
            return Outcome(TrialReason.PREEMPTED, "its worker was stopped; the trial waits for another", exit_code)
        case Interruption.CANCELLED:
            return Outcome(*cancellation(attempt.heartbeat.job, attempt.trial), exit_code)
        case Interruption.PAUSED:
            return Outcome(TrialReason.PAUSED, "paused by request; it goes on from its last checkpoint", exit_code)
        case Interruption.TIMED_OUT:
            limit_s = attempt.asked.limit_s or 0
            return Outcome(TrialReason.TRIAL_TIMEOUT, f"limits.trial_timeout of {limit_s:g} s has passed", exit_code)
        case Interruption.CLAIM_LOST:
            raise attempt.claim_lost()
        case Interruption.EXCESSIVE:
            assert end.excess is not None
            return _retried(attempt, exceeded(end.excess, exit_code), end, had_company=had_company)
        case None:
            stderr, opener = attempt.folders.stderr, attempt.reach.opener
            outcome = judged(exit_code or 0, attempt.primary_metric, attempt.reported, stderr, opener)
            outcome = replace(outcome, message=attempt.limits.hint(outcome.message))
            return _retried(attempt, outcome, end, had_company=had_company)
        case _:
            assert_never(end.interruption)


def _retried(attempt: Attempt, outcome: Outcome, end: CommandEnd, *, had_company: bool) -> Outcome:
    """Turns a failure into another attempt, for want of memory or where the job asks for it."""
    limits, limits_alone = attempt.node.limits, attempt.node.limits_alone
    has_more = limits_alone.memory_bytes != limits.memory_bytes if end.excess else bool(attempt.slot.shared)
    outcome = retried_alone(outcome, was_alone=attempt.is_alone, may_fit=had_company or has_more)
    return retried(outcome, attempt.spec.retry, attempt.claim.record.num_retries)
