"""States of jobs and trials: one table of reasons, one table of moves.

A record stores its reason; its state follows from the reason (`JOB_STATE`, `TRIAL_STATE`). Final states are never left,
but by a person's `retry` (`JOB_REOPENED`, `TRIAL_REOPENED`).
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from dropsweep.errors import IllegalMove


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REJECTED = "rejected"

    @property
    def is_final(self) -> bool:
        """True when the job never changes again, unless a person retries it."""
        return not JOB_MOVES[self]


class JobReason(StrEnum):
    """Why a job is in its state."""

    ACCEPTED = "accepted"
    DISPATCHING = "dispatching"
    PAUSE_REQUESTED = "pause_requested"
    RESUMED = "resumed"
    RETRY_REQUESTED = "retry_requested"
    CANCEL_REQUESTED = "cancel_requested"
    TIMEOUT_PASSED = "timeout_passed"
    TRIALS_COMPLETED = "trials_completed"
    NO_TRIAL_COMPLETED = "no_trial_completed"
    CANCELLED_BY_REQUEST = "cancelled_by_request"
    CANCELLED_BY_TIMEOUT = "cancelled_by_timeout"
    SPEC_INVALID = "spec_invalid"


class TrialState(StrEnum):
    """Where a trial stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """True when the trial never changes again, unless a person retries it."""
        return not TRIAL_MOVES[self]


class TrialReason(StrEnum):
    """Why a trial is in its state."""

    CLAIMED = "claimed"
    PREEMPTED = "preempted"
    WORKER_LOST = "worker_lost"
    NODE_ERROR = "node_error"
    RETRYING = "retrying"
    RETRY_REQUESTED = "retry_requested"
    PAUSED = "paused"
    RESUMED = "resumed"
    SUCCEEDED = "succeeded"
    EXIT_CODE = "exit_code"
    SIGNAL = "signal"
    NO_METRIC = "no_metric"
    TRIAL_TIMEOUT = "trial_timeout"
    STAGING_FAILED = "staging_failed"
    START_FAILED = "start_failed"
    OUTPUTS_FAILED = "outputs_failed"
    WORKERS_LOST = "workers_lost"
    OUT_OF_MEMORY = "out_of_memory"
    STOPPED_EARLY = "stopped_early"
    JOB_CANCELLED = "job_cancelled"
    TRIAL_CANCELLED = "trial_cancelled"


class NodeState(StrEnum):
    """Where a node of a cluster stands, by its own last word."""

    PREPARING = "preparing"
    IDLE = "idle"
    RUNNING = "running"
    LEAVING = "leaving"
    LEFT = "left"
    UNUSABLE = "unusable"

    @property
    def is_final(self) -> bool:
        """True when the node is gone, and said so."""
        return self in (NodeState.LEFT, NodeState.UNUSABLE)


