"""Tidies away what only kept things from happening twice, once they no longer can."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from dropsweep.errors import DropsweepError
from dropsweep.names import DELETED, JOBS, RUNS, SUBMISSIONS, TICKS, JobKey
from dropsweep.storage import Listed, Store

BOOKKEEPING_DAYS: Final = 90
"""Least age of tombstones and of the records of submission ids and ticks until they are tidied away."""


def tidy(store: Store, workspace: str, days: int, now: datetime, most: int) -> int:
    """Deletes old tombstones and records of submission ids and ticks of a workspace; returns how many.

    A tombstone stays while the dropped file lies there that made its job, which would become a job again; the record of
    a submission id while its job is there, or the job's tombstone. The due times of ticks are dealt with for good.

    Args:
        store: the storage account.
        workspace: the workspace.
        days: least age; not below `BOOKKEEPING_DAYS`.
        now: the storage service's time.
        most: how many to delete at most.

    Raises:
        StorageError: as the storage does; some may have been deleted.
    """
    until = now - timedelta(days=max(BOOKKEEPING_DAYS, days))
    num_tidied = 0
    for folder, is_spent in _LOOKS.items():
        names = list(islice(_spent(store, f"{folder}{workspace}/", until, is_spent), most - num_tidied))
        store.blobs.delete_all(RUNS, names)
        num_tidied += len(names)
    return num_tidied


def _spent(store: Store, prefix: str, until: datetime, is_spent: Callable[[Store, Listed], bool]) -> Iterator[str]:
    for found in store.blobs.list(RUNS, prefix):
        if found.modified <= until and is_spent(store, found):
            yield found.name


def _is_spent_tombstone(store: Store, tombstone: Listed) -> bool:
    """True unless the dropped file lies there still; also deletes what came too late.

    A worker that had been cut off may have written to the job's folder after it was deleted.
    """
    document = _document(store, tombstone.name)
    container, _, path = str(document.get("source", "")).partition("/")
    try:
        key = JobKey.parse(str(document.get("job")))
    except DropsweepError:
        return False
    if container == JOBS and store.blobs.head(JOBS, path) is not None:
        return False
    if store.blobs.head(RUNS, key.record) is None:
        store.blobs.delete_all(RUNS, [found.name for found in store.blobs.list(RUNS, f"{key.path}/")])
    return True


def _is_spent_submission(store: Store, record: Listed) -> bool:
    """True when the job that the submission id became is gone, with its tombstone."""
    try:
        key = JobKey.parse(str(_document(store, record.name).get("job")))
    except DropsweepError:
        return False
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
    DELETED: _is_spent_tombstone,
    SUBMISSIONS: _is_spent_submission,
    TICKS: _is_spent_tick,
}
