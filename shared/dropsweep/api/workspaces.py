"""Workspaces and experiments: what there is, and all jobs of an experiment at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from dropsweep import documents
from dropsweep.api import answers, models, place_models
from dropsweep.api.jobs import MAX_DELETED
from dropsweep.api.parameters import Account, ExperimentName, Workspace, responses
from dropsweep.api.problems import Refused, note, words_of
from dropsweep.client import Client
from dropsweep.client.control import Action
from dropsweep.client.experiments import show_experiment
from dropsweep.client.listing import list_jobs
from dropsweep.client.workspaces import list_workspaces, show_workspace
from dropsweep.errors import DropsweepError, IllegalMove, NotFoundError, StorageCorrupt
from dropsweep.names import JobKey
from dropsweep.steps.delete import Deleted, delete

router = APIRouter(tags=["workspaces"])
_EXPERIMENT = "/workspaces/{workspace}/experiments/{experiment}"
_DELETERS = 4


def _noting(errors: list[documents.Json]) -> Callable[[JobKey, StorageCorrupt], None]:
    return lambda key, error: errors.append({"job": key.path, "message": words_of(error)})


def _failed(key: JobKey, error: DropsweepError) -> documents.Json:
    note(key.path, error)
    return {"job": key.path, "kind": type(error).__name__, "message": words_of(error)}


@router.get(
    "/workspaces",
    operation_id="list_workspaces",
    summary="List workspaces",
    response_class=Response,
    responses=responses(place_models.Workspaces),
)
def list_them(request: Request, store: Account) -> Response:
    """By name, with their jobs by state; one storage operation for each job."""
    errors: list[documents.Json] = []
    items = [one.to_json() for one in list_workspaces(store, on_corrupt=_noting(errors))]
    return answers.representation(request, {"items": items, "errors": errors})


@router.get(
    "/workspaces/{workspace}",
    operation_id="get_workspace",
    summary="One workspace",
    response_class=Response,
    responses=responses(place_models.WorkspaceView, 404),
)
def show(request: Request, store: Account, workspace: Workspace) -> Response:
    """Its experiments, its policy, and how much of its quota is used."""
    errors: list[documents.Json] = []
    found = show_workspace(store, workspace, on_corrupt=_noting(errors)).to_json()
    return answers.representation(request, {**found, "errors": errors})


@router.get(
    _EXPERIMENT,
    operation_id="get_experiment",
    summary="One experiment",
    response_class=Response,
    responses=responses(place_models.ExperimentView, 404),
)
def experiment_view(request: Request, store: Account, workspace: Workspace, experiment: ExperimentName) -> Response:
    """Its jobs, and the best of them for each objective."""
    errors: list[documents.Json] = []
    found = show_experiment(store, workspace, experiment, on_corrupt=_noting(errors)).to_json()
    return answers.representation(request, {**found, "errors": errors})


@router.delete(
    _EXPERIMENT,
    operation_id="delete_experiment",
    summary="Delete all jobs of an experiment",
    status_code=202,
    response_class=Response,
    responses=responses(
        place_models.Deletions, 404, 409, status=202, description="They are deleted", has_version=False
    ),
)
def remove(
    store: Account,
    workspace: Workspace,
    experiment: ExperimentName,
    confirm: Annotated[str, Query(max_length=64, description="the experiment's name once more")],
    with_source: Annotated[bool, Query(description="the dropped files that they came from go too")] = False,
) -> Response:
    """409, and nothing is deleted, while a job of it has not ended; what this call leaves the timer's pass deletes."""
    if confirm != experiment:
        raise Refused(409, f"confirm is {confirm!a}: it must be {experiment}, the experiment's name. Write it out")
    errors: list[documents.Json] = []

    def add(key: JobKey, error: DropsweepError) -> None:
        errors.append(_failed(key, error))

    jobs = list_jobs(store, workspace, experiment, on_corrupt=add)
    if not jobs and not errors:
        raise NotFoundError(f"{workspace}/{experiment}: this experiment has no job. GET /api/workspaces/{workspace}")
    live = [job.key.path for job in jobs if not job.state.is_final]
    if live:
        raise IllegalMove(f"{live[0]} and {len(live) - 1} more have not ended. Cancel the experiment and wait")
    room = max(1, MAX_DELETED // max(1, len(jobs)))

    def one(key: JobKey) -> Deleted | None:
        try:
            return delete(store, key, with_source=with_source, max_blobs=room)
        except DropsweepError as error:
            add(key, error)
            return None

    with ThreadPoolExecutor(_DELETERS, thread_name_prefix="delete") as pool:
        done = [found.to_json() for found in pool.map(one, [job.key for job in jobs]) if found is not None]
    return answers.document({"jobs": done, "errors": errors}, status=202)


def _add(action: Action) -> None:
    def on_experiment(store: Account, workspace: Workspace, experiment: ExperimentName) -> Response:
        outcomes = Client(store).experiment(workspace, experiment).act(action)
        done = [documents.of_action(action, one.record, None, one.left) for one in outcomes if one.record is not None]
        errors = [_failed(one.job, one.error) for one in outcomes if one.error is not None]
        return answers.document({"jobs": done, "errors": errors})

    router.add_api_route(
        f"{_EXPERIMENT}/{action}",
        on_experiment,
        methods=["POST"],
        operation_id=f"{action}_experiment",
        summary=f"{action.capitalize()} all jobs of an experiment that this is for",
        description="Each job by a write of its own; what fails for one holds up no other.",
        response_class=Response,
        responses=responses(models.Actions, 404, 409, has_version=False),
    )


for _action in Action:
    _add(_action)
