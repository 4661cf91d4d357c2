"""Bury: puts a message on record that nobody can act on, so that its queue may forget it.

Reads: nothing; for a message that the Functions host gave up, whether its job or file still exists (`reason_of`).
Writes (in order): .buried/{queue}/{id}.json (create; where there is one already, conditionally anew).
Idempotent by: the record's name is the message's own id, so burying it twice leaves one record.
If it dies: the message is still in its queue and is delivered again; after the record, that delivery writes it anew.
Next: a person, by `dropsweep poison`.
"""

import logging
from typing import Final

from dropsweep.errors import DropsweepError, MessageError
from dropsweep.messages import AdvanceMessage, FailedBlob, num_requeues
from dropsweep.names import DROP_POISON_QUEUE, RUNS
from dropsweep.records.buried import BuriedMessage
from dropsweep.storage import Store

_log = logging.getLogger(__name__)
_MAX_REASON: Final = 2000


def bury(store: Store, queue: str, message_id: str, body: bytes, reason: str, num_attempts: int) -> bool:
    """Writes the record of a message; the caller deletes the message afterwards.

    A record that is there already is written anew. It may be that of an earlier message with the same id, which a
    person has sent again and whose record is about to be deleted: only the version that was read is.

    Args:
        store: the storage account.
        queue: where the message had been sent, which is where `dropsweep poison requeue` sends it again.
        message_id: the service's id of the message.
        body: what it says, whatever that is; at most 64 KB.
        reason: why nobody can act on it; cut after 2,000 characters.
        num_attempts: how often it has been delivered.

    Returns:
        False when there was a record already.

    Raises:
        StorageError: as the storage does; the message is to be delivered again.
    """
    told = reason.encode(errors="backslashreplace").decode()
    if len(told) > _MAX_REASON:
        told = f"{told[:_MAX_REASON]}…"
    record = BuriedMessage(queue, message_id, body, told, num_attempts, num_requeues(body))
    is_new = _write(store, record)
    _log.error("bury: message %s of %s, delivered %d times: %s", message_id, queue, num_attempts, told)
    return is_new


def _write(store: Store, record: BuriedMessage) -> bool:
    """Writes a new version of the record; False when there was one already."""
    body = record.to_json()
    while True:  # whoever loses a round finds that somebody else's write or deletion went through
        if store.blobs.create(RUNS, record.path, body) is not None:
            return True
        standing = store.blobs.head(RUNS, record.path)
        if standing is not None and store.blobs.replace(RUNS, record.path, body, standing.etag) is not None:
            return False


def reason_of(store: Store, queue: str, body: bytes, num_attempts: int) -> str:
    """Works out why the Functions host gave a message up, which tells nobody the reason; never raises.

    Args:
        store: the storage account.
        queue: as in `bury`: `advance`, or the host's own queue for dropped files.
        body: what the message says.
        num_attempts: how often it was delivered.
    """
    is_drop = queue == DROP_POISON_QUEUE
    function = "drop" if is_drop else "advance"
    unknown = f"the function {function} failed {num_attempts} times: the host's log of that function tells why"
    try:
        if is_drop:
            blob = FailedBlob.from_body(body)
            what = f"{blob.container}/{blob.path}"
            if store.blobs.head(blob.container, blob.path) is None:
                return f"{what} is not there any more; {unknown}"
            return f"{what}: {unknown}"
        job = AdvanceMessage.from_body(body).job
        if store.blobs.head(RUNS, job.record) is None:
            return f"{job.path}: there is no such job"
        return f"{job.path}: {unknown}"
    except MessageError as error:
        return str(error)
    except DropsweepError as error:
        return f"{unknown} ({error})"
