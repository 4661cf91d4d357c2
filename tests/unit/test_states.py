from itertools import product

import pytest

from dropsweep.errors import IllegalMove
from dropsweep.states import (
    JOB_MOVES,
    JOB_STATE,
    TRIAL_MOVES,
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


@pytest.mark.parametrize(("now", "then"), list(product(JobState, JobState)))
def test_a_job_moves_as_its_table_says_and_no_other_way(now: JobState, then: JobState) -> None:
    if not now.is_final and (now == then or then in JOB_MOVES[now]):
        check_job_move(now, then)
    else:
        with pytest.raises(IllegalMove, match=str(now)):
            check_job_move(now, then)


@pytest.mark.parametrize(("now", "then"), list(product(TrialState, TrialState)))
def test_a_trial_moves_as_its_table_says_and_no_other_way(now: TrialState, then: TrialState) -> None:
    if then in TRIAL_MOVES[now]:
        check_trial_move(now, then)
    else:
        with pytest.raises(IllegalMove, match=str(now)):
            check_trial_move(now, then)


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
