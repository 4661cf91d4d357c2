"""Delete: removes a job that has ended, with everything that belongs to it; what interrupts it only delays it.

Reads: job.json; the list of the job's blobs; its dropped file, and which content its submission id stands for.
Writes (in order): what its sender has not been told of it, by tell → the mark of the deletion in `.deleting/` →
    job.json (conditional: deleted, so that no retry comes between) → the tombstone in `.deleted/`, so that no event
    brings the job back → deletes every blob of the job but job.json → the dropped file, if asked for → the marker of
    live jobs → job.json → the mark.
Idempotent by: each of these is; the mark names the version of job.json that was to be deleted, so a job that was
    retried meanwhile is left alone.
If it dies: after the mark, the timer's pass goes on with it; job.json goes last, so until then the job is listed.
Next: nothing.
"""

import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from dropsweep.errors import (
    ConflictError,
    DropsweepError,
    IllegalMove,
    NotFoundError,
    StorageCorrupt,
    StorageUnavailable,
    SubmissionReused,
)
from dropsweep.names import DELETING, JOBS, RUNS, Drop, JobKey, job_id
from dropsweep.records import JobRecord
from dropsweep.records.codec import VERSION, dump, time_out
from dropsweep.spec import MAX_JOB_FILE_BYTES, read_document
from dropsweep.steps._claims import claimed
from dropsweep.steps.pick_up import SUBMISSION_ID, key_of
from dropsweep.steps.tell import tell
from dropsweep.storage import FOLDER_MARK, Blob, Head, Store
from dropsweep.submissions import Submission

_log = logging.getLogger(__name__)
_BATCH: Final = 256
_DELETERS: Final = 4
_ROUND: Final = _BATCH * _DELETERS
"""Blobs that are listed and deleted at once."""
_MAX_TRIES: Final = 50
_SUFFIX_LENGTH: Final = len(job_id("", ""))
"""The hyphen and the characters that tell jobs of one name apart."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """What a call deleted.

    Attributes:
        job: the job.
        num_blobs: how many of its blobs this call deleted.
        is_done: nothing is left of it; False: the timer's pass goes on.
        source: the dropped file that made it and still stands, with its container; empty without one.
    """

    job: JobKey
    num_blobs: int
    is_done: bool
    source: str = ""

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON for programs."""
        return {"job": self.job.path, "num_blobs": self.num_blobs, "is_done": self.is_done, "source": self.source}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Deleted":
        """Reads what `to_json` gave."""
        return cls(JobKey.parse(document["job"]), document["num_blobs"], document["is_done"], document["source"])


@dataclass(frozen=True, slots=True)
class _Mark:
    """What the mark of a deletion says, and then the tombstone.

    Attributes:
        job: the job.
        etag: the version of its record that is to go.
        source, submission_id: as its record has them.
        with_source: its dropped file is to go too.
    """

    job: JobKey
    etag: str
    source: str = ""
    submission_id: str = ""
    with_source: bool = False

    def to_json(self, deleted: datetime | None = None) -> bytes:
        document = {
            "version": VERSION,
            "job": self.job.path,
            "etag": self.etag,
            "source": self.source,
            "submission_id": self.submission_id,
            "with_source": self.with_source,
            "deleted": time_out(deleted),
        }
        return dump(document)

    @classmethod
    def from_json(cls, key: JobKey, body: bytes) -> "_Mark":
        """Reads what `to_json` wrote; of what cannot be read only the job is known, and its record decides."""
        try:
            document: dict[str, Any] = json.loads(body)
            etag, source, submission_id = (str(document[name]) for name in ("etag", "source", "submission_id"))
            return cls(key, etag, source, submission_id, document["with_source"] is True)
        except (ValueError, KeyError, TypeError) as error:
            _log.warning("delete: the mark of %s cannot be read: %r", key.path, error)
            return cls(key, "")


