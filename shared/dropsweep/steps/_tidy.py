"""Tidies away what only kept things from happening twice, once they no longer can."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from dropsweep.errors import DropsweepError, StorageUnavailable
from dropsweep.names import DELETED, JOBS, RUNS, SUBMISSIONS, TICKS, JobKey
from dropsweep.storage import Listed, Store

_log = logging.getLogger(__name__)
BOOKKEEPING_DAYS: Final = 90
"""Least age of tombstones and of the records of submission ids and ticks until they are tidied away."""
_READERS: Final = 8
_CHUNK: Final = 256
"""Notes that are looked at, and those of them that are spent deleted, before a walk may be ended."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some notes that were looked at.

    Attributes:
        num_deleted: how many of them could go, and went.
        last: the name of the last one; all up to it have been looked at.
    """

    num_deleted: int
    last: str


def tidy(store: Store, days_of: Callable[[str], int | None], now: datetime, *, after: str = "") -> Iterator[Chunk]:
    """Deletes old tombstones and records of submission ids and ticks, chunk by chunk; the caller may stop anywhere.

    A tombstone stays while the dropped file lies there that made its job, which would become a job again; the record of
    a submission id while its job is there, or the job's tombstone. The due times of ticks are dealt with for good. What
    cannot be dealt with is logged, and stays.

    Args:
        store: the storage account.
        days_of: tells for a workspace after how many days its notes may go, not below `BOOKKEEPING_DAYS`; None: never.
        now: the storage service's time.
        after: the name of the note that was looked at last; empty: none.

    Raises:
        StorageError: as the storage does.
    """
    with ThreadPoolExecutor(_READERS, thread_name_prefix="tidy") as pool:
        for folder, look in _LOOKS.items():
            old = (note for note in _old(store, folder, days_of, now) if note.name > after)
            while chunk := list(islice(old, _CHUNK)):
                are_spent = list(pool.map(lambda note, look=look: _is_spent(store, note, look), chunk))
                names = [note.name for note, is_spent in zip(chunk, are_spent, strict=True) if is_spent]
                store.blobs.delete_all(RUNS, names)
                yield Chunk(len(names), chunk[-1].name)


def _old(store: Store, folder: str, days_of: Callable[[str], int | None], now: datetime) -> Iterator[Listed]:
    for note in store.blobs.list(RUNS, folder):
        days = days_of(note.name.removeprefix(folder).partition("/")[0])
        if days is not None and note.modified <= now - timedelta(days=max(BOOKKEEPING_DAYS, days)):
            yield note


def _is_spent(store: Store, note: Listed, look: Callable[[Store, Listed], bool]) -> bool:
    try:
        return look(store, note)
    except StorageUnavailable:
        raise
    except DropsweepError as error:
        _log.warning("retain: %s stays, for it cannot be looked at: %s", note.name, error)
        return False


def _is_spent_tombstone(store: Store, tombstone: Listed) -> bool:
    """True unless the dropped file lies there still; also deletes what came too late.

    A worker that had been cut off may have written to the job's folder after it was deleted.
    """
    document = _document(store, tombstone.name)
    container, _, path = str(document.get("source", "")).partition("/")
    key = JobKey.parse(str(document.get("job")))
    if container == JOBS and store.blobs.head(JOBS, path) is not None:
        return False
    if store.blobs.head(RUNS, key.record) is None:
        store.blobs.delete_all(RUNS, [found.name for found in store.blobs.list(RUNS, f"{key.path}/")])
    return True


def _is_spent_submission(store: Store, record: Listed) -> bool:
    """True when the job that the submission id became is gone, with its tombstone."""
    key = JobKey.parse(str(_document(store, record.name).get("job")))
    return not any(store.blobs.head(RUNS, name) for name in (key.record, key.tombstone))


def _is_spent_tick(_store: Store, _tick: Listed) -> bool:
    return True


def _document(store: Store, name: str) -> Mapping[str, object]:
    """Returns what a record says; nothing when it cannot be read."""
    blob = store.blobs.read(RUNS, name)
    try:
        document = json.loads(blob.body) if blob else {}
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


_LOOKS: Final[Mapping[str, Callable[[Store, Listed], bool]]] = {
    # In the order of their names, so that the name of the last note tells what comes next; and tombstones before what
    # waits for them to go.
    DELETED: _is_spent_tombstone,
    SUBMISSIONS: _is_spent_submission,
    TICKS: _is_spent_tick,
}
