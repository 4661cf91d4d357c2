"""Tell: sends the changes of a job's state to the queue that its submission named.

Reads: nothing; the changes stand in job.json, where whoever changed the state noted them in the same write.
Writes (in order): one message for each change; the caller then notes in job.json that they were sent.
Idempotent by: each change has a number, which is its event's id, so that who hears it twice knows it.
If it dies: the changes stand in job.json and the next pass sends them again.
Next: nothing of ours; a queue of somebody else's.
"""

import logging

from dropsweep.errors import NotFoundError, StorageError, StorageUnavailable
from dropsweep.events import encoded, job_event
from dropsweep.records import JobRecord
from dropsweep.storage import Store

_log = logging.getLogger(__name__)


def tell(store: Store, job: JobRecord, already: set[int]) -> None:
    """Sends what has not been told of a job.

    Args:
        store: the storage account.
        job: its record.
        already: numbers of changes that this caller has sent; it gets those of this call too.

    Raises:
        StorageError: as the storage does; some may have been sent.
    """
    for change in job.untold:
        if change.number not in already:
            send(store, job.reply_to, encoded(job_event(job, change), is_base64=job.is_reply_base64))
            already.add(change.number)


def send(store: Store, queue: str, text: str) -> None:
    """Sends an answer to a queue of somebody else's, which is created where there is none.

    A queue that cannot be had stops no job: the answer is lost, and the log says so.

    Raises:
        StorageUnavailable: as the storage does.
    """
    try:
        try:
            store.queues.send(queue, text)
        except NotFoundError:
            store.queues.create_queue(queue)
            store.queues.send(queue, text)
    except StorageUnavailable:
        raise
    except (StorageError, NotFoundError) as error:  # denied, or being deleted by its owner
        _log.error("tell: an answer to the queue %s is lost: %s", queue, error)
