"""What `advance` does next, computed from records alone: no I/O, no clock, no dice."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any

from dropsweep.metrics import is_usable
from dropsweep.names import SHARD_SIZE
from dropsweep.records import Best, JobRecord, Retried, Retries, TrialSummary
from dropsweep.states import JobReason, JobState, TrialState, Wish

_SLACK_S = 2.0
"""A claim counts as stale here only later than for those who take it over: times of the service are whole seconds."""


class Standing(Enum):
    """What a dispatched trial needs next."""

    SETTLED = auto()  # nothing: it is final and no retry is due
    RUNNING = auto()  # nothing: a worker holds it
    STALE = auto()  # a worker that takes it over, and so a message: its own went silent
    WAITING = auto()  # a worker, and so a message
    RESTING = auto()  # nothing: it is to be paused and no worker holds it
    REQUEUE = auto()  # its record as queued, then a message, once there is room: its pause is over, or its retry due
    CANCEL = auto()  # its record as cancelled, or as not to be retried


_ACTIVE = (Standing.WAITING, Standing.RUNNING, Standing.STALE)
"""Those that have a place in the window."""
_UNHELD = {Wish.CANCEL: Standing.CANCEL, Wish.PAUSE: Standing.RESTING}
"""Where a trial stands that no worker holds and that shall not run."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the deployment allows.

    Attributes:
        claim_timeout_s: age of a heartbeat from which on a claim is stale.
        window: most trials of one job that may be dispatched and not final.
        granted: most trials of this job that may be out (`num_out`), by its workspace's quota; None: no bound.
    """

    claim_timeout_s: float
    window: int
    granted: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of one look at a job.

    Attributes:
        record: the job's record as it shall be written; equal to the old one when nothing changed.
        dispatch: the trials that `record` newly takes for dispatch.
        requeue: those of the trials that stand so for which there is room.
        by_standing: the trials that were taken earlier, without those in closed shards, ascending.
        is_ended: all is settled; `record` has the job's final reason and the report is due before it is written.
    """

    record: JobRecord
    dispatch: range = range(0)
    requeue: Sequence[int] = ()
    by_standing: Mapping[Standing, Sequence[int]] = field(default_factory=dict)
    is_ended: bool = False

    def trials(self, *standings: Standing) -> list[int]:
        """Returns the trials that stand so, ascending within each standing."""
        return [trial for standing in standings for trial in self.by_standing.get(standing, ())]


def num_out(job: JobRecord) -> int:
    """Returns how many trials a job's record has out: a message or a worker may have each of them.

    Those of a paused job that no worker has begun are among them, for they go on without asking when it is resumed.
    """
    return job.counts.get(TrialState.QUEUED, 0) + job.counts.get(TrialState.RUNNING, 0)


