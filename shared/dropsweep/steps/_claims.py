"""Which job a submission id became: said once for all, whatever way it comes by."""

from dropsweep.errors import StorageCorrupt, SubmissionReused
from dropsweep.names import RUNS, JobKey, submission_record
from dropsweep.records.codec import VERSION, dump, load
from dropsweep.storage import Store
from dropsweep.submissions import Submission


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