class Wish(StrEnum):
    """What shall become of a trial that is not final."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"


JOB_STATE: Final[Mapping[JobReason, JobState]] = MappingProxyType(
    {
        JobReason.ACCEPTED: JobState.QUEUED,
        JobReason.DISPATCHING: JobState.RUNNING,
        JobReason.PAUSE_REQUESTED: JobState.PAUSED,
        JobReason.RESUMED: JobState.RUNNING,
        JobReason.RETRY_REQUESTED: JobState.RUNNING,
        JobReason.CANCEL_REQUESTED: JobState.CANCELLING,
        JobReason.TIMEOUT_PASSED: JobState.CANCELLING,
        JobReason.TRIALS_COMPLETED: JobState.COMPLETED,
        JobReason.NO_TRIAL_COMPLETED: JobState.FAILED,
        JobReason.CANCELLED_BY_REQUEST: JobState.CANCELLED,
        JobReason.CANCELLED_BY_TIMEOUT: JobState.CANCELLED,
        JobReason.SPEC_INVALID: JobState.REJECTED,
    }
)

TRIAL_STATE: Final[Mapping[TrialReason, TrialState]] = MappingProxyType(
    {
        TrialReason.CLAIMED: TrialState.RUNNING,
        TrialReason.PREEMPTED: TrialState.QUEUED,
        TrialReason.WORKER_LOST: TrialState.QUEUED,
        TrialReason.NODE_ERROR: TrialState.QUEUED,
        TrialReason.RETRYING: TrialState.QUEUED,
        TrialReason.RETRY_REQUESTED: TrialState.QUEUED,
        TrialReason.PAUSED: TrialState.PAUSED,
        TrialReason.RESUMED: TrialState.QUEUED,
        TrialReason.SUCCEEDED: TrialState.COMPLETED,
        TrialReason.EXIT_CODE: TrialState.FAILED,
        TrialReason.SIGNAL: TrialState.FAILED,
        TrialReason.NO_METRIC: TrialState.FAILED,
        TrialReason.TRIAL_TIMEOUT: TrialState.FAILED,
        TrialReason.STAGING_FAILED: TrialState.FAILED,
        TrialReason.START_FAILED: TrialState.FAILED,
        TrialReason.OUTPUTS_FAILED: TrialState.FAILED,
        TrialReason.WORKERS_LOST: TrialState.FAILED,
        TrialReason.OUT_OF_MEMORY: TrialState.FAILED,
        TrialReason.STOPPED_EARLY: TrialState.STOPPED,
        TrialReason.JOB_CANCELLED: TrialState.CANCELLED,
        TrialReason.TRIAL_CANCELLED: TrialState.CANCELLED,
    }
)

JOB_MOVES: Final[Mapping[JobState, frozenset[JobState]]] = MappingProxyType(
    {
        JobState.QUEUED: frozenset({JobState.RUNNING, JobState.PAUSED, JobState.CANCELLING}),
        JobState.RUNNING: frozenset({JobState.PAUSED, JobState.COMPLETED, JobState.FAILED, JobState.CANCELLING}),
        JobState.PAUSED: frozenset({JobState.RUNNING, JobState.COMPLETED, JobState.FAILED, JobState.CANCELLING}),
        JobState.CANCELLING: frozenset({JobState.CANCELLED}),
        JobState.COMPLETED: frozenset(),
        JobState.FAILED: frozenset(),
        JobState.CANCELLED: frozenset(),
        JobState.REJECTED: frozenset(),
    }
)

TRIAL_MOVES: Final[Mapping[TrialState, frozenset[TrialState]]] = MappingProxyType(
    {
        TrialState.QUEUED: frozenset({TrialState.RUNNING, TrialState.CANCELLED, TrialState.FAILED}),
        TrialState.RUNNING: frozenset(
            {
                TrialState.QUEUED,
                TrialState.PAUSED,
                TrialState.COMPLETED,
                TrialState.FAILED,
                TrialState.STOPPED,
                TrialState.CANCELLED,
            }
        ),
        TrialState.PAUSED: frozenset({TrialState.QUEUED, TrialState.CANCELLED}),
        TrialState.COMPLETED: frozenset(),
        TrialState.FAILED: frozenset(),
        TrialState.STOPPED: frozenset(),
        TrialState.CANCELLED: frozenset(),
    }
)

JOB_REOPENED: Final[Mapping[JobState, JobState]] = MappingProxyType(
    {JobState.COMPLETED: JobState.RUNNING, JobState.FAILED: JobState.RUNNING}
)
TRIAL_REOPENED: Final[Mapping[TrialState, TrialState]] = MappingProxyType({TrialState.FAILED: TrialState.QUEUED})
"""The only way out of a final state: a person asks for a retry."""


def check_job_move(now: JobState, reason: JobReason) -> None:
    """Allows a job's record to take on `reason`; staying in a state is always allowed, for the counts change.

    Raises:
        IllegalMove: when `JOB_MOVES` has no such move, or the job is final and this is not a retry that may reopen it.
    """
    then = JOB_STATE[reason]
    if reason is JobReason.RETRY_REQUESTED and JOB_REOPENED.get(now) is then:
        return
    if now.is_final or (now != then and then not in JOB_MOVES[now]):
        raise IllegalMove(f"a job that is {now} cannot become {then}: allowed are {_named(JOB_MOVES[now])}")


def check_trial_move(now: TrialState, reason: TrialReason) -> None:
    """Allows a trial's record to take on `reason`.

    Raises:
        IllegalMove: when `TRIAL_MOVES` has no such move, and this is not a retry that may reopen it.
    """
    then = TRIAL_STATE[reason]
    if reason is TrialReason.RETRY_REQUESTED and TRIAL_REOPENED.get(now) is then:
        return
    if then not in TRIAL_MOVES[now]:
        raise IllegalMove(f"a trial that is {now} cannot become {then}: allowed are {_named(TRIAL_MOVES[now])}")


def _named(states: frozenset[JobState] | frozenset[TrialState]) -> str:
    return ", ".join(sorted(states)) or "none, it is final"
