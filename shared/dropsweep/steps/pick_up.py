"""Pick up: a file that was dropped into the container `jobs` becomes a submission.

Reads: the dropped blob.
Writes (in order): whatever accept writes. For a file that is wrong: error.json → for one that wants an answer the
    marker of live jobs → job.json (create, rejected) → for such a one a hint; no trial is queued.
Idempotent by: the job's id follows from the submission id in the blob's metadata, or else from its path and ETag, so
    the same event twice finds the job there.
If it dies: the event is delivered again, or the timer's pass finds the file without a job.
Next: advance.
"""

import logging
from dataclasses import dataclass
from typing import Final

from dropsweep.errors import Problem, Severity, SpecError, SubmissionReused
from dropsweep.messages import AdvanceMessage
from dropsweep.names import (
    ADVANCE_QUEUE,
    JOB_FILE_SUFFIXES,
    JOBS,
    NAME_RULE,
    RUNS,
    Drop,
    JobKey,
    is_reply_queue,
    is_submission_id,
    job_id,
)
from dropsweep.records import JobRecord
from dropsweep.records.codec import VERSION, dump
from dropsweep.settings import Settings
from dropsweep.spec import MAX_JOB_FILE_BYTES, Document, name_of, read_document
from dropsweep.states import JobReason, JobState
from dropsweep.steps._claims import claim
from dropsweep.steps.accept import accept, find_known
from dropsweep.storage import FOLDER_MARK, Blob, Head, Store
from dropsweep.submissions import Submission

_log = logging.getLogger(__name__)

SUBMISSION_ID: Final = "submissionid"
"""Metadata key of a dropped blob: what must not be submitted twice, by whichever way."""
REPLY_TO: Final = "replyto"
"""Metadata key of a dropped blob: the queue that is told of each change of the job's state."""


@dataclass(frozen=True, slots=True)
class _Dropped:
    """A dropped file, what it says, and which version of it that was."""

    drop: Drop
    submission: Submission
    head: Head

    @property
    def key(self) -> JobKey:
        """The job that this version becomes by itself, whatever its submission id became."""
        return key_of(self.drop, name_of(self.submission.document, self.drop.path), self.head.etag)


def key_of(drop: Drop, name: str, etag: str) -> JobKey:
    """Returns the key of the job that a dropped file without a submission id becomes.

    Args:
        drop: where the file lies.
        name: what `spec.name_of` reads in it.
        etag: the blob's version, with or without quotes; dropping the file again gives another one.
    """
    return JobKey(drop.workspace, drop.experiment, job_id(name, *_identity(drop, etag)))


def pick_up(store: Store, settings: Settings, path: str) -> JobKey | None:
    """Makes a job of the file that was dropped at `path` in the container `jobs`, or a rejected one.

    Returns:
        The job's key, or None when the file has been deleted again, or only marks a folder.

    Raises:
        StorageError: as the storage does; the same event may be given again.
    """
    if path.endswith("/"):
        return None
    head = store.blobs.head(JOBS, path)
    if head is None or head.metadata.get(FOLDER_MARK) == "true":
        return None
    drop = Drop.parse(path)
    if head.size_bytes > MAX_JOB_FILE_BYTES:
        document = Document(None, (_too_large(head.size_bytes),))
        return _reject(store, _dropped(drop, head, document), document.problems)
    blob = store.blobs.read(JOBS, path)
    if blob is None:
        return None
    dropped = _dropped(drop, blob, read_document(blob.body, file_name=path))
    try:
        return accept(store, settings, dropped.submission).key
    except SpecError as error:
        return _reject(store, dropped, error.problems)
    except SubmissionReused as error:
        problem = Problem("submission_id", dropped.submission.submission_id, str(error), "Drop it with another id")
        return _reject(store, dropped, (problem,), takes_id=False)


def _identity(drop: Drop, etag: str) -> tuple[str, ...]:
    return (JOBS, drop.path, etag.strip('"'))


def _dropped(drop: Drop, head: Head | Blob, document: Document) -> _Dropped:
    submission = Submission(
        workspace=drop.workspace,
        experiment=drop.experiment,
        document=document,
        identity=_identity(drop, head.etag),
        default_name=drop.stem,
        source=f"{JOBS}/{drop.path}",
        submission_id=head.metadata.get(SUBMISSION_ID, ""),
        reply_to=head.metadata.get(REPLY_TO, ""),
        found=_misplaced(drop),
    )
    return _Dropped(drop, submission, head)


def _reject(store: Store, dropped: _Dropped, problems: tuple[Problem, ...], *, takes_id: bool = True) -> JobKey:
    """Writes a rejected job, under the submission's own id where it can have one: its sender looks for it there."""
    submission = dropped.submission
    takes_id = takes_id and is_submission_id(submission.submission_id)
    try:
        key = claim(store, submission) if takes_id else dropped.key
    except SubmissionReused:
        key = dropped.key
    document = {
        "version": VERSION,
        "job": key.path,
        "source": submission.source,
        "problems": [problem.to_json() for problem in problems],
    }
    store.blobs.put(RUNS, key.error, dump(document))
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    more = f" (and {len(errors) - 1} more in error.json)" if len(errors) > 1 else ""
    now = dropped.head.served
    job = JobRecord(
        key=key,
        kind="unknown",
        reason=JobReason.SPEC_INVALID,
        name=dropped.drop.stem,
        num_trials=0,
        created=now,
        finished=now,
        message=f"{errors[0]}{more}",
        source=submission.source,
        submission_id=submission.submission_id if takes_id else "",
        reply_to=submission.reply_to if is_reply_queue(submission.reply_to) else "",
    ).noted(None, now)
    if job.untold:
        store.blobs.put(RUNS, key.marker, b"")
    if store.blobs.create(RUNS, key.record, job.to_json(), job.to_metadata()) is None:
        known = find_known(store, key)
        if known is not None and (known.record is None or known.record.state is not JobState.REJECTED):
            # Another delivery found everything there that this one missed a moment earlier.
            store.blobs.delete(RUNS, key.error)
            return key
    if job.untold:
        store.queues.send(ADVANCE_QUEUE, AdvanceMessage(key).to_text())
    _log.warning("pick up: %s is rejected: %d problems", key.path, len(errors))
    return key


def _misplaced(drop: Drop) -> tuple[Problem, ...]:
    problems = []
    if not drop.path.endswith(JOB_FILE_SUFFIXES):
        problems.append(
            Problem(
                "",
                f"{JOBS}/{drop.path}",
                f"a job file's name ends in {', '.join(JOB_FILE_SUFFIXES)}",
                "Rename it; scripts and data belong into the container `code` or one of your own",
            )
        )
    if not drop.is_well_placed:
        problems.append(
            Problem(
                "",
                f"{JOBS}/{drop.path}",
                f"a job file lies at {{workspace}}/{{experiment}}/{{file}}, each folder {NAME_RULE}",
                f"Drop it at {JOBS}/{drop.workspace}/{drop.experiment}/{drop.path.rpartition('/')[2]}",
            )
        )
    return tuple(problems)


def _too_large(size_bytes: int) -> Problem:
    return Problem(
        "",
        f"{size_bytes:,} bytes",
        f"a job file has at most {MAX_JOB_FILE_BYTES:,} bytes",
        "Move data and code out of it and name them under inputs and code",
    )
