"""Messages that were buried: looking at them, and sending them again."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from dropsweep.errors import DropsweepError, MessageError, NotFoundError, StorageCorrupt
from dropsweep.messages import MAX_MESSAGE_BYTES, FailedBlob, requeued
from dropsweep.names import BURIED, DROP_POISON_QUEUE, JOBS, RUNS
from dropsweep.records.buried import BuriedMessage
from dropsweep.storage import Listed, Store

_READERS: Final = 8
_MAX_NAMED: Final = 8


@dataclass(frozen=True, slots=True)
class BuriedName:
    """Which message was buried: the queue it had been sent to, and the service's id of it."""

    queue: str
    id: str

    @classmethod
    def of(cls, path: str) -> "BuriedName":
        """Reads the path of a record in the container `runs`."""
        return cls(path.removeprefix(BURIED).rpartition("/")[0], _id(path))


def buried(store: Store, *, on_corrupt: Callable[[str, StorageCorrupt], None] | None = None) -> list[BuriedMessage]:
    """Lists the messages that are buried, newest first; one storage operation for each, eight at a time.

    Args:
        store: the storage account.
        on_corrupt: is told of each blob among the records that is none, by its path; None: the first of them is raised.

    Raises:
        StorageCorrupt: a blob is no record, and there is no `on_corrupt`; its path is told.
    """

    def read(found: Listed) -> tuple[str, BuriedMessage | StorageCorrupt | None]:
        try:
            return found.name, _read(store, found.name)
        except StorageCorrupt as error:
            return found.name, error

    messages: list[BuriedMessage] = []
    with ThreadPoolExecutor(_READERS, thread_name_prefix="list") as pool:
        for path, message in pool.map(read, store.blobs.list(RUNS, BURIED)):
            if isinstance(message, StorageCorrupt):
                if on_corrupt is None:
                    raise message
                on_corrupt(path, message)
            elif message is not None:
                messages.append(message)
    return sorted(messages, key=lambda message: (message.when, message.id), reverse=True)


def find_buried(store: Store, text: str) -> BuriedMessage:
    """Returns the message of an id, or of the beginning of an id that fits one message only.

    Raises:
        NotFoundError: none fits. DropsweepError: several do.
    """
    message = _read(store, _find(store, text))
    if message is None:
        raise _none(text)
    return message


def requeue(store: Store, message: BuriedMessage) -> None:
    """Sends a buried message to the queue it came from, or puts the dropped file anew that it names.

    What is sent comes first and the record is deleted after it: a death between the two leaves both, and a doubled
    hint changes nothing. A file that has been dropped anew since had an event of its own and is not touched.

    Raises:
        NotFoundError: the message is not buried any more; or the file, or the queue, does not exist any more, and the
            record stays.
        MessageError: the message names no file, or is too large to be sent; the record stays.
        StorageError: as the storage does; the record may stand although the message was sent.
    """
    standing = store.blobs.head(RUNS, message.path)
    if standing is None:
        raise NotFoundError(
            f"{message.id}: this message is not buried any more, so somebody sent it again or deleted its record. "
            "`dropsweep poison list` shows what there is"
        )
    if message.queue == DROP_POISON_QUEUE:
        _drop_anew(store, message)
    else:
        store.queues.send(message.queue, _text(message))
    # Of what was sent, this version alone: the message may be buried anew by now, and its queue have forgotten it.
    store.blobs.delete(RUNS, message.path, etag=standing.etag)


def delete_buried(store: Store, text: str) -> BuriedName:
    """Deletes the record of one buried message, whether it can be read or not; the message is lost then.

    Args:
        store: the storage account.
        text: its id, or the beginning of an id that fits one message only.

    Raises:
        NotFoundError: none fits, or it is not buried any more. DropsweepError: several fit.
    """
    path = _find(store, text)
    standing = store.blobs.head(RUNS, path)
    if standing is None:
        raise _none(text)
    # This version alone: what is buried anew at this moment nobody has looked at.
    store.blobs.delete(RUNS, path, etag=standing.etag)
    return BuriedName.of(path)


def delete_all_buried(store: Store) -> Iterator[BuriedName]:
    """Deletes the records of all messages that are buried now, and yields each one's name once it is gone.

    What is buried, or buried anew, after this has begun stays and is not named.
    """
    for found in list(store.blobs.list(RUNS, BURIED)):
        standing = store.blobs.head(RUNS, found.name)
        # A list gives ETags without their quotes, a request needs them.
        if standing is not None and standing.etag.strip('"') == found.etag.strip('"'):
            store.blobs.delete(RUNS, found.name, etag=standing.etag)
            yield BuriedName.of(found.name)


def _find(store: Store, text: str) -> str:
    """Returns the path of the one record that an id, or the beginning of one, fits.

    Raises:
        NotFoundError: none fits. DropsweepError: several do.
    """
    wanted = text.strip().lower()
    found = [path for path in _paths(store) if _id(path).startswith(wanted)] if wanted else []
    if len(found) > 1:
        named = ", ".join(_id(path) for path in found[:_MAX_NAMED])
        raise DropsweepError(f"{text!r} fits {len(found)} buried messages: it must fit one. Type more of it: {named}")
    if not found:
        raise _none(text)
    return found[0]


def _none(text: str) -> NotFoundError:
    return NotFoundError(f"{text!r}: no such message is buried. `dropsweep poison list` shows what there is")


def _text(message: BuriedMessage) -> str:
    """Returns what is sent for a message.

    Raises:
        MessageError: it is too large.
    """
    text = requeued(message.body)
    num_bytes = len(text.encode())
    if num_bytes > MAX_MESSAGE_BYTES:
        raise MessageError(
            f"{message.id}: its {len(message.body):,} bytes cannot be sent as text, and are {num_bytes:,} in base64: a "
            f"message has at most {MAX_MESSAGE_BYTES:,}. Have its sender send it anew, or delete the record "
            f"{RUNS}/{message.path}"
        )
    return text


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
