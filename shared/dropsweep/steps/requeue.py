"""Requeue: changes the record of a trial that no worker holds: queues it anew, or cancels it.

Reads: the trial's record, when it exists.
Writes (in order): the record as queued (conditional), when its pause is over or its retry due; or, when it or its job
    is to be cancelled, what is left of torn checkpoints (deleted) → the record as cancelled (create, or conditional).
Idempotent by: a record that stands otherwise by now is left alone; of two that change it one wins.
If it dies: the next pass of advance finds the record as it is, queued or not, and goes on from there.
Next: the trial's message, which advance sends after it; or nothing.
"""

from dataclasses import replace
from datetime import datetime

from dropsweep.manifests import delete_torn
from dropsweep.names import RUNS
from dropsweep.records import JobRecord, TrialRecord
from dropsweep.states import TrialReason, TrialState, Wish
from dropsweep.storage import Blob, Store


def requeue(store: Store, job: JobRecord, trial: int) -> bool:
    """Queues a paused trial anew, or a failed one that a person wants to be tried again.

    Args:
        store: the storage account.
        job: what the trial is due for.
        trial: its number.

    Returns:
        True when it is queued now; False when it stands otherwise, or somebody else changed it meanwhile.

    Raises:
        StorageError: as the storage does.
    """
    blob = store.blobs.read(RUNS, job.key.trial(trial))
    if blob is None:
        return False
    found = TrialRecord.from_json(blob.body)
    due = job.retries.due(trial)
    match found.state:
        case TrialState.PAUSED:
            record = found.moved(TrialReason.RESUMED, message="", round=max(found.round, due))
        case TrialState.FAILED if found.round < due:
            record = found.moved(
                TrialReason.RETRY_REQUESTED,
                message="",
                round=due,
                num_lost=0,
                num_lost_in_all=0,
                num_retries=0,
                finished=None,
            )
        case _:
            return found.state is TrialState.QUEUED
    return _replace(store, blob, record)


def cancel_unheld(store: Store, job: JobRecord, trial: int, now: datetime, *, claim_timeout_s: float) -> bool:
    """Records a trial that no worker holds as cancelled, which also bars later claims; a failed one stays failed.

    A failed trial whose retry is due is marked as queued for that round, without being queued: a pass that still
    believes that it is to be retried then finds nothing due.

    Args:
        store: the storage account.
        job: tells whether the trial alone or the whole job is cancelled.
        trial: its number.
        now: the storage service's time, for a trial without a record.
        claim_timeout_s: a running trial whose last heartbeat is older than this is held by nobody.

    Returns:
        False when a worker holds it, or somebody else changed it meanwhile.

    Raises:
        StorageError: as the storage does.
    """
    alone = job.requests.get(trial) is Wish.CANCEL
    reason = TrialReason.TRIAL_CANCELLED if alone else TrialReason.JOB_CANCELLED
    message = f"{'it' if alone else 'its job'} was cancelled while no worker held it"
    record = TrialRecord(job.key, trial, 0, reason, {}, message, finished=now)
    if store.blobs.create(RUNS, job.key.trial(trial), record.to_json(), record.to_metadata()) is not None:
        return True
    blob = store.blobs.read(RUNS, job.key.trial(trial))
    if blob is None:
        return False
    found = TrialRecord.from_json(blob.body)
    due = job.retries.due(trial)
    if found.state is TrialState.FAILED and found.round < due:
        return _replace(store, blob, replace(found, round=due))
    if found.state.is_final:
        return True
    if found.state is TrialState.RUNNING and blob.age_s <= claim_timeout_s:
        return False
    ran_s = found.ran_until_beat_s(blob.metadata)
    if found.attempt:
        delete_torn(store, job.key, trial)  # no later attempt will
    return _replace(store, blob, found.moved(reason, message=message, finished=blob.served, ran_s=ran_s))


def _replace(store: Store, blob: Blob, record: TrialRecord) -> bool:
    path = record.job.trial(record.trial)
    return store.blobs.replace(RUNS, path, record.to_json(), blob.etag, record.to_metadata()) is not None
