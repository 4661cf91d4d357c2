"""What `advance` does next, computed from records alone: no I/O, no clock, no dice."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from dropsweep.metrics import is_usable
from dropsweep.names import SHARD_SIZE
from dropsweep.records import Best, JobRecord, TrialSummary
from dropsweep.states import JobReason, JobState, TrialState


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of one look at a job.

    Attributes:
        record: the job's record as it shall be written; equal to the old one when nothing changed.
        dispatch: the trials that `record` newly takes for dispatch.
        unclaimed: trials taken earlier that have no record yet: their messages are waiting, or were lost.
        is_ended: all is final; `record` has the job's final reason and the report is due before it is written.
    """

    record: JobRecord
    dispatch: range
    unclaimed: tuple[int, ...]
    is_ended: bool = False


def open_shards(job: JobRecord) -> list[int]:
    """Returns the shards that have dispatched trials and are not closed, ascending."""
    end = -(-job.next_trial // SHARD_SIZE)
    return [shard for shard in range(job.closed_below, end) if shard not in job.closed]


def decide(job: JobRecord, shards: Mapping[int, Sequence[TrialSummary]], now: datetime) -> Decision:
    """Looks at a job that is not final.

    Args:
        job: its record.
        shards: what a list of each of its `open_shards` gave.
        now: the storage service's time.
    """
    job = _timed_out(job, now)
    job = _close(job, shards)
    summaries = [trial for shard in open_shards(job) for trial in shards[shard]]
    recorded = {trial.trial for trial in summaries}
    unclaimed = tuple(
        trial
        for shard in open_shards(job)
        for trial in range(shard * SHARD_SIZE, min((shard + 1) * SHARD_SIZE, job.next_trial))
        if trial not in recorded
    )
    counts = Counter(job.closed_counts) + Counter(trial.state for trial in summaries)
    counts[TrialState.QUEUED] += len(unclaimed)
    job = replace(
        job,
        counts=_table(counts),
        best=_best(job, [job.closed_best, *(_as_best(trial) for trial in summaries)]),
    )
    num_final = sum(count for state, count in counts.items() if state.is_final)
    if job.state is JobState.CANCELLING:
        return _cancelling(job, unclaimed, is_ended=num_final == job.next_trial, now=now)
    if num_final == job.num_trials:
        reason = JobReason.TRIALS_COMPLETED if counts[TrialState.COMPLETED] else JobReason.NO_TRIAL_COMPLETED
        return Decision(job.moved(reason, finished=now, message=_ending(job)), range(0), (), is_ended=True)
    return _dispatching(job, unclaimed, num_final, now)


def _table(counts: Counter[TrialState]) -> dict[TrialState, int]:
    """Returns the counts that are not 0, in the order of the states."""
    return {state: counts[state] for state in TrialState if counts[state]}


def _timed_out(job: JobRecord, now: datetime) -> JobRecord:
    if job.state is not JobState.RUNNING or job.timeout_s is None or job.started is None:
        return job
    if now - job.started < timedelta(seconds=job.timeout_s):
        return job
    return job.moved(
        JobReason.TIMEOUT_PASSED,
        message=f"limits.timeout of {job.timeout_s:g} s has passed; its trials are being cancelled",
    )


def _close(job: JobRecord, shards: Mapping[int, Sequence[TrialSummary]]) -> JobRecord:
    """Sums up each shard whose trials are all dispatched and final, so that no later pass lists it."""
    for shard, trials in sorted(shards.items()):
        size = min(SHARD_SIZE, job.num_trials - shard * SHARD_SIZE)
        if len(trials) < size or not all(trial.state.is_final for trial in trials):
            continue
        closed = sorted({*job.closed, shard})
        below = job.closed_below
        while closed and closed[0] == below:
            below += 1
            closed.pop(0)
        counts = Counter(job.closed_counts) + Counter(trial.state for trial in trials)
        job = replace(
            job,
            closed_below=below,
            closed=tuple(closed),
            closed_counts=dict(counts),
            closed_best=_best(job, [job.closed_best, *(_as_best(trial) for trial in trials)]),
        )
    return job


def _dispatching(job: JobRecord, unclaimed: tuple[int, ...], num_final: int, now: datetime) -> Decision:
    room = job.window - (job.next_trial - num_final)
    last = min(job.num_trials, job.next_trial + max(room, 0))
    dispatch = range(job.next_trial, last)
    if dispatch:
        counts = Counter(job.counts) + Counter({TrialState.QUEUED: len(dispatch)})
        job = job.moved(JobReason.DISPATCHING, next_trial=last, started=job.started or now, counts=_table(counts))
    return Decision(job, dispatch, unclaimed)


def _cancelling(job: JobRecord, unclaimed: tuple[int, ...], *, is_ended: bool, now: datetime) -> Decision:
    if not is_ended:
        return Decision(job, range(0), unclaimed)
    timed_out = job.reason is JobReason.TIMEOUT_PASSED
    reason = JobReason.CANCELLED_BY_TIMEOUT if timed_out else JobReason.CANCELLED_BY_REQUEST
    why = f"limits.timeout of {job.timeout_s or 0:g} s has passed" if timed_out else "cancelled by request"
    return Decision(job.moved(reason, finished=now, message=f"{why}; {_ending(job)}"), range(0), (), is_ended=True)


def _ending(job: JobRecord) -> str:
    told = ", ".join(f"{count} {state}" for state, count in job.counts.items())
    undispatched = job.num_trials - job.next_trial
    return f"{told or 'no trial ran'}" + (f", {undispatched} never dispatched" if undispatched else "")


def _as_best(trial: TrialSummary) -> Best | None:
    if trial.state is not TrialState.COMPLETED or trial.metric is None or not is_usable(trial.metric):
        return None
    return Best(trial.trial, trial.metric)


def _best(job: JobRecord, candidates: Iterable[Best | None]) -> Best | None:
    """Returns the best of the candidates; of equals the one with the lowest number, so that order does not matter."""
    sign = -1.0 if job.goal == "maximize" else 1.0
    return min(
        (candidate for candidate in candidates if candidate is not None),
        key=lambda candidate: (sign * candidate.metric, candidate.trial),
        default=None,
    )