def delete(
    store: Store, key: JobKey, *, with_source: bool = False, max_blobs: int | None = None, etag: str = ""
) -> Deleted:
    """Deletes a job that has ended.

    From the first write of job.json on the job cannot be changed any more, and an error or the end of the process only
    delays the rest: the timer's pass does it.

    Args:
        store: the storage account.
        key: the job.
        with_source: the dropped file that it came from goes too, unless another version lies there now. A file that
            stays makes no new job, for the tombstone tells that it had one; dropped anew it does.
        max_blobs: about how many blobs this call may delete; None: all.
        etag: the version of its record that is to go; empty: whichever there is.

    Returns:
        What was deleted; nothing, and done, for a job that had been deleted before.

    Raises:
        NotFoundError: there is no such job, and there was none.
        IllegalMove: it has not ended, and stays as it is.
        ConflictError: its record is not at `etag` any more, or was changed again and again; it stays as it is.
        StorageCorrupt: its record cannot be read, so nobody knows whether it has ended.
        StorageError: as the storage does.
    """
    marked = ""
    for _ in range(_MAX_TRIES):
        blob = store.blobs.read(RUNS, key.record)
        if blob is None:
            return _again(store, key, with_source, max_blobs)
        job = JobRecord.from_json(blob.body)
        if not job.state.is_final:
            # Somebody's retry came between: the mark has no meaning, unless another deletion has set it anew.
            _unmark(store, key, marked)
            raise IllegalMove(
                f"{key.path} is {job.state}: only a job that has ended can be deleted. Cancel it first, and wait for "
                "its end"
            )
        if etag and blob.etag != etag:
            _unmark(store, key, marked)
            raise ConflictError(f"{key.path} was changed since it was chosen for deletion, and stays. Choose again")
        tell(store, job, set())  # or nobody would ever hear how it ended
        mark = _Mark(key, blob.etag, job.source, job.submission_id, with_source=with_source)
        marked = store.blobs.put(RUNS, key.deletion, mark.to_json()).etag
        if _is_closed(store, job, blob):
            return _remove(store, mark, marked, blob.served, max_blobs)
    _unmark(store, key, marked)
    raise ConflictError(f"{key.path}: others changed its record {_MAX_TRIES} times before it was deleted. Try again")


def finish_deletions(store: Store, *, max_blobs: int = 5000) -> int:
    """Goes on with the deletions that were interrupted, or are under way.

    Args:
        store: the storage account.
        max_blobs: about how many blobs this call may delete.

    Returns:
        How many it deleted. What is wrong with one deletion is logged and holds up no other.

    Raises:
        StorageUnavailable: the storage does not answer; the next pass goes on.
    """
    num_deleted = 0
    for listed in list(store.blobs.files(RUNS, DELETING)):
        if num_deleted >= max_blobs:
            break
        try:
            key = JobKey.parse(listed.name.removeprefix(DELETING))
            num_deleted += _finish(store, key, max_blobs - num_deleted)
        except StorageUnavailable:
            raise
        except DropsweepError:
            _log.exception("delete: %s cannot be dealt with; the others are", listed.name)
    return num_deleted


def _finish(store: Store, key: JobKey, max_blobs: int) -> int:
    """Goes on with one deletion whose mark was found; returns how many blobs it deleted."""
    found = store.blobs.read(RUNS, key.deletion)
    if found is None:
        return 0
    mark = _Mark.from_json(key, found.body)
    blob = store.blobs.read(RUNS, key.record)
    if blob is not None:
        job = JobRecord.from_json(blob.body)
        is_meant = job.deleted is not None or (blob.etag == mark.etag and _is_closed(store, job, blob))
        if not is_meant:
            _log.info("delete: %s was changed before its deletion began, and stays", key.path)
            _unmark(store, key, found.etag)
            return 0
    return _remove(store, mark, found.etag, found.served, max_blobs).num_blobs


def _is_closed(store: Store, job: JobRecord, blob: Blob) -> bool:
    """Says in job.json that it is being deleted; False when somebody changed it first."""
    if job.deleted is not None:
        return True
    closed = replace(job, deleted=blob.served, message="it is being deleted")
    return store.blobs.replace(RUNS, job.key.record, closed.to_json(), blob.etag, closed.to_metadata()) is not None


def _unmark(store: Store, key: JobKey, etag: str) -> None:
    """Takes back a mark that this call has set or seen, if there is one."""
    if etag:
        store.blobs.delete(RUNS, key.deletion, etag=etag)


