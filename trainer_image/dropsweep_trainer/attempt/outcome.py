"""What an attempt comes to: from an exit code to a reason with a message for people."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from dropsweep.metrics import is_usable
from dropsweep.records import JobRecord
from dropsweep.spec.job import Retry
from dropsweep.states import JobState, TrialReason, Wish
from dropsweep_trainer.files.reported import Reported
from dropsweep_trainer.processes.command import signal_name
from dropsweep_trainer.sharing import exhaustion
from dropsweep_trainer.sharing.limits import Excess

_STDERR_TAIL_BYTES: Final = 2000
_MAX_LINE: Final = 200
_RETRIED: Final = (TrialReason.EXIT_CODE, TrialReason.SIGNAL, TrialReason.OUT_OF_MEMORY)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the attempt ends.

    Attributes:
        reason, message: why, for programs and for people.
        exit_code: of the process; negative: the signal that ended it; None: there was no process.
        lacked_memory: it ran out of memory, or it may have.
        is_next_alone: another attempt is to be made, alone on its node.
    """

    reason: TrialReason
    message: str = ""
    exit_code: int | None = None
    lacked_memory: bool = False
    is_next_alone: bool = False


def judged(
    exit_code: int,
    primary_metric: str | None,
    reported: Reported,
    stderr: Path,
    opener: Callable[[str, int], int] | None = None,
) -> Outcome:
    """Returns what a command came to that ended by itself.

    Args:
        exit_code: of its process; negative: the signal that ended it.
        primary_metric: what it had to report; None for a command without an objective.
        reported: what it did report.
        stderr: its standard error.
        opener: opens that, as `open` asks for it; None: as `open` does.
    """
    if exit_code:
        return _failed(exit_code, _last_lines(stderr, opener))
    if primary_metric is None or is_usable(reported.latest(is_ended=True).values.get(primary_metric)):
        return Outcome(TrialReason.SUCCEEDED, "", 0)
    return Outcome(TrialReason.NO_METRIC, _no_metric(primary_metric, reported), 0)


def exceeded(excess: Excess, exit_code: int | None) -> Outcome:
    """Returns what a command came to that was ended because it used more than its cluster allows.

    Args:
        excess: what it used too much of.
        exit_code: of its process.
    """
    if excess.is_memory:
        told = f"out of memory, ended by SIGKILL: {excess.message}"
        return Outcome(TrialReason.OUT_OF_MEMORY, told, exit_code, lacked_memory=True)
    return Outcome(TrialReason.SIGNAL, f"ended by SIGKILL: {excess.message}", exit_code)


def retried(outcome: Outcome, retry: Retry | None, num_retries: int) -> Outcome:
    """Turns a failure of the command into another attempt, where the job asks for it.

    To run out of memory is a failure like others: it counts as the SIGKILL that it is.
    """
    if outcome.reason not in _RETRIED or outcome.exit_code is None:
        return outcome
    if retry is None or num_retries >= retry.max_retries or not retry.covers(outcome.exit_code):
        return outcome
    told = f"{outcome.message}; retry {num_retries + 1} of {retry.max_retries} follows"
    return Outcome(TrialReason.RETRYING, told, outcome.exit_code)


def retried_alone(outcome: Outcome, *, was_alone: bool, may_fit: bool) -> Outcome:
    """Turns an end for want of memory into another attempt, alone on its node, once for a trial.

    Args:
        outcome: of this attempt.
        was_alone: this attempt was that other one.
        may_fit: this one had others beside it on its node, or may use more of it when it is alone.
    """
    if not outcome.lacked_memory:
        return outcome
    if was_alone:
        return replace(outcome, message=f"{outcome.message}; it was alone on its node")
    if not may_fit:
        return outcome
    is_known = outcome.reason is TrialReason.OUT_OF_MEMORY
    told = f"{'ran' if is_known else 'it may have run'} out of memory, retried alone on its node"
    return Outcome(
        TrialReason.RETRYING, f"{outcome.message}; {told}", outcome.exit_code, lacked_memory=True, is_next_alone=True
    )


def cancellation(job: JobRecord | None, trial: int) -> tuple[TrialReason, str]:
    """Returns the reason of a cancelled trial, and its message."""
    if job is not None and job.state is not JobState.CANCELLING and job.requests.get(trial) is Wish.CANCEL:
        return TrialReason.TRIAL_CANCELLED, "it was cancelled by request"
    return TrialReason.JOB_CANCELLED, "its job was cancelled"


def _no_metric(primary_metric: str, reported: Reported) -> str:
    latest = reported.latest(is_ended=True)
    value = latest.values.get(primary_metric)
    if value is not None:
        return f"the last value of the primary metric {primary_metric} is {value}: it must be a finite number"
    named = ", ".join(sorted(latest.values)) or "no metric at all"
    unreadable = latest.num_unreadable
    odd = f"; {unreadable} lines of the metrics file were not JSON objects with numbers" if unreadable else ""
    return f"the command ended without the primary metric {primary_metric}; it reported {named}{odd}"


def _failed(exit_code: int, last_lines: Sequence[str]) -> Outcome:
    """What a command came to that failed, from the end of its standard error."""
    is_out_of_memory = exhaustion.is_told(last_lines)
    lacked_memory = is_out_of_memory or exhaustion.is_suspected(exit_code)
    last_words = f": {last_lines[-1][:_MAX_LINE]}" if last_lines else ""
    if exit_code < 0:
        name = signal_name(-exit_code)
        hint = " (out of memory?)" if lacked_memory and not is_out_of_memory else ""
        reason, how = TrialReason.SIGNAL, f"ended by {name}{hint}"
    else:
        reason, how = TrialReason.EXIT_CODE, f"exit code {exit_code}"
    if is_out_of_memory:
        reason = TrialReason.OUT_OF_MEMORY
    return Outcome(reason, f"{how}{last_words}", exit_code, lacked_memory=lacked_memory)


def _last_lines(stderr: Path, opener: Callable[[str, int], int] | None) -> list[str]:
    """The last lines of the command's standard error that are not empty; the very last is for who reads the record."""
    try:
        with open(stderr, "rb", opener=opener) as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _STDERR_TAIL_BYTES))
            lines = stream.read(_STDERR_TAIL_BYTES).decode(errors="replace").split("\n")
    except OSError:
        return []
    # Of colours and the like only what can be read; the record's metadata takes nothing else.
    shown = ("".join(char for char in line if char.isprintable()).strip() for line in lines)
    return list(filter(None, shown))
