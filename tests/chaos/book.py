"""Keeps the books of an account: looks at each write as it is applied, and notes whatever may never happen.

It reads nothing itself. What it knows are the writes, so it sees states that no later look at the account would show.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from dropsweep.errors import IllegalMove
from dropsweep.names import LIVE, RUNS, JobKey
from dropsweep.records import Best, JobRecord, TrialRecord
from dropsweep.states import JobReason, JobState, TrialReason, TrialState, Wish, check_job_move, check_trial_move
from tests.chaos.by_hand import Role, Write

_CANCELLED: Final = (TrialReason.JOB_CANCELLED, TrialReason.TRIAL_CANCELLED)


@dataclass(frozen=True, slots=True)
class Entry:
    """A trial's record as it stands, and when it was written last."""

    record: TrialRecord
    modified: datetime


class Book:
    """What stands in the account, and what went wrong.

    Attributes:
        jobs, trials: the records as they stand.
        faults: whatever may never happen and did, in words.
        num_writes: how many writes of records there were.
    """

    def __init__(self, *, claim_timeout_s: float, max_window: int) -> None:
        self.jobs: dict[JobKey, JobRecord] = {}
        self.trials: dict[tuple[JobKey, int], Entry] = {}
        self.faults: list[str] = []
        self.num_writes = 0
        self._claim_timeout_s = claim_timeout_s
        self._max_window = max_window
        self._specs: dict[JobKey, bytes] = {}
        self._markers: set[str] = set()
        self._cancelled: dict[tuple[JobKey, int], int] = {}
        self._results: dict[tuple[JobKey, int, int], TrialRecord] = {}

    def note(self, write: Write, now: datetime) -> None:
        """Looks at a write; `now` is the service's time."""
        container, _, path = write.path.partition("/")
        if container != RUNS:
            return
        file = path.rpartition("/")[2]
        if path.startswith(LIVE):
            self._mark(path, is_deleted=write.is_deleted)
        elif file == "job.json" and write.body is not None:
            self.num_writes += 1
            self._job(JobRecord.from_json(write.body), now, write.role)
        elif file == "spec.json" and write.body is not None:
            self._spec(JobKey.parse(path.removesuffix("/spec.json")), write.body)
        elif "/records/" in path:
            self.num_writes += 1
            self._trial(path, write, now)

    def of(self, job: JobRecord) -> Iterator[TrialRecord]:
        """The job's trials that have a record, ascending."""
        return (entry.record for (key, _), entry in sorted(self.trials.items()) if key == job.key)

    def counts(self, job: JobRecord) -> dict[TrialState, int]:
        """The job's dispatched trials by state."""
        counts = Counter(trial.state for trial in self.of(job))
        counts[TrialState.QUEUED] += job.next_trial - counts.total()
        return {state: count for state, count in counts.items() if count}

    def best(self, job: JobRecord) -> Best | None:
        """The best of the job's completed trials; of equals the first."""
        sign = 1 if job.goal == "maximize" else -1
        done = [trial for trial in self.of(job) if trial.state is TrialState.COMPLETED and trial.metric is not None]
        found = max(done, key=lambda trial: (sign * (trial.metric or 0), -trial.trial), default=None)
        return None if found is None else Best(found.trial, found.metric or 0)

    def _says(self, what: str, *, holds: bool) -> None:
        if not holds:
            self.faults.append(what)

    def _mark(self, path: str, *, is_deleted: bool) -> None:
        (self._markers.discard if is_deleted else self._markers.add)(path)
        job = self.jobs.get(JobKey.parse(path.removeprefix(LIVE)))
        self._says(f"{path} is deleted, and its job lives", holds=not is_deleted or job is None or job.state.is_final)

    def _spec(self, key: JobKey, body: bytes) -> None:
        self._says(f"{key.spec} is changed", holds=self._specs.setdefault(key, body) == body)

    def _job(self, new: JobRecord, now: datetime, by: Role) -> None:
        what = f"{new.key.job}: {new.reason}"
        old = self.jobs.get(new.key)
        self.jobs[new.key] = new
        if not new.state.is_final:
            self._says(f"{what}: it lives without a marker", holds=new.key.marker in self._markers)
            self._says(f"{what}: it has no spec", holds=new.key in self._specs)
        if old is None:
            self._says(f"{what} as its first", holds=new.reason in (JobReason.ACCEPTED, JobReason.SPEC_INVALID))
            return
        # One pass may see that the time is over and that nothing runs any more.
        is_both = new.reason is JobReason.CANCELLED_BY_TIMEOUT and old.state is JobState.RUNNING
        try:
            check_job_move(old.state, JobReason.TIMEOUT_PASSED if is_both else new.reason)
        except IllegalMove as error:
            self.faults.append(f"{what}: {error}")
        grows = old.next_trial <= new.next_trial <= new.num_trials
        self._says(f"{what}: dispatched {old.next_trial}, then {new.next_trial} of {new.num_trials}", holds=grows)
        if new.next_trial > old.next_trial:
            num_open, room = self._num_open(new, now), min(new.window, self._max_window)
            self._says(f"{what}: {num_open} dispatched and not final, {room} may be", holds=num_open <= room)
        for trial, wish in new.requests.items():
            if wish is Wish.CANCEL and old.requests.get(trial) is not wish:
                self._cancelled[new.key, trial] = new.retries.round
        self._wishes(old, new, what, by)
        if by is not Role.PERSON:
            self._says(
                f"{what}: its limits changed from {_limits(old)} to {_limits(new)}", holds=_limits(old) == _limits(new)
            )
        if new.state.is_final:
            self._ended(new, what)

    def _num_open(self, job: JobRecord, now: datetime) -> int:
        """Trials that are dispatched, not final, and either held by a worker or free to be claimed."""
        num_open = 0
        for trial in range(job.next_trial):
            entry = self.trials.get((job.key, trial))
            if entry is None or not entry.record.state.is_final:
                is_held = entry is not None and self._is_held(entry, now)
                num_open += is_held or job.wish(trial) is Wish.RUN
        return num_open

    def _is_held(self, entry: Entry, now: datetime) -> bool:
        """True while the worker that claimed a trial has to be reckoned with."""
        age_s = (now - entry.modified).total_seconds()
        return entry.record.state is TrialState.RUNNING and age_s <= self._claim_timeout_s

    def _wishes(self, old: JobRecord, new: JobRecord, what: str, by: Role) -> None:
        """Nothing that a person asked for is forgotten before it is done."""
        for trial, wish in old.requests.items():
            entry = self.trials.get((new.key, trial))
            is_met = entry is not None and entry.record.state.is_final
            is_met |= trial >= new.num_trials
            is_replaced = trial in new.requests or (wish is Wish.PAUSE and by is Role.PERSON)
            self._says(f"{what}: the wish to {wish} trial {trial} is forgotten", holds=is_met or is_replaced)
        for trial in range(new.next_trial):
            if new.retries.due(trial) < old.retries.due(trial):
                entry = self.trials.get((new.key, trial))
                is_met = entry is not None and entry.record.state.is_final
                is_met &= entry is not None and (
                    entry.record.state is not TrialState.FAILED
                    or entry.record.round >= old.retries.due(trial)
                    or Wish.CANCEL in (old.wish(trial), new.wish(trial))
                )
                self._says(f"{what}: the retry of trial {trial} is forgotten", holds=is_met)

    def _ended(self, job: JobRecord, what: str) -> None:
        open_trials = {
            trial
            for trial in range(job.next_trial)
            if (job.key, trial) not in self.trials or not self.trials[job.key, trial].record.state.is_final
        }
        self._says(f"{what}: its trials {open_trials} are not final", holds=not open_trials)
        counts = self.counts(job)
        self._says(f"{what}: it counts {dict(job.counts)}, there are {counts}", holds=dict(job.counts) == counts)
        best = self.best(job)
        self._says(f"{what}: its best is {job.best}, and not {best}", holds=job.best == best or job.kind == "command")
        if job.state in (JobState.COMPLETED, JobState.FAILED):
            is_whole = job.next_trial == job.num_trials
            self._says(f"{what}: {job.next_trial} of {job.num_trials} were dispatched", holds=is_whole)
            is_well = (job.state is JobState.COMPLETED) == bool(counts.get(TrialState.COMPLETED))
            self._says(f"{what} with {counts}", holds=is_well)

    def _trial(self, path: str, write: Write, now: datetime) -> None:
        key = JobKey.parse(path.partition("/records/")[0])
        number = int(path.rpartition("/")[2].removesuffix(".json"))
        old = self.trials.get((key, number))
        if write.body is None:
            what = f"{key.job} trial {number}: touched"
            is_alive = old is not None and old.record.state is TrialState.RUNNING
            is_alive &= old is not None and str(old.record.attempt) == write.metadata["attempt"]
            self._says(f"{what} as attempt {write.metadata['attempt']}, which does not run", holds=is_alive)
            if old is not None:
                self.trials[key, number] = Entry(old.record, now)
            return
        new = TrialRecord.from_json(write.body)
        what = f"{key.job} trial {number}: {new.reason}, attempt {new.attempt}, round {new.round}"
        self.trials[key, number] = Entry(new, now)
        self._says(f"{what}: metadata differ", holds=write.metadata["reason"] == new.reason)
        job = self.jobs[key]
        self._says(f"{what}: it was not dispatched", holds=number < job.next_trial)
        self._says(f"{what}: its job is {job.state}", holds=not job.state.is_final)
        if new.state.is_final:
            earlier = self._results.setdefault((key, number, new.round), new)
            self._says(f"{what}: it was {earlier.reason} in this round", holds=earlier is new)
        if old is None:
            is_first = (new.reason is TrialReason.CLAIMED and new.attempt == 1) or new.reason in _CANCELLED
            self._says(f"{what} as its first", holds=is_first)
        else:
            self._moved(old, new, what, now, write.role)

    def _moved(self, entry: Entry, new: TrialRecord, what: str, now: datetime, by: Role) -> None:
        old = entry.record
        if old.state is TrialState.FAILED and new.round > old.round and replace(new, round=old.round) == old:
            return  # it stays as it is: its retry, which was asked for, was cancelled
        what = f"{what}, after {old.reason}, attempt {old.attempt}, round {old.round}"
        is_held = self._is_held(entry, now)
        is_next_claim = new.reason is TrialReason.CLAIMED
        self._says(f"{what}: attempts", holds=new.attempt == old.attempt + is_next_claim)
        is_retried = new.reason is TrialReason.RETRY_REQUESTED
        self._says(f"{what}: rounds", holds=new.round > old.round if is_retried else new.round >= old.round)
        if is_retried:
            cancelled = self._cancelled.get((new.job, new.trial), 0)
            self._says(f"{what}: it was cancelled after round {cancelled}", holds=new.round > cancelled)
        if is_next_claim or by is not Role.WORKER:
            self._says(f"{what}: its worker still beats", holds=not is_held)
        if old.state is TrialState.RUNNING and is_next_claim:
            return  # by way of `worker_lost`
        try:
            check_trial_move(old.state, new.reason)
        except IllegalMove as error:
            self.faults.append(f"{what}: {error}")


def _limits(job: JobRecord) -> tuple[float | None, ...]:
    return job.num_trials, job.window, job.timeout_s, job.trial_timeout_s
