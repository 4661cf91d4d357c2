"""Accept: a submission becomes a job, or is refused with every reason at once. The one door of all ways in.

Reads: whether the submission is known already; whether the code folder and the inputs that its file names exist.
Writes (in order): the record of its submission id, if it has one (create: says which job it is) → spec.json (create)
    → the marker of live jobs → job.json (create; removed again for a job that has been deleted meanwhile) → a hint on
    the queue `advance`. Nothing for one that is refused.
Idempotent by: the job's id follows from what must not happen twice; every record is created, never changed; and where
    senders agree on a submission id by different ways in, its record, created once, decides which job it is.
If it dies: before job.json, the sender's repetition, or the timer's pass for a dropped file, finds the same id and goes
    on; after job.json, a repetition finds the job still queued and sends the hint again, and the timer's pass finds the
    job by its marker.
Next: advance.
"""

import logging
import zlib
from dataclasses import dataclass
from datetime import datetime

from dropsweep.errors import NotFoundError, Problem, Severity, SpecError, StorageError
from dropsweep.messages import AdvanceMessage
from dropsweep.names import ADVANCE_QUEUE, RUNS, JobKey
from dropsweep.records import JobRecord
from dropsweep.settings import Settings
from dropsweep.spec import JobSpec, read_job
from dropsweep.states import JobReason, JobState
from dropsweep.steps._claims import claim, claimed
from dropsweep.steps._references import absent
from dropsweep.storage import Store
from dropsweep.submissions import Submission

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a submission became.

    Attributes:
        key: the job.
        record: its record; None when the job has been deleted since.
        etag: of the record; empty without one.
        is_new: this very call made the job.
    """

    key: JobKey
    record: JobRecord | None
    etag: str = ""
    is_new: bool = False


def accept(store: Store, settings: Settings, submission: Submission) -> Accepted:
    """Makes a job of a submission, or finds the one that it became before.

    Args:
        store: the storage account.
        settings: the deployment's clusters.
        submission: what came in.

    Raises:
        SpecError: with everything that is wrong; nothing is written.
        SubmissionReused: the submission id came before with another content; that job stands.
        StorageError: as the storage does; the same submission may be given again.
    """
    is_wrong = bool(submission.problems)
    before = None if is_wrong else claimed(store, submission)
    key = before or submission.key
    known = None if is_wrong else find_known(store, key)
    if known is not None:
        return known
    spec, warnings = _read(store, settings, submission, key)
    if submission.submission_id and before is None:
        # Only what can be accepted takes the id, so that a file that was refused may come again with it, corrected.
        decided = claim(store, submission)
        if decided != key:
            key = decided
            known = find_known(store, key)
            if known is not None:
                return known
            spec, warnings = _read(store, settings, submission, key)
    return _create(store, submission, key, spec, warnings)


def find_known(store: Store, key: JobKey) -> Accepted | None:
    """Returns the job that there is already, or was; its hint is sent again while it is queued. None: there is none."""
    blob = store.blobs.read(RUNS, key.record)
    if blob is None:
        is_deleted = store.blobs.head(RUNS, key.tombstone) is not None
        return Accepted(key, None) if is_deleted else None
    job = JobRecord.from_json(blob.body)
    if job.state is JobState.QUEUED:
        _hint(store, key)
    return Accepted(key, job, blob.etag)


def _read(store: Store, settings: Settings, submission: Submission, key: JobKey) -> tuple[JobSpec, tuple[Problem, ...]]:
    """Reads the job file and looks whether everything exists that it points at; returns the job and its warnings.

    Raises:
        SpecError: with everything that is wrong.
    """
    reading = read_job(
        submission.document,
        # The name in the id, which another way in may have given: the same submission by two ways is one job.
        file_name=f"{key.job.rpartition('-')[0]}.yaml",
        clusters=settings.clusters,
        seed=_seed(key),
        experiment=submission.experiment,
    )
    problems = (*submission.problems, *reading.problems, *absent(store, reading))
    if reading.spec is None or any(problem.severity is Severity.ERROR for problem in problems):
        raise SpecError(problems)
    return reading.spec, problems


def _create(
    store: Store, submission: Submission, key: JobKey, spec: JobSpec, warnings: tuple[Problem, ...]
) -> Accepted:
    store.blobs.create(RUNS, key.spec, spec.to_json())
    # Before the record: a live job without its marker would be found by no timer. Its time is when the job was made.
    created = store.blobs.put(RUNS, key.marker, b"").modified
    job = _new(submission, key, spec, warnings, created).noted(None, created)
    written = store.blobs.create(RUNS, key.record, job.to_json(), job.to_metadata())
    if written is None:
        return find_known(store, key) or Accepted(key, None)
    if store.blobs.head(RUNS, key.tombstone) is not None:
        # Since this delivery found no job another one made it, and it has been run and deleted: it does not come back.
        for path in (key.spec, key.marker):
            store.blobs.delete(RUNS, path)
        store.blobs.delete(RUNS, key.record, etag=written.etag)
        return Accepted(key, None)
    _hint(store, key)
    _log.info("accept: %s has %d trials on %s", key.path, job.num_trials, job.cluster)
    return Accepted(key, job, written.etag, is_new=True)


def _hint(store: Store, key: JobKey) -> None:
    """Sends the hint; where it cannot be sent the job is accepted all the same, and the timer's pass looks at it."""
    try:
        store.queues.send(ADVANCE_QUEUE, AdvanceMessage(key).to_text())
    except (StorageError, NotFoundError) as error:
        _log.error("accept: %s waits for the timer, for no hint could be sent: %s", key.path, error)


def _new(
    submission: Submission, key: JobKey, spec: JobSpec, warnings: tuple[Problem, ...], created: datetime
) -> JobRecord:
    limits = spec.limits
    return JobRecord(
        key=key,
        kind=spec.type,
        reason=JobReason.ACCEPTED,
        name=spec.name,
        num_trials=spec.num_trials,
        created=created,
        window=limits.max_concurrent_trials,
        display_name=spec.display_name or "",
        tags=spec.tags,
        cluster=spec.cluster,
        priority=spec.priority,
        timeout_s=limits.timeout_s,
        trial_timeout_s=limits.trial_timeout_s,
        goal=spec.objective.goal if spec.objective else None,
        primary_metric=spec.objective.primary_metric if spec.objective else None,
        source=submission.source,
        submission_id=submission.submission_id,
        schedule=submission.schedule,
        reply_to=submission.reply_to,
        is_reply_base64=submission.is_reply_base64,
        warnings=tuple(str(problem) for problem in warnings),
    )


def _seed(key: JobKey) -> int:
    """A seed for a file that names none: the same for the same submission, another for the next one."""
    return zlib.crc32(key.path.encode()) & 0x7FFF_FFFF
