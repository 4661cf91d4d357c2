"""Cancel: marks a job so that nothing more is dispatched and running trials stop at their next heartbeat.

Reads: job.json.
Writes (in order): job.json (conditional: cancelling) → a hint on the queue `advance`.
Idempotent by: a job that is cancelling or final is left as it is; the hint is sent again, which does no harm.
If it dies: after the record and before the hint, workers stop their trials all the same and their own hints end the
    job; cancelling again sends the hint.
Next: advance, which ends the trials that nobody holds and then the job.
"""

from dropsweep.errors import NotFoundError, StorageUnavailable
from dropsweep.messages import AdvanceMessage
from dropsweep.names import ADVANCE_QUEUE, RUNS, JobKey
from dropsweep.records import JobRecord
from dropsweep.states import JobReason, JobState
from dropsweep.storage import Store

_MAX_TRIES = 50


def cancel(store: Store, key: JobKey) -> JobRecord:
    """Cancels a job; one that has ended already is returned unchanged, which is a success.

    Raises:
        NotFoundError: there is no such job.
        StorageUnavailable: its record changed each time it was about to be written.
    """
    for _ in range(_MAX_TRIES):
        blob = store.blobs.read(RUNS, key.record)
        if blob is None:
            raise NotFoundError(f"{key.path}: there is no such job. `dropsweep list` shows what there is")
        job = JobRecord.from_json(blob.body)
        if job.state.is_final:
            return job
        if job.state is not JobState.CANCELLING:
            job = job.moved(JobReason.CANCEL_REQUESTED, message="cancelled by request; its trials are being stopped")
            if store.blobs.replace(RUNS, key.record, job.to_json(), blob.etag, job.to_metadata()) is None:
                continue
        store.queues.send(ADVANCE_QUEUE, AdvanceMessage(key).to_text())
        return job
    raise StorageUnavailable(f"{key.path}: its record changed {_MAX_TRIES} times while it was being cancelled. Retry")