def _again(store: Store, key: JobKey, with_source: bool, max_blobs: int | None) -> Deleted:
    """Deletes a job that has no record: what is left of it, if it had one."""
    found = store.blobs.read(RUNS, key.deletion)
    if found is not None:
        before = _Mark.from_json(key, found.body)
        mark = replace(before, with_source=with_source or before.with_source)
        return _remove(store, mark, found.etag, found.served, max_blobs)
    tombstone = store.blobs.read(RUNS, key.tombstone)
    if tombstone is None:
        raise NotFoundError(f"{key.path}: there is no such job. `dropsweep list` shows what there is")
    mark = replace(_Mark.from_json(key, tombstone.body), with_source=with_source)
    return Deleted(key, 0, is_done=True, source=_settle_source(store, mark))


def _remove(store: Store, mark: _Mark, etag: str, now: datetime, max_blobs: int | None) -> Deleted:
    """Deletes a job whose record says that it is being deleted, or is gone; `etag` is that of the mark."""
    key = mark.job
    # Created, so that the first one stands: it may be known by which version of its file the job was made.
    store.blobs.create(RUNS, key.tombstone, mark.to_json(now))
    num_deleted = 0
    while True:
        most = _ROUND if max_blobs is None else min(_ROUND, max_blobs - num_deleted)
        if most <= 0:
            return Deleted(key, num_deleted, is_done=False, source=mark.source)
        names = _next_names(store, key, most)
        if not names:
            break
        _delete_all(store, names)
        num_deleted += len(names)
    source = _settle_source(store, mark)
    store.blobs.delete(RUNS, key.marker)
    store.blobs.delete(RUNS, key.record)
    _unmark(store, key, etag)
    _log.info("delete: %s is gone, with %d blobs", key.path, num_deleted + 1)
    return Deleted(key, num_deleted + 1, is_done=True, source=source)


def _next_names(store: Store, key: JobKey, most: int) -> list[str]:
    """Lists blobs of the job to delete next, but never its record; none once it stands alone.

    Those that stand for folders come once all others are gone, deepest first: where folders are real (hierarchical
    namespaces), one can only be deleted once it is empty.
    """
    files: list[str] = []
    folders: list[str] = []
    for found in store.blobs.list(RUNS, f"{key.path}/", metadata=True):
        if found.metadata.get(FOLDER_MARK) == "true":
            folders.append(found.name)
        elif found.name != key.record:
            files.append(found.name)
            if len(files) == most:
                return files
    return files or folders[::-1][: min(most, _BATCH)]


def _delete_all(store: Store, names: Sequence[str]) -> None:
    chunks = [names[begin : begin + _BATCH] for begin in range(0, len(names), _BATCH)]
    with ThreadPoolExecutor(_DELETERS, thread_name_prefix="delete") as pool:
        for _ in pool.map(lambda chunk: store.blobs.delete_all(RUNS, chunk), chunks):
            pass


def _settle_source(store: Store, mark: _Mark) -> str:
    """Deletes the dropped file, if it is to go; returns the one that stays, or nothing."""
    container, _, path = mark.source.partition("/")
    if container != JOBS or not path:
        return ""
    head = store.blobs.head(JOBS, path)
    if head is None or not _is_source(store, mark, Drop.parse(path), head):
        return ""
    if mark.with_source:
        store.blobs.delete(JOBS, path, etag=head.etag)
        return ""
    return mark.source


def _is_source(store: Store, mark: _Mark, drop: Drop, head: Head) -> bool:
    """True when a dropped file is the one that made the job, and not another version that lies there by now.

    Without a submission id its version tells. With one, the id and the content: the same id may have come again with
    another one, which was refused. A file that is too large to be read is nobody's.
    """
    if not mark.submission_id:
        return key_of(drop, mark.job.job[:-_SUFFIX_LENGTH], head.etag) == mark.job
    if head.metadata.get(SUBMISSION_ID) != mark.submission_id or head.size_bytes > MAX_JOB_FILE_BYTES:
        return False
    blob = store.blobs.read(JOBS, drop.path)
    if blob is None or blob.etag != head.etag:
        return False
    document = read_document(blob.body, file_name=drop.path)
    submission = Submission(
        drop.workspace, drop.experiment, document, (), drop.stem, mark.source, submission_id=mark.submission_id
    )
    try:
        return claimed(store, submission) == mark.job
    except SubmissionReused:
        return False
    except StorageCorrupt as error:
        _log.warning("delete: %s stays, for nobody knows whose it is: %s", mark.source, error)
        return False