def open_shards(job: JobRecord) -> list[int]:
    """Returns the shards that have dispatched trials and are not closed, ascending."""
    end = -(-job.next_trial // SHARD_SIZE)
    return [shard for shard in range(job.closed_below, end) if shard not in job.closed]


def decide(
    job: JobRecord, shards: Mapping[int, Sequence[TrialSummary]], now: datetime, limits: Limits | None = None
) -> Decision:
    """Looks at a job that is not final.

    Args:
        job: its record.
        shards: what a list of each of its `open_shards` gave.
        now: the storage service's time.
        limits: what the deployment allows; None: no bound, and no claim is stale.
    """
    seen = _see(job, shards, now, limits)
    # A job that has nothing left to do has made it in time, however late somebody looks.
    if not seen.is_settled and (timed_out := _timed_out(job, now)) is not job:
        seen = _see(timed_out, shards, now, limits)
    job, by_standing = seen.job, seen.by_standing
    if job.state is JobState.CANCELLING:
        return _cancelling(job, by_standing, is_ended=seen.num_settled == job.next_trial, now=now)
    if seen.is_settled:
        reason = JobReason.TRIALS_COMPLETED if job.counts.get(TrialState.COMPLETED) else JobReason.NO_TRIAL_COMPLETED
        ended = job.unpaused(now).moved(reason, finished=now, message=_ending(job))
        return Decision(ended, by_standing=by_standing, is_ended=True)
    if job.state is JobState.PAUSED:
        return Decision(job, by_standing=by_standing)
    return _dispatching(job, by_standing, now, limits)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A job with fresh sums, and how its trials stand."""

    job: JobRecord
    by_standing: Mapping[Standing, Sequence[int]]
    num_settled: int

    @property
    def is_settled(self) -> bool:
        return self.num_settled == self.job.num_trials


def _see(job: JobRecord, shards: Mapping[int, Sequence[TrialSummary]], now: datetime, limits: Limits | None) -> _Seen:
    job = _close(job, shards)
    summaries = {trial.trial: trial for shard in open_shards(job) for trial in shards[shard]}
    stale_before = now - timedelta(seconds=limits.claim_timeout_s + _SLACK_S) if limits else None
    by_standing: dict[Standing, list[int]] = defaultdict(list)
    counts = Counter(job.closed_counts)
    for trial in _dispatched(job):
        summary = summaries.get(trial)
        by_standing[_standing(job, trial, summary, stale_before)].append(trial)
        counts[summary.state if summary else TrialState.QUEUED] += 1
    settled = by_standing.get(Standing.SETTLED, [])
    job = replace(
        job,
        counts=_table(counts),
        best=_best(job, [job.closed_best, *(_as_best(trial) for trial in summaries.values())]),
        retried=job.closed_retried.plus(Retried.of(summaries.values())),
        **_outstanding(job, settled),
    )
    return _Seen(job, by_standing, sum(job.closed_counts.values()) + len(settled))


def _dispatched(job: JobRecord) -> Iterator[int]:
    for shard in open_shards(job):
        yield from range(shard * SHARD_SIZE, min((shard + 1) * SHARD_SIZE, job.next_trial))


def _standing(job: JobRecord, trial: int, found: TrialSummary | None, stale_before: datetime | None) -> Standing:
    wish = job.wish(trial)
    state = found.state if found else TrialState.QUEUED
    if found and state.is_final and not _is_due(job, found):
        return Standing.SETTLED
    if found and state is TrialState.RUNNING:
        if not (stale_before and found.modified and found.modified < stale_before):
            return Standing.RUNNING
        return _UNHELD.get(wish, Standing.STALE)
    return _UNHELD.get(wish, Standing.WAITING if state is TrialState.QUEUED else Standing.REQUEUE)


def _is_due(job: JobRecord, trial: TrialSummary) -> bool:
    """True for a failed trial that is to be tried again."""
    return trial.state is TrialState.FAILED and trial.round < job.retries.due(trial.trial)


def _outstanding(job: JobRecord, settled: Sequence[int]) -> dict[str, Any]:
    """Returns the requests without those that have been met."""
    if not job.requests and not job.retries.trials:
        return {}
    over = set(settled)

    def is_over(trial: int) -> bool:
        return trial in over or job.is_summed_up(trial)

    return {
        "requests": {trial: wish for trial, wish in job.requests.items() if not is_over(trial)},
        "retries": Retries(
            job.retries.round,
            job.retries.all,
            {trial: number for trial, number in job.retries.trials.items() if not is_over(trial)},
        ),
    }


def _table(counts: Counter[TrialState]) -> dict[TrialState, int]:
    """Returns the counts that are not 0, in the order of the states."""
    return {state: counts[state] for state in TrialState if counts[state]}


def _timed_out(job: JobRecord, now: datetime) -> JobRecord:
    if job.state is not JobState.RUNNING or job.timeout_s is None or job.started is None:
        return job
    if job.spent_s(now) < job.timeout_s:
        return job
    return job.moved(
        JobReason.TIMEOUT_PASSED,
        message=f"limits.timeout of {job.timeout_s:g} s has passed; its trials are being cancelled",
    )


def _close(job: JobRecord, shards: Mapping[int, Sequence[TrialSummary]]) -> JobRecord:
    """Sums up each shard whose trials are all dispatched and final, so that no later pass lists it."""
    for shard, trials in sorted(shards.items()):
        size = min(SHARD_SIZE, job.num_trials - shard * SHARD_SIZE)
        if len(trials) < size or not all(trial.state.is_final and not _is_due(job, trial) for trial in trials):
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
            closed_retried=job.closed_retried.plus(Retried.of(trials)),
        )
    return job


def _dispatching(
    job: JobRecord, by_standing: Mapping[Standing, Sequence[int]], now: datetime, limits: Limits | None
) -> Decision:
    """Fills the window: first with trials that were begun before, then with new ones."""
    num_active = sum(len(by_standing.get(standing, ())) for standing in _ACTIVE)
    room = (min(job.window, limits.window) if limits else job.window) - num_active
    if limits and limits.granted is not None:
        room = min(room, limits.granted - num_out(job))
    room = max(0, room)
    requeue = by_standing.get(Standing.REQUEUE, ())[:room]
    last = min(job.num_trials, job.next_trial + room - len(requeue))
    dispatch = range(job.next_trial, last)
    if dispatch:
        counts = Counter(job.counts) + Counter({TrialState.QUEUED: len(dispatch)})
        # What is owed stays owed until it has been sent.
        reason = job.reason if job.owes_messages else JobReason.DISPATCHING
        job = job.moved(reason, next_trial=last, started=job.started or now, counts=_table(counts))
    return Decision(job, dispatch, requeue, by_standing)


def _cancelling(
    job: JobRecord, by_standing: Mapping[Standing, Sequence[int]], *, is_ended: bool, now: datetime
) -> Decision:
    if not is_ended:
        return Decision(job, by_standing=by_standing)
    timed_out = job.reason is JobReason.TIMEOUT_PASSED
    reason = JobReason.CANCELLED_BY_TIMEOUT if timed_out else JobReason.CANCELLED_BY_REQUEST
    why = f"limits.timeout of {job.timeout_s or 0:g} s has passed" if timed_out else "cancelled by request"
    ended = job.moved(reason, finished=now, message=f"{why}; {_ending(job)}")
    return Decision(ended, by_standing=by_standing, is_ended=True)


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
