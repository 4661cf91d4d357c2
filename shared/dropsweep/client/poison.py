"""Messages that were buried: looking at them, and sending them again."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from dropsweep.errors import DropsweepError, MessageError, NotFoundError, StorageCorrupt
from dropsweep.messages import FailedBlob, requeued
from dropsweep.names import BURIED, DROP_POISON_QUEUE, JOBS, RUNS
from dropsweep.records.buried import BuriedMessage
from dropsweep.storage import Listed, Store

_READERS: Final = 8
_MAX_NAMED: Final = 8


def buried(store: Store) -> list[BuriedMessage]:
    """Lists the messages that are buried, newest first; one storage operation for each, eight at a time.

    Raises:
        StorageCorrupt: a record is not what was written; its path is told.
    """

    def read(found: Listed) -> BuriedMessage | None:
        return _read(store, found.name)

    with ThreadPoolExecutor(_READERS, thread_name_prefix="list") as pool:
        messages = [message for message in pool.map(read, store.blobs.list(RUNS, BURIED)) if message is not None]
    return sorted(messages, key=lambda message: (message.when, message.id), reverse=True)


def find_buried(store: Store, text: str) -> BuriedMessage:
    """Returns the message of an id, or of the beginning of an id that fits one message only.

    Raises:
        NotFoundError: none fits. DropsweepError: several do.
    """
    wanted = text.strip().lower()
    found = [path for path in _paths(store) if _id(path).startswith(wanted)] if wanted else []
    if len(found) > 1:
        named = ", ".join(_id(path) for path in found[:_MAX_NAMED])
        raise DropsweepError(f"{text!r} fits {len(found)} buried messages: it must fit one. Type more of it: {named}")
    message = _read(store, found[0]) if found else None
    if message is None:
        raise NotFoundError(f"{text!r}: no such message is buried. `dropsweep poison list` shows what there is")
    return message


def requeue(store: Store, message: BuriedMessage) -> None:
    """Sends a buried message to the queue it came from, or puts the dropped file anew that it names.

    What is sent comes first and the record is deleted after it: a death between the two leaves both, and a doubled
    hint changes nothing. A file that has been dropped anew since had an event of its own and is not touched.

    Raises:
        NotFoundError: the file, or the queue, does not exist any more; the record stays.
        MessageError: the message names no file; the record stays.
        StorageError: as the storage does; the record may stand although the message was sent.
    """
    if message.queue == DROP_POISON_QUEUE:
        _drop_anew(store, message)
    else:
        store.queues.send(message.queue, requeued(message.body))
    store.blobs.delete(RUNS, message.path)


def _drop_anew(store: Store, message: BuriedMessage) -> None:
    """Writes the file over itself: its new ETag makes a new event, and so a job of its own."""
    failed = FailedBlob.from_body(message.body)
    where = f"{failed.container}/{failed.path}"
    if failed.container != JOBS:
        raise MessageError(
            f"{where} is no dropped file: it must lie in {JOBS}. Delete the record {RUNS}/{message.path}"
        )
    found = store.blobs.read(failed.container, failed.path)
    if found is None:
        raise NotFoundError(f"{where} is not there any more, so it cannot be tried again. Drop the file anew")
    if failed.etag and found.etag.strip('"') != failed.etag:
        return
    # Not written when somebody replaces it at this moment: that drop is the new event.
    store.blobs.replace(failed.container, failed.path, found.body, found.etag, found.metadata)


def _paths(store: Store) -> Iterator[str]:
    for found in store.blobs.list(RUNS, BURIED):
        yield found.name


def _read(store: Store, path: str) -> BuriedMessage | None:
    blob = store.blobs.read(RUNS, path)
    if blob is None:
        return None
    try:
        message = BuriedMessage.from_json(blob.body, blob.modified)
        if message.path == path:
            return message
        why = f"it is the record of {message.path}"
    except StorageCorrupt as error:
        why = str(error)
    raise StorageCorrupt(f"{RUNS}/{path}: {why}. Mend or delete the blob")


def _id(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".json")
