from itertools import product

import pytest

from dropsweep.errors import IllegalMove
from dropsweep.states import (
    JOB_MOVES,
    JOB_REOPENED,
    JOB_STATE,
    TRIAL_MOVES,
    TRIAL_REOPENED,
    TRIAL_STATE,
    JobReason,
    JobState,
    TrialReason,
    TrialState,
    check_job_move,
    check_trial_move,
)


def test_every_reason_has_a_state_and_every_state_a_reason() -> None:
    assert set(JOB_STATE) == set(JobReason)
    assert set(TRIAL_STATE) == set(TrialReason)
    assert set(JOB_STATE.values()) == set(JobState)
    assert set(TRIAL_STATE.values()) == set(TrialState)


def test_the_final_states_are_these() -> None:
    assert {state for state in JobState if state.is_final} == {
        JobState.COMPLETED,
        JobState.FAILED,
        JobState.CANCELLED,
        JobState.REJECTED,
    }
    assert {state for state in TrialState if state.is_final} == {
        TrialState.COMPLETED,
        TrialState.FAILED,
        TrialState.STOPPED,
        TrialState.CANCELLED,
    }


@pytest.mark.parametrize(("now", "reason"), list(product(JobState, JobReason)))
def test_a_job_moves_as_its_table_says_and_no_other_way(now: JobState, reason: JobReason) -> None:
    then = JOB_STATE[reason]
    is_reopened = reason is JobReason.RETRY_REQUESTED and now in JOB_REOPENED
    if is_reopened or (not now.is_final and (now == then or then in JOB_MOVES[now])):
        check_job_move(now, reason)
    else:
        with pytest.raises(IllegalMove, match=str(now)):
            check_job_move(now, reason)


@pytest.mark.parametrize(("now", "reason"), list(product(TrialState, TrialReason)))
def test_a_trial_moves_as_its_table_says_and_no_other_way(now: TrialState, reason: TrialReason) -> None:
    is_reopened = reason is TrialReason.RETRY_REQUESTED and now in TRIAL_REOPENED
    if is_reopened or TRIAL_STATE[reason] in TRIAL_MOVES[now]:
        check_trial_move(now, reason)
    else:
        with pytest.raises(IllegalMove, match=str(now)):
            check_trial_move(now, reason)


def test_only_a_retry_leaves_a_final_state() -> None:
    assert dict(JOB_REOPENED) == {JobState.COMPLETED: JobState.RUNNING, JobState.FAILED: JobState.RUNNING}
    assert dict(TRIAL_REOPENED) == {TrialState.FAILED: TrialState.QUEUED}
    for now in (state for state in TrialState if state.is_final):
        for reason in set(TrialReason) - {TrialReason.RETRY_REQUESTED}:
            with pytest.raises(IllegalMove, match="it is final"):
                check_trial_move(now, reason)


def test_every_state_but_rejected_can_be_reached_from_queued() -> None:
    for start, moves, unreached in (
        (JobState.QUEUED, JOB_MOVES, {JobState.REJECTED}),
        (TrialState.QUEUED, TRIAL_MOVES, set()),
    ):
        reached, waiting = {start}, [start]
        while waiting:
            for state in moves[waiting.pop()] - reached:  # type: ignore[index,operator]
                reached.add(state)
                waiting.append(state)
        assert set(moves) - reached == unreached
