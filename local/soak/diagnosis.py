"""Why a job does not end: what its records and the queues say, and what the processes said last."""

from collections.abc import Iterable, Mapping
from typing import Final

from dropsweep.errors import NotFoundError, StorageCorrupt
from dropsweep.names import ADVANCE_QUEUE, BURIED, DROP_POISON_QUEUE, RUNS, JobKey, poison_queue, trials_queue
from dropsweep.records import JobRecord, TrialRecord
from dropsweep.storage import Store
from local.child import Child
from local.soak.watch import sights
from local.stack import CLUSTER

_MAX_TRIALS: Final = 10
_QUEUES: Final = (ADVANCE_QUEUE, trials_queue(CLUSTER), poison_queue(ADVANCE_QUEUE), DROP_POISON_QUEUE)


def diagnose(store: Store, jobs: Mapping[JobKey, int], children: Iterable[Child]) -> list[str]:
    """Returns lines for a person: each job that is not final, its trials that are not, the queues, the ends of logs.

    Raises:
        StorageError: as the storage does.
    """
    lines: list[str] = []
    for key, num_trials in jobs.items():
        lines += _job(store, key, num_trials)
    lines += queues(store)
    for child in children:
        lines += [f"{child.name}: exit status {child.exit_status}", *_indented(child.last_lines(8).splitlines())]
    return lines


def queues(store: Store) -> list[str]:
    """Returns how many messages each queue has, hidden ones and alarms included, and how many were buried.

    Raises:
        StorageError: as the storage does.
    """
    lines = []
    for queue in _QUEUES:
        try:
            lines.append(f"queue {queue} {store.queues.count(queue)}")
        except NotFoundError:
            lines.append(f"queue {queue} is not there")
    lines.append(f"buried {sum(1 for _ in store.blobs.list(RUNS, BURIED))}")
    return lines


def _job(store: Store, key: JobKey, num_trials: int) -> list[str]:
    blob = store.blobs.read(RUNS, key.record)
    if blob is None:
        return [f"{key.path}: has no record"]
    job = JobRecord.from_json(blob.body)
    if job.state.is_final:
        return []
    counts = ", ".join(f"{count} {state}" for state, count in job.counts.items()) or "nothing"
    has_marker = store.blobs.head(RUNS, key.marker) is not None
    lines = [
        f"{key.path}: {job.state} ({job.reason}), {job.next_trial} of {job.num_trials} trials dispatched, counts "
        f"{counts}, written {blob.age_s:.0f} s ago, {'with' if has_marker else 'WITHOUT'} a marker"
    ]
    seen = sights(store, key, num_trials)
    if unclaimed := [trial for trial in range(job.next_trial) if trial not in seen]:
        lines.append(f"  dispatched and never claimed: {_numbers(unclaimed)}")
    open_trials = [trial for trial, sight in sorted(seen.items()) if not sight.trial.state.is_final]
    lines += [f"  {_trial(store, key, trial)}" for trial in open_trials[:_MAX_TRIALS]]
    if len(open_trials) > _MAX_TRIALS:
        lines.append(f"  and {len(open_trials) - _MAX_TRIALS} more: {_numbers(open_trials[_MAX_TRIALS:])}")
    return lines


def _trial(store: Store, key: JobKey, trial: int) -> str:
    blob = store.blobs.read(RUNS, key.trial(trial))
    if blob is None:
        return f"trial {trial}: its record is gone"
    try:
        record = TrialRecord.from_json(blob.body)
    except StorageCorrupt as error:
        return f"trial {trial}: {error}"
    return (
        f"trial {trial}: {record.state} ({record.reason}) attempt {record.attempt} by {record.worker or 'nobody'}, "
        f"touched {blob.age_s:.0f} s ago. {record.message}"
    )


def _numbers(trials: list[int]) -> str:
    return ", ".join(map(str, trials[:_MAX_TRIALS])) + (", …" if len(trials) > _MAX_TRIALS else "")


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]
