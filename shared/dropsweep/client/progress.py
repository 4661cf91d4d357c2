"""What a running job looks like right now, in two storage operations or few more."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dropsweep.decisions import open_shards
from dropsweep.errors import NotFoundError, StorageUnavailable
from dropsweep.metrics import is_usable
from dropsweep.names import RUNS, JobKey, trial_of_record
from dropsweep.records import Best, JobRecord, Retried, TrialSummary
from dropsweep.states import JobState, TrialReason, TrialState
from dropsweep.storage import Store

_PATIENCE_S: Final = 120.0
"""How long a watcher bears that the storage does not answer before it gives up."""
SILENT_S: Final = 300.0
"""Age of a running trial's last heartbeat from which on its worker counts as lost: five of the usual claim timeouts."""
_IDLE_SHARE: Final = 2.0
"""A watcher sleeps at least this many times as long as its look took: a large sweep must not keep a core busy."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One look at a job.

    Attributes:
        record: the job's record.
        served: when the look was, by the storage service's clock.
        counts: trials by state, fresher than the record's own; a trial waiting for a worker counts as queued.
        trials: the trials that have a record, in shards that are not summed up yet.
        best: the best completed trial so far.
    """

    record: JobRecord
    served: datetime
    counts: Mapping[TrialState, int]
    trials: tuple[TrialSummary, ...]
    best: Best | None

    @property
    def running(self) -> tuple[TrialSummary, ...]:
        """The trials that a worker holds, lowest number first."""
        return tuple(trial for trial in self.trials if trial.state is TrialState.RUNNING)

    @property
    def silent(self) -> tuple[tuple[TrialSummary, float], ...]:
        """The running trials whose worker has been silent for longer than `SILENT_S`, and for how many seconds."""
        ages = [(trial, (self.served - trial.modified).total_seconds()) for trial in self.running if trial.modified]
        return tuple((trial, age_s) for trial, age_s in ages if age_s > SILENT_S)

    @property
    def num_retrying(self) -> int:
        """Trials that failed and wait for their next attempt."""
        return sum(trial.reason is TrialReason.RETRYING for trial in self.trials)

    @property
    def retried(self) -> Retried:
        """The trials that were tried again because an attempt failed."""
        if self.record.state.is_final:
            return self.record.retried
        listed = (trial for trial in self.trials if not self.record.is_summed_up(trial.trial))
        return self.record.closed_retried.plus(Retried.of(listed))

    @property
    def num_final(self) -> int:
        """Trials that have ended."""
        return sum(count for state, count in self.counts.items() if state.is_final)

    @property
    def num_failed(self) -> int:
        """Trials that have failed."""
        return self.counts.get(TrialState.FAILED, 0)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the job was accepted, up to its end."""
        return max(0.0, ((self.record.finished or self.served) - self.record.created).total_seconds())


def look(store: Store, key: JobKey, shards: Iterable[int] | None = None) -> Progress | None:
    """Looks at a job once: one read, and one list for each open shard.

    Args:
        store: the storage account.
        key: the job.
        shards: the open shards of an earlier look, listed once more so that no trial's end goes unseen; None when
            there was no earlier look.

    Returns:
        None while the job has no record.
    """
    blob = store.blobs.read(RUNS, key.record)
    if blob is None:
        return None
    record = JobRecord.from_json(blob.body)
    if record.state.is_final and shards is None:
        return Progress(record, blob.served, record.counts, (), record.best)
    still_open = open_shards(record)
    trials = {shard: tuple(list_shard(store, key, shard)) for shard in sorted({*still_open, *(shards or ())})}
    everything = tuple(trial for found in trials.values() for trial in found)
    if record.state.is_final:
        return Progress(record, blob.served, record.counts, everything, record.best)
    listed = [trial for shard in still_open for trial in trials[shard]]
    counts = Counter(record.closed_counts) + Counter(trial.state for trial in listed)
    counts[TrialState.QUEUED] += max(0, record.next_trial - counts.total())
    present = {state: counts[state] for state in TrialState if counts[state]}
    return Progress(record, blob.served, present, everything, _best(record, listed))


def looks(
    look_once: Callable[[tuple[int, ...] | None], Progress | None],
    key: JobKey,
    *,
    interval_s: float = 1.0,
    appear_s: float = 60.0,
    timeout_s: float | None = None,
) -> Iterator[Progress | None]:
    """Looks at a job again and again; the last look is at its final record.

    It yields None for each look at which the job has no record yet. That the storage does not answer is borne for two
    minutes once it has answered.

    Args:
        look_once: looks at the job, as `look` does with the open shards of the look before.
        key: the job.
        interval_s: seconds between two looks, at least.
        appear_s: how many seconds to wait for the job's record.
        timeout_s: how many seconds to wait for its end.

    Raises:
        NotFoundError: there was no record after `appear_s`.
        TimeoutError: the job was not final after `timeout_s`.
        StorageError: as the storage does.
    """
    began = answered = time.monotonic()
    progress: Progress | None = None
    has_answered = False
    while True:
        began_look = time.monotonic()
        try:
            progress = look_once(tuple(open_shards(progress.record)) if progress else None)
        except StorageUnavailable:
            if not has_answered or time.monotonic() - answered > _PATIENCE_S:
                raise
        else:
            has_answered, answered = True, time.monotonic()
            yield progress
            if progress is not None and progress.record.state.is_final:
                return
            if progress is None and answered - began >= appear_s:
                raise NotFoundError(
                    f"{key.path}: there is no such job, after {appear_s:g} s of waiting. If its file was just dropped, "
                    "see that the functions run (`make up` on one machine); else `dropsweep list` shows what there is"
                )
        now = time.monotonic()
        if timeout_s is not None and now - began >= timeout_s:
            raise TimeoutError(too_late(key.path, progress.record.state if progress else None, timeout_s))
        pause = max(interval_s, _IDLE_SHARE * (now - began_look))
        time.sleep(pause if timeout_s is None else min(pause, max(0.0, began + timeout_s - now)))


def too_late(path: str, state: JobState | None, timeout_s: float) -> str:
    """Says of a job, named by its path, that it had not ended in time; `state` None: it had no record yet."""
    remedy = "resume it" if state is JobState.PAUSED else "cancel it"
    return f"{path}: {state or 'not accepted yet'} after {timeout_s:g} s. Wait longer, or {remedy}"


def list_shard(store: Store, key: JobKey, shard: int) -> Iterator[TrialSummary]:
    """Lists the trials of one shard that have a record, lowest number first."""
    for found in store.blobs.list(RUNS, key.shard(shard), metadata=True):
        yield TrialSummary.from_metadata(trial_of_record(found.name), found.metadata, found.modified)


def _best(record: JobRecord, trials: list[TrialSummary]) -> Best | None:
    sign = -1.0 if record.goal == "maximize" else 1.0
    found = [
        Best(trial.trial, trial.metric)
        for trial in trials
        if trial.state is TrialState.COMPLETED and trial.metric is not None and is_usable(trial.metric)
    ]
    candidates = [*found, *([record.closed_best] if record.closed_best else [])]
    return min(candidates, key=lambda best: (sign * best.metric, best.trial), default=None)
