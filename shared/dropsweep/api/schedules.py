"""Schedules: what there is, what comes next, and what a person asks of one."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response

from dropsweep import documents
from dropsweep.api import answers, place_models
from dropsweep.api.parameters import NAME_PATTERN, Account, Deployment, Workspace, responses
from dropsweep.api.submit import unquoted
from dropsweep.client import schedules as client
from dropsweep.names import SUBMISSION_ID_RULE, ScheduleKey
from dropsweep.records.codec import time_out

router = APIRouter(tags=["schedules"])
_SCHEDULE = "/schedules/{workspace}/{schedule}"


def _key(workspace: Workspace, schedule: Annotated[str, Path(pattern=NAME_PATTERN)]) -> ScheduleKey:
    return ScheduleKey(workspace, schedule)


Key = Annotated[ScheduleKey, Depends(_key)]


@router.get(
    "/schedules",
    operation_id="list_schedules",
    summary="List schedules",
    response_class=Response,
    responses=responses(place_models.Schedules),
)
def list_them(
    request: Request, store: Account, workspace: Annotated[str | None, Query(pattern=NAME_PATTERN)] = None
) -> Response:
    """In the order of their paths."""
    found = client.schedules(store, workspace)
    return answers.representation(request, {"items": [documents.of_schedule(schedule) for schedule in found]})


@router.get(
    _SCHEDULE,
    operation_id="get_schedule",
    summary="One schedule",
    response_class=Response,
    responses=responses(place_models.ScheduleView, 404),
)
def show(request: Request, store: Account, key: Key, num_ticks: Annotated[int, Query(ge=0, le=100)] = 10) -> Response:
    """With what became of its latest due times."""
    found = client.schedule(store, key, num_ticks=num_ticks)
    return answers.representation(request, documents.of_shown_schedule(found))


@router.post(
    f"{_SCHEDULE}/pause",
    operation_id="pause_schedule",
    summary="Pause a schedule",
    response_class=Response,
    responses=responses(place_models.ScheduleAction, 404, 409, has_version=False),
)
def pause(store: Account, key: Key) -> Response:
    """No later due time becomes a job until it is resumed, and none is made up for then."""
    return answers.document({"schedule": key.path, "is_paused": client.pause(store, key).is_paused})


@router.post(
    f"{_SCHEDULE}/resume",
    operation_id="resume_schedule",
    summary="Let a paused schedule go on",
    response_class=Response,
    responses=responses(place_models.ScheduleAction, 404, 409, has_version=False),
)
def resume(store: Account, key: Key) -> Response:
    """It goes on with its next due time."""
    return answers.document({"schedule": key.path, "is_paused": client.resume(store, key).is_paused})


@router.post(
    f"{_SCHEDULE}/run-now",
    operation_id="run_schedule_now",
    summary="Make one job of a schedule now",
    response_class=Response,
    responses=responses(place_models.ScheduleRun, 404, 409, has_version=False),
)
def run_now(
    store: Account,
    settings: Deployment,
    key: Key,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=130,
            description=f"what must not happen twice of a schedule: {SUBMISSION_ID_RULE}; plain or in quotes",
        ),
    ] = None,
) -> Response:
    """Whether it is paused or not, and whatever else of it is live.

    The same Idempotency-Key again gives the same job. Without one each request makes a job.
    """
    submission_id = "" if idempotency_key is None else unquoted(idempotency_key)
    job = client.run_now(store, key, settings, submission_id=submission_id)
    return answers.document({"schedule": key.path, "job": job.path})


@router.get(
    f"{_SCHEDULE}/next",
    operation_id="get_due_times",
    summary="The next due times of a schedule",
    response_class=Response,
    responses=responses(place_models.DueTimes, 404),
)
def next_due(
    request: Request, store: Account, key: Key, num: Annotated[int, Query(ge=1, le=client.MAX_NUM_NEXT)] = 10
) -> Response:
    """In UTC, those after what has been dealt with; of a paused one, as if it were not."""
    due = client.next_due(store, key, num)
    return answers.representation(request, {"schedule": key.path, "due": [time_out(time) for time in due]})
