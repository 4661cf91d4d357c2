"""Trials: lists, records, what they reported and what they printed."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from dropsweep import documents
from dropsweep.api import answers, models, trial_models
from dropsweep.api.jobs import record_of
from dropsweep.api.paging import DEFAULT_LIMIT
from dropsweep.api.parameters import (
    ACCEPT_RANGES,
    CONTENT_RANGE,
    ETAG,
    MAX_TRIAL,
    Account,
    AttemptNumber,
    Key,
    Limit,
    Responses,
    TrialNumber,
    responses,
)
from dropsweep.api.problems import Refused, Told
from dropsweep.client.checkpoints import list_checkpoints
from dropsweep.client.logs import Stream
from dropsweep.client.progress import list_shard
from dropsweep.client.results import joined
from dropsweep.errors import NotFoundError
from dropsweep.metrics import Point, parse
from dropsweep.names import RUNS, SHARD_SIZE, JobKey
from dropsweep.records import JobRecord, TrialSummary
from dropsweep.states import TrialState
from dropsweep.steps._change import no_trial
from dropsweep.storage import Store

router = APIRouter(tags=["trials"])
_TRIALS: Final = "/jobs/{workspace}/{experiment}/{job}/trials"

MAX_LOG_BYTES: Final = 4 * 1024 * 1024
"""Of a log in one answer: the Functions host keeps whole answers in memory."""
MAX_METRICS_BYTES: Final = 32 * 1024 * 1024
"""Of one trial's metrics.jsonl files together."""
_MAX_SHARDS: Final = 4
"""Folders of a thousand records that one answer looks through; each is one storage operation."""


