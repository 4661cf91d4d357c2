"""Edit: changes the limits of a live job.

Reads: job.json; spec.json, for how many trials there can be.
Writes (in order): job.json (conditional: the new limits) → a hint on the queue `advance`.
Idempotent by: the limits are set, not added to.
If it dies: after the record, the next hint or the timer's pass acts on it.
Next: advance, which dispatches what the new limits allow; workers see a new limit of a trial at their next heartbeat.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

from dropsweep.errors import DropsweepError
from dropsweep.names import JobKey
from dropsweep.records import JobRecord
from dropsweep.search import MAX_NUM_TRIALS
from dropsweep.spec.models import MAX_SECONDS
from dropsweep.steps._change import change
from dropsweep.steps.report import read_spec
from dropsweep.storage import Store


def edit(
    store: Store,
    key: JobKey,
    *,
    max_total_trials: int | None = None,
    max_concurrent_trials: int | None = None,
    timeout_s: int | None = None,
    trial_timeout_s: int | None = None,
) -> JobRecord:
    """Changes the given limits of a job that has not ended; the others stay.

    Args:
        store: the storage account.
        key: the job.
        max_total_trials: trials in all, of a sweep; not fewer than have been dispatched.
        max_concurrent_trials: trials at once, of a sweep; what runs already runs on.
        timeout_s: seconds from the job's start, pauses not counted.
        trial_timeout_s: seconds of one attempt, of a sweep.

    Raises:
        NotFoundError: there is no such job.
        DropsweepError: the job has ended, or a limit is not possible.
        ConflictError: its record changed each time it was about to be written.
    """
    of_sweeps = {
        "max_total_trials": max_total_trials,
        "max_concurrent_trials": max_concurrent_trials,
        "trial_timeout": trial_timeout_s,
    }
    given = {name: value for name, value in {**of_sweeps, "timeout": timeout_s}.items() if value is not None}
    if not given:
        raise DropsweepError(f"no limit of {key.path} is given: name at least one")

    def apply(job: JobRecord, _now: datetime) -> JobRecord:
        if job.state.is_final:
            raise DropsweepError(f"{key.path} is {job.state}: limits of a job that has ended cannot be changed")
        changes: dict[str, Any] = {}
        for name, value in given.items():
            if name in of_sweeps and job.kind != "sweep":
                raise DropsweepError(f"{key.path} is a {job.kind}: limits.{name} is a limit of sweeps")
            changes |= _checked(store, job, name, value)
        edited = replace(job, **changes)
        # The last shard may have been summed up as one that has fewer trials than it gets now.
        return edited.reopened() if edited.num_trials > job.num_trials else edited

    return change(store, key, apply, is_alarm=timeout_s is not None)


def _checked(store: Store, job: JobRecord, name: str, value: int) -> dict[str, Any]:
    match name:
        case "max_total_trials":
            if 0 < value < job.next_trial:
                raise DropsweepError(
                    f"limits.{name} is {value}: {job.next_trial:,} trials have been dispatched, and it cannot be less. "
                    "Cancel trials one by one, or the job"
                )
            spec = read_spec(store, job.key)
            return {"num_trials": _within(name, value, 1, spec.max_num_trials)}
        case "max_concurrent_trials":
            return {"window": _within(name, value, 1, MAX_NUM_TRIALS)}
        case "timeout":
            return {"timeout_s": float(_within(name, value, 1, MAX_SECONDS))}
        case _:
            return {"trial_timeout_s": float(_within(name, value, 1, MAX_SECONDS))}


def _within(name: str, value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise DropsweepError(f"limits.{name} is {value}: it must be from {least:,} to {most:,}. Choose another number")
    return value
