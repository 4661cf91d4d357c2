"""Retry: has the failed trials of a job tried again, as new attempts; the only way out of a final state.

Reads: job.json; for a trial its record too.
Writes (in order): for a job that has ended the marker of live jobs → job.json (conditional: running again, with one
    more round of retries) → a hint on the queue `advance`.
Idempotent by: a round is met once for each trial, whose record names the latest round that it was queued for. A second
    call is a second round.
If it dies: after the marker, the timer's pass removes it again; after the record, the timer's pass finds the job.
Next: advance, which queues the failed trials anew and sends their messages.
"""

from dataclasses import replace
from datetime import datetime

from dropsweep.errors import DropsweepError
from dropsweep.names import JobKey
from dropsweep.records import JobRecord
from dropsweep.states import JobReason, JobState, TrialState
from dropsweep.steps._change import MAX_REQUESTS, Change, Left, change_or_leave, trial_of
from dropsweep.storage import Store


def retry(store: Store, key: JobKey, trial: int | None = None) -> Change:
    """Has all failed trials of a job, or one of them, tried again.

    A job that has ended runs again until they are final, and its timeout begins anew; its results are written anew
    then. Each goes on from its last checkpoint. A job of which no trial is known to have failed stays as it is; of
    another one that still runs, trials that were begun before and fail later are tried again too.

    Raises:
        NotFoundError: there is no such job or trial.
        DropsweepError: the job was rejected or cancelled, or the trial has not failed.
        ConflictError: its record changed each time it was about to be written.
    """

    def apply(job: JobRecord, now: datetime) -> JobRecord | Left:
        if job.state in (JobState.REJECTED, JobState.CANCELLING, JobState.CANCELLED):
            raise DropsweepError(
                f"{key.path} is {job.state}: only trials of a job that runs, completed or failed can be tried again. "
                "Submit its file again"
            )
        if trial is not None:
            found = trial_of(store, job, trial)
            if found is None or found.state is not TrialState.FAILED:
                state = "queued" if found is None else found.state
                raise DropsweepError(f"trial {trial} of {key.path} is {state}: only a failed trial can be tried again")
        elif not job.counts.get(TrialState.FAILED):
            return Left.NONE_HAS_FAILED
        if trial is not None and len(job.retries.trials) >= MAX_REQUESTS:
            raise DropsweepError(
                f"{key.path} has {len(job.retries.trials)} retries of single trials under way: it may have "
                f"{MAX_REQUESTS}. Wait until they are over, or retry the whole job"
            )
        asked = replace(job, retries=job.retries.asked(trial)).reopened()
        if job.state is JobState.PAUSED:
            return asked  # its trials go on when it does
        if job.state.is_final:
            asked = asked.restarted(now)
        return asked.moved(JobReason.RETRY_REQUESTED, finished=None, message="")

    return change_or_leave(store, key, apply)
