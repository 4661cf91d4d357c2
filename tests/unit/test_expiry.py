"""Which finished jobs a policy wants deleted."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from dropsweep.names import JobKey
from dropsweep.records import Best, JobRecord
from dropsweep.spec.workspace import Retention
from dropsweep.states import JobReason, JobState
from dropsweep.steps._expiry import KEEP_TAG, Finished, expired

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@st.composite
def finished_jobs(draw: st.DrawFn) -> list[Finished]:
    made = []
    for number in range(draw(st.integers(0, 12))):
        goal = draw(st.sampled_from([None, "minimize", "maximize"]))
        metric = draw(st.none() | st.integers(0, 3))
        ended = NOW - timedelta(hours=draw(st.integers(0, 24 * 20)))
        job = JobRecord(
            JobKey("w", draw(st.sampled_from(["a", "b"])), f"j{number}"),
            "sweep",
            draw(st.sampled_from([JobReason.TRIALS_COMPLETED, JobReason.NO_TRIAL_COMPLETED, JobReason.SPEC_INVALID])),
            "j",
            1,
            ended,
            goal=goal,
            primary_metric="m" if goal else None,
            best=None if metric is None else Best(0, float(metric)),
            tags={KEEP_TAG: ""} if draw(st.integers(0, 5)) == 0 else {},
        )
        made.append(Finished(job, ended))
    return made


RETENTIONS = st.builds(Retention, delete_after_days=st.integers(1, 15), keep_last=st.integers(0, 3))


@given(finished_jobs(), RETENTIONS)
def test_a_policy_never_takes_what_is_young_tagged_among_the_last_or_the_best(
    jobs: list[Finished], retention: Retention
) -> None:
    gone = expired(jobs, retention, NOW)
    left = [one for one in jobs if one not in gone]
    assert retention.delete_after_days is not None
    age = timedelta(days=retention.delete_after_days)
    for one in gone:
        assert NOW - one.finished >= age
        assert KEEP_TAG not in one.job.tags
        rivals = [
            other.job
            for other in left
            if (other.job.key.experiment, other.job.goal) == (one.job.key.experiment, one.job.goal)
        ]
        if one.job.goal is not None and one.job.best is not None:
            sign = -1 if one.job.goal == "maximize" else 1
            assert any(job.best and sign * job.best.metric <= sign * one.job.best.metric for job in rivals)
        if one.job.state is not JobState.REJECTED:
            later = Counter(
                other.job.key.experiment
                for other in left
                if other.finished >= one.finished and other.job.state is not JobState.REJECTED
            )
            assert later[one.job.key.experiment] >= retention.keep_last


@given(finished_jobs(), RETENTIONS)
def test_what_stays_has_a_reason_to(jobs: list[Finished], retention: Retention) -> None:
    gone = expired(jobs, retention, NOW)
    bare = Retention(delete_after_days=retention.delete_after_days)
    old = [one for one in jobs if one in expired(jobs, bare, NOW)]
    experiments = {one.job.key.experiment for one in jobs}
    assert len(old) - len(gone) <= retention.keep_last * len(experiments)
    assert [one.finished for one in gone] == sorted(one.finished for one in gone)


@given(finished_jobs(), st.integers(0, 3))
def test_without_days_nothing_is_taken(jobs: list[Finished], keep_last: int) -> None:
    assert expired(jobs, Retention(None, keep_last), NOW) == []


@given(finished_jobs(), RETENTIONS)
def test_what_was_left_once_is_left_at_once_again(jobs: list[Finished], retention: Retention) -> None:
    gone = expired(jobs, retention, NOW)
    assert expired([one for one in jobs if one not in gone], retention, NOW) == []