@router.get(
    _TRIALS,
    operation_id="list_trials",
    summary="List the trials that have begun",
    response_class=Response,
    responses=responses(trial_models.Trials, 404),
)
def list_them(
    request: Request,
    store: Account,
    key: Key,
    state: Annotated[list[TrialState] | None, Query(max_length=len(TrialState), description="any of these")] = None,
    after: Annotated[int, Query(ge=-1, le=MAX_TRIAL, description="only trials with a higher number")] = -1,
    limit: Limit = DEFAULT_LIMIT,
) -> Response:
    """Lowest number first; a page may hold fewer than `limit` trials, or none, and still have a following one."""
    job = record_of(store, key)
    num_shards = -(-job.next_trial // SHARD_SIZE)
    first = (after + 1) // SHARD_SIZE
    items: list[TrialSummary] = []
    following: int | None = None
    for shard in range(first, num_shards):
        if shard == first + _MAX_SHARDS:
            following = shard * SHARD_SIZE - 1
            break
        fitting = [t for t in list_shard(store, key, shard) if t.trial > after and (not state or t.state in state)]
        room = limit - len(items)
        items += fitting[:room]
        if len(items) == limit:
            is_last = shard == num_shards - 1 and len(fitting) <= room
            following = None if is_last else items[-1].trial
            break
    return answers.representation(request, {"items": [documents.of_trial(trial) for trial in items], "next": following})


@router.get(
    f"{_TRIALS}/{{trial}}",
    operation_id="get_trial",
    summary="A trial's record",
    response_class=Response,
    responses=responses(trial_models.Trial, 404),
)
def show(request: Request, store: Account, key: Key, trial: TrialNumber) -> Response:
    """The record as its blob has it, under that blob's ETag; 404 with code `not_begun` for a trial that may come."""
    found = answers.blob(request, store, RUNS, key.trial(trial))
    if found is None:
        raise _absent(record_of(store, key), trial)
    return found


@router.get(
    f"{_TRIALS}/{{trial}}/metrics",
    operation_id="get_metrics",
    summary="What a trial reported",
    response_class=Response,
    responses=responses(models.Points, 404, 413),
)
def metrics(request: Request, store: Account, key: Key, trial: TrialNumber, attempt: AttemptNumber = None) -> Response:
    """In its order; without `attempt` the course over all of them, where a resumed attempt replaces what it repeats."""
    last = _attempts(store, key, trial, attempt).attempt
    numbers = range(1, last + 1) if attempt is None else (attempt,)
    courses = []
    room = MAX_METRICS_BYTES
    for number in numbers:
        points, num_bytes = _points(store, key, trial, number, room)
        courses.append(points)
        room -= num_bytes
    points = courses[0] if attempt is not None else joined(courses)
    return answers.representation(request, {"points": [documents.of_point(point) for point in points]})


@router.get(
    f"{_TRIALS}/{{trial}}/checkpoints",
    operation_id="list_checkpoints",
    summary="List the checkpoints of a trial",
    response_class=Response,
    responses=responses(trial_models.Checkpoints, 404),
)
def checkpoints(request: Request, store: Account, key: Key, trial: TrialNumber) -> Response:
    """The whole ones that are kept, oldest first."""
    _attempts(store, key, trial, None)  # tells what is wrong with the number
    items = [found.to_json() for found in list_checkpoints(store, key, trial)]
    return answers.representation(request, {"items": items})


_TEXT: Final = {"text/plain": {"schema": {"type": "string"}}}
_TOLD: Final = {
    "Dropsweep-Attempt": {"description": "whose output it is", "schema": {"type": "integer"}},
    "Dropsweep-Latest-Attempt": {"description": "the trial's latest attempt", "schema": {"type": "integer"}},
    "Dropsweep-State": {"description": "the trial's state before the read", "schema": {"type": "string"}},
    **ETAG,
    **ACCEPT_RANGES,
}
_LOG: Final[Responses] = {
    **responses(None, 404, 416),
    200: {"description": "All of it", "content": _TEXT, "headers": _TOLD},
    206: {
        "description": f"A part of it, at most {MAX_LOG_BYTES:,} bytes",
        "content": _TEXT,
        "headers": {**_TOLD, **CONTENT_RANGE},
    },
}


@router.get(
    f"{_TRIALS}/{{trial}}/logs/{{stream}}",
    operation_id="get_log",
    summary="What a trial printed",
    response_class=Response,
    responses=_LOG,
)
def logs(
    request: Request, store: Account, key: Key, trial: TrialNumber, stream: Stream, attempt: AttemptNumber = None
) -> Response:
    """From an offset with `Range: bytes=N-`: as many bytes are read and sent as there are from there on.

    Without Range a log is sent whole or not at all: 422 for a longer one than an answer holds.
    """
    # Looked at before reading: what a final record vouches for was written before it.
    summary = _attempts(store, key, trial, attempt)
    current = summary.attempt if attempt is None else attempt
    headers = {
        "Dropsweep-Attempt": str(current),
        "Dropsweep-Latest-Attempt": str(summary.attempt),
        "Dropsweep-State": str(summary.state),
    }
    name = key.stdout(trial, current) if stream is Stream.STDOUT else key.stderr(trial, current)
    found = answers.part(
        request,
        store,
        RUNS,
        name,
        limit=MAX_LOG_BYTES,
        otherwise=f"files/{name.removeprefix(f'{key.path}/')}?link=true of the job",
        headers=headers,
        media_type="text/plain; charset=utf-8",
        is_always_there=True,
    )
    assert found is not None
    return found


def _attempts(store: Store, key: JobKey, trial: int, attempt: int | None) -> TrialSummary:
    """Looks at a trial; raises NotFoundError when it, or the attempt, is not there."""
    head = store.blobs.head(RUNS, key.trial(trial))
    if head is None:
        raise _absent(record_of(store, key), trial)
    summary = TrialSummary.from_metadata(trial, head.metadata)
    if attempt is not None and attempt > summary.attempt:
        raise NotFoundError(f"trial {trial} of {key.path} has {summary.attempt} attempts, and not {attempt}. Name one")
    return summary


def _absent(job: JobRecord, trial: int) -> Exception:
    if trial >= job.num_trials:
        return no_trial(job, trial)
    if job.state.is_final:
        return NotFoundError(f"trial {trial} of {job.key.path} has not begun: the job ended without it")
    text = f"trial {trial} of {job.key.path} has not begun, so it has no record. Try again later"
    return Told(NotFoundError(text), "not_begun")


def _points(store: Store, key: JobKey, trial: int, attempt: int, room: int) -> tuple[list[Point], int]:
    """Reads what one attempt reported; raises Refused when that is more than `room` bytes."""
    name = key.metrics(trial, attempt)
    found = store.blobs.read_part(RUNS, name, 0, max(1, room))
    if found is None:
        return [], 0
    if found.size_bytes > room:
        path = name.removeprefix(f"{key.path}/")
        raise Refused(
            413, f"the metrics have more than {MAX_METRICS_BYTES:,} bytes. Read files/{path} of the job, in ranges"
        )
    return parse(found.body.splitlines()), found.size_bytes
