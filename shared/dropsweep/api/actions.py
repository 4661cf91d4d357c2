"""What a person asks of a job, or of one of its trials: cancel, pause, resume, retry."""

from fastapi import APIRouter, Request, Response

from dropsweep import documents
from dropsweep.api import answers, models
from dropsweep.api.conditions import meant_version
from dropsweep.api.parameters import Account, Key, TrialNumber, responses
from dropsweep.client.control import Action, act
from dropsweep.names import JobKey
from dropsweep.storage import Store

router = APIRouter()
_JOB = "/jobs/{workspace}/{experiment}/{job}"


def _act(store: Store, action: Action, key: JobKey, trial: int | None) -> Response:
    done = act(store, action, key, trial)
    return answers.document(documents.of_action(action, done.record, trial, done.left))


def _add(action: Action, summary: str, description: str) -> None:
    """Adds one action for jobs and one for trials; each is one conditional write of the job's record."""

    def on_job(request: Request, store: Account, key: Key) -> Response:
        meant_version(request, store, key)
        return _act(store, action, key, None)

    def on_trial(request: Request, store: Account, key: Key, trial: TrialNumber) -> Response:
        meant_version(request, store, key)
        return _act(store, action, key, trial)

    for path, what, tag, function in (("", "job", "jobs", on_job), ("/trials/{trial}", "trial", "trials", on_trial)):
        router.add_api_route(
            f"{_JOB}{path}/{action}",
            function,
            methods=["POST"],
            operation_id=f"{action}_{what}",
            summary=f"{summary} {what}",
            description=description,
            tags=[tag],
            response_class=Response,
            responses=responses(models.Action, 404, 409, 412, has_version=False),
        )


_add(Action.CANCEL, "Cancel a", "What runs stops at its next heartbeat; what has ended stays as it is.")
_add(Action.PAUSE, "Pause a", "What runs makes way at its next heartbeat, with its last checkpoint.")
_add(Action.RESUME, "Let go on a paused", "It goes on from its last checkpoint; what is not paused stays as it is.")
_add(Action.RETRY, "Try again a failed", "Failed trials are tried again, each from its last checkpoint.")
