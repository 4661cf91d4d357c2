"""Pause and resume: takes the running trials of a job, or one of its trials, off the machines, and puts them back.

Reads: job.json; for a trial its record too.
Writes (in order): job.json (conditional: paused, or a request for the trial; or resumed) → a hint on the queue
    `advance`. Workers see it at their next heartbeat: they upload the last whole checkpoint and record the trial as
    paused.
Idempotent by: what is paused already, or not paused, is left as it is, and so is what has ended.
If it dies: after the record and before the hint, workers pause all the same, and a resumed job gets its messages by the
    timer's pass, for `resumed` stands in its record until they have been sent.
Next: advance, which queues paused trials anew once they may go on and sends their messages.
"""

from dataclasses import replace
from datetime import datetime

from dropsweep.names import JobKey
from dropsweep.records import JobRecord
from dropsweep.states import JobReason, JobState, Wish
from dropsweep.steps._change import Change, Left, change_or_leave, trial_of, with_request
from dropsweep.storage import Store


def pause(store: Store, key: JobKey, trial: int | None = None) -> Change:
    """Pauses a job, or one trial of it: what runs makes way with its last checkpoint, and nothing new begins.

    While a whole job is paused, its timeout does not run. What has ended or is being cancelled stays as it is.

    Raises:
        NotFoundError: there is no such job or trial.
        ConflictError: its record changed each time it was about to be written.
    """

    def apply(job: JobRecord, now: datetime) -> JobRecord | Left:
        found = None if trial is None else trial_of(store, job, trial)
        if job.state.is_final or (found is not None and found.state.is_final):
            return Left.HAS_ENDED
        wish = None if trial is None else job.requests.get(trial)
        if job.state is JobState.CANCELLING or wish is Wish.CANCEL:
            return Left.IS_CANCELLING
        if trial is None:
            if job.state is JobState.PAUSED:
                return Left.IS_PAUSED
            return job.moved(JobReason.PAUSE_REQUESTED, paused=now, message="paused by request")
        if wish is Wish.PAUSE:
            return Left.IS_PAUSED
        return replace(job, requests=with_request(job, trial, Wish.PAUSE))

    return change_or_leave(store, key, apply)


def resume(store: Store, key: JobKey, trial: int | None = None) -> Change:
    """Lets a paused job, or a paused trial of it, go on; each trial continues from its last checkpoint.

    A trial that was paused by itself stays so when its job is resumed, and a trial of a paused job goes on when the job
    does. What is not paused stays as it is.

    Raises:
        NotFoundError: there is no such job or trial.
        ConflictError: its record changed each time it was about to be written.
    """

    def apply(job: JobRecord, now: datetime) -> JobRecord | Left:
        found = None if trial is None else trial_of(store, job, trial)
        if job.state.is_final:
            return Left.HAS_ENDED
        wish = None if trial is None else job.requests.get(trial)
        if job.state is JobState.CANCELLING or wish is Wish.CANCEL:
            return Left.IS_CANCELLING
        if trial is None:
            if job.state is not JobState.PAUSED:
                return Left.IS_NOT_PAUSED
            return job.unpaused(now).moved(JobReason.RESUMED, message="")
        if wish is not Wish.PAUSE:
            if found is not None and found.state.is_final:
                return Left.HAS_ENDED
            return Left.ONLY_JOB_IS_PAUSED if job.state is JobState.PAUSED else Left.IS_NOT_PAUSED
        # Also of a trial that has failed: a retry may wait for the end of its pause.
        job = replace(job, requests={number: asked for number, asked in job.requests.items() if number != trial})
        return job.moved(JobReason.RESUMED) if job.state is JobState.RUNNING else job

    return change_or_leave(store, key, apply)
