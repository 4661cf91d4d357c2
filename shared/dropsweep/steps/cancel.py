"""Cancel: marks a job, or one of its trials, so that running trials stop at their next heartbeat and no other begins.

Reads: job.json; for a trial its record too.
Writes (in order): job.json (conditional: cancelling, or a request for the trial) → a hint on the queue `advance`.
Idempotent by: what is cancelling or final is left as it is; the hint is sent again, which does no harm.
If it dies: after the record and before the hint, workers stop their trials all the same and their own hints end the
    job, or the timer's pass does; cancelling again sends the hint.
Next: advance, which ends the trials that nobody holds and then the job.
"""

from dataclasses import replace
from datetime import datetime

from dropsweep.names import JobKey
from dropsweep.records import JobRecord
from dropsweep.states import JobReason, JobState, Wish
from dropsweep.steps._change import Change, Left, change_or_leave, trial_of, with_request
from dropsweep.storage import Store


def cancel(store: Store, key: JobKey, trial: int | None = None) -> Change:
    """Cancels a job, or one trial of it; what has ended, or is being cancelled, stays as it is, which is a success.

    Raises:
        NotFoundError: there is no such job or trial.
        ConflictError: its record changed each time it was about to be written.
    """

    def apply(job: JobRecord, _now: datetime) -> JobRecord | Left:
        found = None if trial is None else trial_of(store, job, trial)
        if job.state.is_final or (found is not None and found.state.is_final):
            return Left.HAS_ENDED
        if job.state is JobState.CANCELLING:
            return Left.IS_CANCELLING
        if trial is None:
            message = "cancelled by request; its trials are being stopped"
            return job.moved(JobReason.CANCEL_REQUESTED, message=message, paused=None)
        if job.requests.get(trial) is Wish.CANCEL:
            return Left.IS_CANCELLING
        return replace(job, requests=with_request(job, trial, Wish.CANCEL))

    return change_or_leave(store, key, apply)
