"""Jobs: lists, records, what belongs to one, and what a person asks of one."""

import json
from dataclasses import replace
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from dropsweep import documents
from dropsweep.api import answers, models
from dropsweep.api.conditions import changed, meant_version
from dropsweep.api.paging import DEFAULT_LIMIT, bad_cursor, cursor_in, cursor_out
from dropsweep.api.parameters import NAME_PATTERN, Account, Cursor, Key, Limit, Time, needs_json, responses
from dropsweep.api.problems import words_of
from dropsweep.client import Client, Match
from dropsweep.client.listing import JobFilter, list_jobs
from dropsweep.client.progress import look
from dropsweep.errors import ConflictError, IllegalMove, NotFoundError, StorageCorrupt
from dropsweep.names import RUNS, JobKey
from dropsweep.records import JobRecord
from dropsweep.records.codec import time_out
from dropsweep.states import JobState
from dropsweep.steps.delete import delete
from dropsweep.steps.edit import edit
from dropsweep.storage import Store

router = APIRouter(tags=["jobs"])
_JOB = "/jobs/{workspace}/{experiment}/{job}"
_MAX_TAGS = 10
MAX_DELETED = 2000
"""Blobs that one request deletes, about: the rest is left to the timer."""


@router.get(
    "/jobs",
    operation_id="list_jobs",
    summary="List jobs, newest first",
    response_class=Response,
    responses=responses(models.Jobs),
)
def list_them(
    request: Request,
    store: Account,
    workspace: Annotated[str | None, Query(pattern=NAME_PATTERN)] = None,
    experiment: Annotated[str | None, Query(pattern=NAME_PATTERN)] = None,
    state: Annotated[list[JobState] | None, Query(max_length=len(JobState), description="any of these")] = None,
    tag: Annotated[
        list[Annotated[str, Query(pattern="^[^=]", max_length=256)]] | None,
        Query(max_length=_MAX_TAGS, description="`key=value`, or `key` for any value; all of these"),
    ] = None,
    schedule: Annotated[str | None, Query(pattern=NAME_PATTERN, description="made by this schedule")] = None,
    since: Annotated[
        Time | Annotated[str, Query(pattern=r"^\d{1,10}[smhdw]$")] | None,
        Query(description="made at this time or later, or that long ago: `45s`, `30m`, `12h`, `2d`, `1w`"),
    ] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """One storage operation for each job, eight at a time; jobs whose records cannot be read stand in `errors`."""
    after = _place(cursor_in(cursor))
    errors: list[documents.Json] = []

    def note(key: JobKey, error: StorageCorrupt) -> None:
        errors.append({"job": key.path, "message": words_of(error)})

    where = JobFilter.parse(
        states=state or (), tags=tag or (), schedule=schedule or "", since=since if isinstance(since, str) else ""
    )
    if isinstance(since, datetime):
        where = replace(where, since=since)
    found = list_jobs(store, workspace, experiment, where, on_corrupt=note)
    if after is not None:
        found = [job for job in found if (job.created, job.key) < after]
    page, has_more = found[:limit], len(found) > limit
    place = f"{time_out(page[-1].created)} {page[-1].key.path}" if has_more else ""
    body = {
        "items": [documents.of_job(job) for job in page],
        "errors": errors if after is None else [],
        "next": cursor_out(place),
    }
    return answers.representation(request, body)


@router.get(
    "/find",
    operation_id="find_job",
    summary="The job that a text means",
    response_class=Response,
    responses=responses(models.Found, 404, 409),
)
def find(
    request: Request,
    store: Account,
    job: Annotated[str, Query(min_length=1, max_length=256, description="an id, a name, the beginning of an id")],
    choose: Annotated[bool, Query(description="of several jobs of one name take the newest")] = False,
) -> Response:
    """Each alone or after `experiment/` or `workspace/experiment/`; 409 when it fits several, or can fit none."""
    client = Client(store)
    found = client.find(job) if choose else Match(client.resolve(job))
    return answers.representation(request, {"job": found.key.path, "num_named": found.num_named})


@router.get(
    _JOB,
    operation_id="get_job",
    summary="A job's record",
    response_class=Response,
    responses=responses(models.Job, 404),
)
def show(request: Request, store: Account, key: Key) -> Response:
    """The record as its blob job.json has it, under that blob's ETag; one storage request."""
    found = answers.blob(request, store, RUNS, key.record)
    if found is None:
        raise no_job(key)
    return found


@router.patch(
    _JOB,
    operation_id="edit_job",
    summary="Change limits of a job that has not ended",
    dependencies=[Depends(needs_json)],
    response_class=Response,
    responses=responses(models.LimitsOfJob, 404, 409, 412, 415, has_version=False),
)
def change(request: Request, store: Account, key: Key, limits: models.NewLimits) -> Response:
    """Limits that the body does not name stay."""
    meant_version(request, store, key)
    record = edit(
        store,
        key,
        max_total_trials=limits.max_total_trials,
        max_concurrent_trials=limits.max_concurrent_trials,
        timeout_s=limits.timeout,
        trial_timeout_s=limits.trial_timeout,
    )
    return answers.document(documents.of_limits(record))


@router.delete(
    _JOB,
    operation_id="delete_job",
    summary="Delete a job that has ended",
    status_code=202,
    response_class=Response,
    responses=responses(models.Deletion, 404, 409, 412, status=202, description="It is deleted", has_version=False),
)
def remove(
    request: Request,
    store: Account,
    key: Key,
    with_source: Annotated[bool, Query(description="the dropped file that it came from goes too")] = False,
) -> Response:
    """Of a large job the timer's pass deletes what this call does not; 409 for one that has not ended."""
    version = meant_version(request, store, key)
    try:
        done = delete(store, key, with_source=with_source, max_blobs=MAX_DELETED, etag=version)
    except IllegalMove:
        raise
    except ConflictError as error:
        if version:
            raise changed(key.path) from error
        raise
    return answers.document(done.to_json(), status=202)


@router.get(
    f"{_JOB}/progress",
    operation_id="get_progress",
    summary="How a job stands right now",
    response_class=Response,
    responses=responses(models.Progress, 404),
)
def progress(
    request: Request,
    store: Account,
    key: Key,
    shards: Annotated[
        str | None,
        Query(
            pattern=r"^(\d{1,16}(,\d{1,16}){0,63})?$",
            description="shards that were open at the last look, to be listed once more, so that no end goes unseen",
        ),
    ] = None,
) -> Response:
    """The record, fresh counts, and the trials not summed up yet: one storage operation for each open shard."""
    seen = None if shards is None else [int(shard) for shard in shards.split(",") if shard]
    found = look(store, key, seen)
    if found is None:
        raise no_job(key)
    body = documents.of_progress(found) | {
        "record": documents.of_record(found.record),
        "served": time_out(found.served),
        "trials": [documents.of_trial(trial) for trial in found.trials],
    }
    return answers.representation(request, body)


@router.get(
    f"{_JOB}/spec",
    operation_id="get_spec",
    summary="The job's normalised spec",
    response_class=Response,
    responses=responses(models.Spec, 404),
)
def spec(request: Request, store: Account, key: Key) -> Response:
    """What running the job depends on, with every default filled in; a rejected job has none."""
    found = answers.blob(request, store, RUNS, key.spec)
    if found is not None:
        return found
    _must_exist(store, key)
    raise NotFoundError(f"{key.path}: its file was rejected, so there is no spec. GET its /problems")


@router.get(
    f"{_JOB}/problems",
    operation_id="get_problems",
    summary="What is wrong with a rejected job's file",
    response_class=Response,
    responses=responses(models.Problems, 404),
)
def problems(request: Request, store: Account, key: Key) -> Response:
    """Empty for a job that was not rejected."""
    found = store.blobs.read(RUNS, key.error)
    if found is None:
        _must_exist(store, key)
        return answers.representation(request, {"problems": []})
    try:
        return answers.representation(request, {"problems": json.loads(found.body)["problems"]})
    except (KeyError, TypeError, ValueError) as error:
        raise StorageCorrupt(f"{RUNS}/{key.error} cannot be read: {error!r}") from error


@router.get(
    f"{_JOB}/best",
    operation_id="get_best",
    summary="The best completed trial",
    response_class=Response,
    responses=responses(models.BestTrial, 404),
)
def best(request: Request, store: Account, key: Key) -> Response:
    """So far, or in the end; 404 while no trial has completed."""
    _must_exist(store, key)
    found = Client(store).best(key)
    if found is None:
        raise NotFoundError(f"{key.path}: no trial has completed, so there is no best one. Try again later")
    return answers.representation(request, documents.of_best_trial(found))


def _place(text: str) -> tuple[datetime, JobKey] | None:
    """Reads the place of the last job of the page before.

    Raises:
        Refused: it is none.
    """
    if not text:
        return None
    created, _, path = text.partition(" ")
    parts = path.split("/")
    try:
        at = datetime.fromisoformat(created)
    except ValueError as error:
        raise bad_cursor() from error
    if at.tzinfo is None or len(parts) != 3:
        raise bad_cursor()
    return at, JobKey(*parts)


def _must_exist(store: Store, key: JobKey) -> None:
    if store.blobs.head(RUNS, key.record) is None:
        raise no_job(key)


def record_of(store: Store, key: JobKey) -> JobRecord:
    """Returns a job's record.

    Raises:
        NotFoundError: there is no such job.
    """
    blob = store.blobs.read(RUNS, key.record)
    if blob is None:
        raise no_job(key)
    return JobRecord.from_json(blob.body)


def no_job(key: JobKey) -> NotFoundError:
    """Returns the error for a job that is not there."""
    return NotFoundError(
        f"{key.path}: there is no such job, or its file has not been taken up yet. GET /api/jobs lists what there is"
    )
