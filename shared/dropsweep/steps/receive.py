"""Receive: a message on the queue `submissions` becomes a submission, or is buried with its reason.

Reads: the job file that the message names, where it does not hold it.
Writes (in order): whatever accept writes. For a message that is refused: its record among the buried → the answer on
    `reply_to`.
Idempotent by: the job's id follows from the message's submission id, or else from the message's own id.
If it dies: the message is delivered again.
Next: advance; for a buried message a person, by `dropsweep poison`.
"""

import contextlib
import logging
from datetime import datetime
from pathlib import PurePosixPath
from typing import Final

from dropsweep.errors import NotFoundError, Problem, Severity, SpecError, SubmissionReused
from dropsweep.events import encoded, refusal_event
from dropsweep.names import DEFAULT_NAME, SUBMISSIONS_QUEUE, JobKey, to_name
from dropsweep.settings import Settings
from dropsweep.spec import MAX_JOB_FILE_BYTES, Document, read_document
from dropsweep.spec.envelope import Envelope, read_envelope
from dropsweep.steps._claims import claimed
from dropsweep.steps.accept import accept, find_known
from dropsweep.steps.bury import bury
from dropsweep.steps.tell import send
from dropsweep.storage import Store
from dropsweep.submissions import Submission

_log = logging.getLogger(__name__)
_UNNAMED: Final = "job"
"""Name of a job whose file gives none and has no file name."""
_MAX_TOLD: Final = 10


def receive(
    store: Store, settings: Settings, message_id: str, body: bytes, num_attempts: int, now: datetime
) -> JobKey | None:
    """Makes a job of a message, or buries it; the caller deletes the message afterwards.

    Args:
        store: the storage account.
        settings: the deployment's clusters.
        message_id: the service's id of the message.
        body: what it says.
        num_attempts: how often it has been delivered.
        now: the time, for the answer to a message that is refused.

    Returns:
        The job's key; None when the message was buried.

    Raises:
        StorageError: as the storage does; the message is to be delivered again.
    """
    envelope = read_envelope(body)
    try:
        return accept(store, settings, _submission(store, envelope, message_id)).key
    except SpecError as error:
        errors = [problem for problem in error.problems if problem.severity is Severity.ERROR]
        more = f" (and {len(errors) - _MAX_TOLD} more)" if len(errors) > _MAX_TOLD else ""
        reason = "\n".join(str(problem) for problem in errors[:_MAX_TOLD]) + more
        problems = error.problems
    except SubmissionReused as error:
        reason, problems = str(error), ()
    _refuse(store, envelope, message_id, body, reason, num_attempts, now, problems)
    return None


def give_up(store: Store, message_id: str, body: bytes, reason: str, num_attempts: int, now: datetime) -> None:
    """Buries and answers a message whose deliveries all failed, unless one of them made its job before it died.

    Args:
        store: the storage account.
        message_id: the service's id of the message.
        body: what it says.
        reason: what is known of the failures.
        num_attempts: how often it has been delivered.
        now: the time, for the answer.

    Raises:
        StorageError: as the storage does; the message is to be delivered again.
    """
    envelope = read_envelope(body)
    submission = _submission(store, envelope, message_id)
    if not submission.problems:
        with contextlib.suppress(SubmissionReused):
            key = claimed(store, submission) or submission.key
            if find_known(store, key) is not None:
                _log.warning("receive: message %s became %s, though %s", message_id, key.path, reason)
                return
    _refuse(store, envelope, message_id, body, reason, num_attempts, now)


def _refuse(
    store: Store,
    envelope: Envelope,
    message_id: str,
    body: bytes,
    reason: str,
    num_attempts: int,
    now: datetime,
    problems: tuple[Problem, ...] = (),
) -> None:
    """Buries a message and answers it where it says so; a message that is buried already is answered again.

    Raises:
        StorageError: as the storage does; the message is to be delivered again.
    """
    bury(store, SUBMISSIONS_QUEUE, message_id, body, reason, num_attempts)
    if envelope.reply_to:
        event = refusal_event(message_id, envelope.submission_id, reason, problems, now)
        send(store, envelope.reply_to, encoded(event, is_base64=envelope.is_base64))


def _submission(store: Store, envelope: Envelope, message_id: str) -> Submission:
    document, name, source = envelope.document, _UNNAMED, f"queue {SUBMISSIONS_QUEUE}"
    if envelope.blob is not None:
        container, path = envelope.blob
        document = _stored(store, container, path)
        name, source = to_name(PurePosixPath(path).stem), f"{container}/{path}"
    return Submission(
        workspace=envelope.workspace,
        experiment=envelope.experiment or _experiment(document),
        document=document,
        identity=(SUBMISSIONS_QUEUE, message_id),
        default_name=name,
        source=source,
        submission_id=envelope.submission_id,
        reply_to=envelope.reply_to,
        is_reply_base64=envelope.is_base64,
        found=envelope.problems,
    )


def _experiment(document: Document) -> str:
    given = document.data.get("experiment_name") if document.data else None
    return given if isinstance(given, str) and given else DEFAULT_NAME


def _stored(store: Store, container: str, path: str) -> Document:
    try:
        head = store.blobs.head(container, path)
        if head is not None and head.size_bytes > MAX_JOB_FILE_BYTES:
            rule = f"a job file has at most {MAX_JOB_FILE_BYTES:,} bytes"
            return Document(
                None, (Problem("blob", f"{head.size_bytes:,} bytes", rule, "Move data and code out of it"),)
            )
        blob = None if head is None else store.blobs.read(container, path)
    except NotFoundError:
        blob = None  # no such container
    if blob is None:
        return Document(None, (Problem("blob", f"{container}/{path}", "the file must exist", "Upload it first"),))
    return read_document(blob.body, file_name=path)
