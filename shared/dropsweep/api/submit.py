"""Submissions: a job file becomes a job, once for each Idempotency-Key."""

import uuid
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from dropsweep.api import answers, models
from dropsweep.api.parameters import ETAG, NAME_PATTERN, Account, Deployment, raw_body, responses
from dropsweep.api.problems import Refused
from dropsweep.client import Client
from dropsweep.errors import ConflictError, Problem, SpecError
from dropsweep.names import DEFAULT_NAME, QUEUE_RULE, SUBMISSION_ID_RULE, to_name
from dropsweep.spec import MAX_JOB_FILE_BYTES, read_document
from dropsweep.states import JobState
from dropsweep.steps.accept import accept
from dropsweep.submissions import Submission

router = APIRouter(tags=["jobs"])

_JSON: Final = "application/json"
_TYPES: Final = (_JSON, "application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")
_YAML: Final = "application/yaml"
_NEW: Final = {
    "description": "The job was made",
    "model": models.Job,
    "headers": {**ETAG, "Location": {"description": "the path of the job", "schema": {"type": "string"}}},
}
_BODY: Final = {
    "required": True,
    "description": f"A job file, with at most {MAX_JOB_FILE_BYTES:,} bytes",
    "content": {
        _YAML: {"schema": {"type": "string", "minLength": 1}},
        _JSON: {"schema": {"type": "object", "required": ["type"], "properties": {"type": {"type": "string"}}}},
    },
}


@router.post(
    "/jobs",
    operation_id="submit_job",
    summary="Hand a job file in",
    response_class=Response,
    status_code=201,
    responses={
        **responses(models.Job, 409, 413, 415, description="The job that this submission made before"),
        201: _NEW,
    },
    openapi_extra={"requestBody": _BODY},
)
def submit(
    request: Request,
    store: Account,
    settings: Deployment,
    body: Annotated[bytes, Depends(raw_body(MAX_JOB_FILE_BYTES))],
    workspace: Annotated[str, Query(pattern=NAME_PATTERN)] = DEFAULT_NAME,
    experiment: Annotated[str | None, Query(pattern=NAME_PATTERN, description="else the file's, or `default`")] = None,
    file_name: Annotated[
        str, Query(max_length=256, description="of the job file: names the job if the file does not")
    ] = "job",
    reply_to: Annotated[
        str, Query(max_length=63, description=f"queue that is told of each change of state: {QUEUE_RULE}")
    ] = "",
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=130,
            description=f"what must not happen twice in a workspace: {SUBMISSION_ID_RULE}; plain or in quotes",
        ),
    ] = None,
) -> Response:
    """Answers 201 when the job was made, and 200 when this submission had made it before.

    Without Idempotency-Key each request is a submission of its own.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in _TYPES:
        raise Refused(415, f"Content-Type is {media_type[:80]!a}: it must be {_YAML} or {_JSON}. Name what you send")
    document = read_document(body, file_name="job.json" if media_type == _JSON else "job.yaml")
    named = document.data.get("experiment_name") if document.data else None
    submission_id = "" if idempotency_key is None else unquoted(idempotency_key)
    submission = Submission(
        workspace=workspace,
        experiment=experiment or (named if isinstance(named, str) and named else DEFAULT_NAME),
        document=document,
        identity=("http", uuid.uuid4().hex),
        default_name=to_name(file_name.rpartition(".")[0] or file_name),
        source="http",
        submission_id=submission_id,
        reply_to=reply_to,
    )
    accepted = accept(store, settings, submission)
    if accepted.record is None:
        raise ConflictError(
            f"{accepted.key.path}: the job that this submission became has been deleted, and does not come back. "
            "Send it with another Idempotency-Key"
        )
    if accepted.record.state is JobState.REJECTED:
        # A dropped file with the same id and content came first, and was rejected beside itself.
        told = Client(store).problems(accepted.key)
        raise SpecError(told or (Problem("", "", accepted.record.message, "Correct the file"),))
    headers = {"ETag": accepted.etag, "Location": f"{request.url.path.rstrip('/')}/{accepted.key.path}"}
    content = accepted.record.to_json()
    return Response(
        content, 201 if accepted.is_new else 200, {**headers, "Cache-Control": "no-store"}, media_type=answers.JSON
    )


def unquoted(text: str) -> str:
    """Returns the key; it may come as a string of a structured field, in quotes, as the draft of the header has it.

    Source: draft-ietf-httpapi-idempotency-key-header; RFC 9651, section 3.3.3.

    Raises:
        Refused: 422, there is nothing in the quotes: without a key each request would make a job.
    """
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if not text:
        problem = Problem("header.idempotency-key", '""', f"it must be {SUBMISSION_ID_RULE}", "Send one, or no header")
        raise Refused(422, str(problem), problems=[problem])
    return text
