"""Accept: a dropped file becomes a job, or a rejected one that tells its author every reason at once.

Reads: the dropped blob; whether the code folder and the inputs that it names exist.
Writes (in order): spec.json (create) → the marker of live jobs → job.json (create) → a hint on the queue `advance`.
    For a file that is wrong: error.json → job.json (create, rejected); nothing is queued.
Idempotent by: the job's id follows from the blob's path and ETag, so the same event twice finds the job there; both
    records are created, never changed.
If it dies: after spec.json, the event is delivered again, or the timer's pass finds the file without a job, and goes
    on; after job.json, the delivery that follows finds the job still queued and sends the hint again, and the timer's
    pass finds the job by its marker.
Next: advance.
"""

import logging
import zlib

from dropsweep.errors import NotFoundError, Problem, Severity
from dropsweep.messages import AdvanceMessage
from dropsweep.names import (
    ADVANCE_QUEUE,
    JOB_FILE_SUFFIXES,
    JOBS,
    NAME_RULE,
    RUNS,
    Drop,
    JobKey,
    job_id,
)
from dropsweep.records import JobRecord
from dropsweep.records.codec import dump
from dropsweep.settings import Settings
from dropsweep.spec import MAX_JOB_FILE_BYTES, JobSpec, Reading, Reference, name_of, read_job
from dropsweep.states import JobReason, JobState
from dropsweep.storage import FOLDER_MARK, Blob, Head, Store

_log = logging.getLogger(__name__)


def key_of(drop: Drop, name: str, etag: str) -> JobKey:
    """Returns the key of the job that a dropped file becomes.

    Args:
        drop: where the file lies.
        name: what `spec.name_of` reads in it.
        etag: the blob's version, with or without quotes; dropping the file again gives another one.
    """
    return JobKey(drop.workspace, drop.experiment, job_id(name, JOBS, drop.path, etag.strip('"')))


def accept(store: Store, settings: Settings, path: str) -> JobKey | None:
    """Makes a job of the file that was dropped at `path` in the container `jobs`.

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
        key = key_of(drop, drop.stem, head.etag)
        return _reject(store, drop, key, head, (_too_large(head.size_bytes),))
    blob = store.blobs.read(JOBS, path)
    if blob is None:
        return None
    key = key_of(drop, name_of(blob.body, path), blob.etag)
    known = store.blobs.read(RUNS, key.record)
    if known is not None:
        return _again(store, JobRecord.from_json(known.body))
    reading = read_job(
        blob.body,
        file_name=path,
        clusters=settings.clusters,
        seed=_seed(key),
        experiment=drop.experiment,
    )
    problems = (*_misplaced(drop), *reading.problems, *_absent(store, reading))
    errors = tuple(problem for problem in problems if problem.severity is Severity.ERROR)
    if reading.spec is None or errors:
        return _reject(store, drop, key, blob, problems)
    return _accept(store, drop, key, blob, reading.spec, problems)


def _accept(
    store: Store,
    drop: Drop,
    key: JobKey,
    blob: Blob,
    spec: JobSpec,
    warnings: tuple[Problem, ...],
) -> JobKey:
    store.blobs.create(RUNS, key.spec, spec.to_json())
    limits = spec.limits
    job = JobRecord(
        key=key,
        kind=spec.type,
        reason=JobReason.ACCEPTED,
        name=spec.name,
        num_trials=spec.num_trials,
        created=blob.served,
        window=limits.max_concurrent_trials,
        display_name=spec.display_name or "",
        tags=spec.tags,
        cluster=spec.cluster,
        timeout_s=limits.timeout_s,
        trial_timeout_s=limits.trial_timeout_s,
        goal=spec.objective.goal if spec.objective else None,
        primary_metric=spec.objective.primary_metric if spec.objective else None,
        source=f"{JOBS}/{drop.path}",
        warnings=tuple(str(problem) for problem in warnings),
    )
    # Before the record: a live job without its marker would be found by no timer.
    store.blobs.put(RUNS, key.marker, b"")
    store.blobs.create(RUNS, key.record, job.to_json(), job.to_metadata())
    store.queues.send(ADVANCE_QUEUE, AdvanceMessage(key).to_text())
    _log.info("accept: %s has %d trials on %s", key.path, job.num_trials, job.cluster)
    return key


def _reject(store: Store, drop: Drop, key: JobKey, head: Head, problems: tuple[Problem, ...]) -> JobKey:
    source = f"{JOBS}/{drop.path}"
    document = {
        "version": 1,
        "job": key.path,
        "source": source,
        "problems": [problem.to_json() for problem in problems],
    }
    store.blobs.put(RUNS, key.error, dump(document))
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    more = f" (and {len(errors) - 1} more in error.json)" if len(errors) > 1 else ""
    job = JobRecord(
        key=key,
        kind="unknown",
        reason=JobReason.SPEC_INVALID,
        name=drop.stem,
        num_trials=0,
        created=head.served,
        finished=head.served,
        message=f"{errors[0]}{more}",
        source=source,
    )
    if store.blobs.create(RUNS, key.record, job.to_json(), job.to_metadata()) is None:
        known = store.blobs.read(RUNS, key.record)
        if known is not None and JobRecord.from_json(known.body).state is not JobState.REJECTED:
            # Another delivery found everything there that this one missed a moment earlier.
            store.blobs.delete(RUNS, key.error)
            return key
    _log.warning("accept: %s is rejected: %d problems", key.path, len(errors))
    return key


def _again(store: Store, job: JobRecord) -> JobKey:
    if job.state is JobState.QUEUED:
        store.queues.send(ADVANCE_QUEUE, AdvanceMessage(job.key).to_text())
    return job.key


def _seed(key: JobKey) -> int:
    """A seed for a file that names none: the same for the same drop, another for the next one."""
    return zlib.crc32(key.path.encode()) & 0x7FFF_FFFF


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


def _absent(store: Store, reading: Reading) -> tuple[Problem, ...]:
    """Looks whether everything exists that the file points at, where it points at something that can exist."""
    wrong = {problem.path for problem in reading.problems if problem.severity is Severity.ERROR}
    return tuple(
        problem
        for reference in reading.references
        if reference.path not in wrong and (problem := _absence(store, reference)) is not None
    )


def _absence(store: Store, reference: Reference) -> Problem | None:
    if not reference.blob.isprintable():
        return Problem(
            reference.path, repr(reference.value), "a path has printable characters only", "Rename the blob or folder"
        )
    rule = "the folder must have at least one file in it" if reference.is_folder else "the file must exist"
    try:
        if reference.is_folder:
            prefix = f"{reference.blob}/" if reference.blob else ""
            exists = any(True for _ in store.blobs.files(reference.container, prefix))
        else:
            exists = store.blobs.head(reference.container, reference.blob) is not None
    except NotFoundError:
        exists = False  # no such container
    if exists:
        return None
    return Problem(
        reference.path,
        reference.value,
        f"{rule}, looked for {reference.container}/{reference.blob}",
        "Upload it before the job file, or correct the path",
    )


def _too_large(size_bytes: int) -> Problem:
    return Problem(
        "",
        f"{size_bytes:,} bytes",
        f"a job file has at most {MAX_JOB_FILE_BYTES:,} bytes",
        "Move data and code out of it and name them under inputs and code",
    )
