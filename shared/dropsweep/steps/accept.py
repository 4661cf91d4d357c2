"""Accept: a submission becomes a job, or is refused with every reason at once. The one door of all ways in.

Reads: whether the submission is known already; whether the code folder and the inputs that its file names exist.
Writes (in order): the record of its submission id, if it has one (create: says which job it is) → spec.json (create)
    → the marker of live jobs → job.json (create) → a hint on the queue `advance`. Nothing for one that is refused.
Idempotent by: the job's id follows from what must not happen twice; every record is created, never changed; and where
    senders agree on a submission id by different ways in, its record, created once, decides which job it is.
If it dies: before job.json, the sender's repetition, or the timer's pass for a dropped file, finds the same id and goes
    on; after job.json, a repetition finds the job still queued and sends the hint again, and the timer's pass finds the
    job by its marker.
Next: advance.
"""

import hashlib
import json
import logging
import zlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dropsweep.errors import NotFoundError, Problem, Severity, SpecError, StorageCorrupt, SubmissionReused
from dropsweep.messages import AdvanceMessage
from dropsweep.names import (
    ADVANCE_QUEUE,
    NAME_RULE,
    QUEUE_RULE,
    RUNS,
    SUBMISSION_ID_RULE,
    JobKey,
    is_name,
    is_reply_queue,
    is_submission_id,
    job_id,
    submission_record,
)
from dropsweep.records import JobRecord
from dropsweep.records.codec import VERSION, dump, load
from dropsweep.settings import Settings
from dropsweep.spec import Document, JobSpec, Reading, Reference, name_of, read_job
from dropsweep.states import JobReason, JobState
from dropsweep.storage import Store

_log = logging.getLogger(__name__)
_SUBMISSION: Final = "submission"
"""Begins the identity of whatever has a submission id."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What came in, by whichever way.

    Attributes:
        workspace, experiment: where the job shall belong.
        document: the job file.
        identity: what must not happen twice where there is no submission id; its first part names the way in.
        default_name: the job's name where the file gives none; a name.
        source: for people: where it came from.
        submission_id: what its sender says must not happen twice, within the workspace; empty: nothing.
        reply_to: the queue that is told of each change of the job's state; empty: none.
        is_reply_base64: what is told goes in base64.
        schedule: name of the schedule that it comes from; empty for any other.
        found: what is wrong with it beside the job file, as seen on its way in.
    """

    workspace: str
    experiment: str
    document: Document
    identity: tuple[str, ...]
    default_name: str
    source: str
    submission_id: str = ""
    reply_to: str = ""
    is_reply_base64: bool = False
    schedule: str = ""
    found: tuple[Problem, ...] = ()

    @property
    def key(self) -> JobKey:
        """The job that it becomes, unless its submission id has become another one."""
        identity = submitted(self.workspace, self.submission_id) if self.submission_id else self.identity
        name = name_of(self.document, f"{self.default_name}.yaml")
        return JobKey(self.workspace, self.experiment, job_id(name, *identity))

    @property
    def digest(self) -> str:
        """Stands for the content: equal for the same job file in the same place, as YAML or as JSON."""
        content = [self.workspace, self.experiment, self.document.data]
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with it beside the job file."""
        wrong = [*self.found]
        for what, name in (("workspace", self.workspace), ("experiment", self.experiment)):
            if not is_name(name):
                wrong.append(Problem(what, name[:80], f"a name is {NAME_RULE}", "Choose another one"))
        if self.submission_id and not is_submission_id(self.submission_id):
            shown = repr(self.submission_id[:80])
            wrong.append(Problem("submission_id", shown, f"is {SUBMISSION_ID_RULE}", "Send a UUID, or a digest"))
        if self.reply_to and not is_reply_queue(self.reply_to):
            rule = f"a queue's name is {QUEUE_RULE}, and none that Dropsweep itself reads"
            wrong.append(Problem("reply_to", repr(self.reply_to[:80]), rule, "Name a queue of your own"))
        return tuple(wrong)


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


def submitted(workspace: str, submission_id: str) -> tuple[str, ...]:
    """Returns the identity of what has a submission id, by whichever way it comes."""
    return (_SUBMISSION, workspace, submission_id)


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
        store.queues.send(ADVANCE_QUEUE, AdvanceMessage(key).to_text())
    return Accepted(key, job, blob.etag)


def claim(store: Store, submission: Submission) -> JobKey:
    """Says once for all which job the submission's id becomes; returns that job, which another call may have chosen.

    Raises:
        SubmissionReused: the other call had another content.
    """
    key = submission.key
    path = submission_record(submission.workspace, submission.submission_id)
    document = {
        "version": VERSION,
        "submission_id": submission.submission_id,
        "job": key.path,
        "digest": submission.digest,
        "source": submission.source,
    }
    if store.blobs.create(RUNS, path, dump(document)) is not None:
        return key
    return claimed(store, submission) or key


def claimed(store: Store, submission: Submission) -> JobKey | None:
    """Returns the job that the submission's id has become; None while it has become none.

    Raises:
        SubmissionReused: with another content.
    """
    if not submission.submission_id:
        return None
    path = submission_record(submission.workspace, submission.submission_id)
    blob = store.blobs.read(RUNS, path)
    if blob is None:
        return None
    document = load(blob.body)
    try:
        key, digest = JobKey.parse(document["job"]), document["digest"]
    except (KeyError, TypeError, AttributeError) as error:
        raise StorageCorrupt(f"{RUNS}/{path} cannot be read: {error!r}") from error
    if digest != submission.digest:
        raise SubmissionReused(
            f"submission_id {submission.submission_id} became {key.path} before, with another content: one id stands "
            "for one submission. Send this one with an id of its own"
        )
    return key


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
    problems = (*submission.problems, *reading.problems, *_absent(store, reading))
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
    store.queues.send(ADVANCE_QUEUE, AdvanceMessage(key).to_text())
    if written is None:
        return find_known(store, key) or Accepted(key, None)
    _log.info("accept: %s has %d trials on %s", key.path, job.num_trials, job.cluster)
    return Accepted(key, job, written.etag, is_new=True)


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
