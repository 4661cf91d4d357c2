"""What runs here, and what is wrong with it."""

from functools import lru_cache

from fastapi import APIRouter, Request, Response

from dropsweep.api import answers, models
from dropsweep.api.openapi import document
from dropsweep.api.parameters import Deployment, responses
from dropsweep.client.doctor.examination import examine
from dropsweep.client.doctor.findings import Health, health_of, to_document
from dropsweep.records.codec import dump
from dropsweep.settings import StorageSettings
from dropsweep.storage import Store
from dropsweep.version import __version__

API_VERSION = 1
_PATIENCE_S = 3.0
router = APIRouter(tags=["about"])


@router.get(
    "/version",
    operation_id="get_version",
    summary="What runs here",
    response_class=Response,
    responses=responses(models.Version, asks_storage=False),
    openapi_extra={"security": []},
)
def version(request: Request) -> Response:
    """Needs no key."""
    return answers.representation(request, {"version": __version__, "api": API_VERSION})


@router.get(
    "/health",
    operation_id="get_health",
    summary="What is wrong, in words",
    response_class=Response,
    responses=responses(models.Health, has_version=False, asks_storage=False)
    | {503: {"model": models.Health, "description": "The storage account is out of reach"}},
)
def health(settings: Deployment) -> Response:
    """503 when nothing works; else 200, whatever is wrong in detail."""
    findings = examine(_impatient(settings.storage), clusters=settings.clusters)
    status = 503 if health_of(findings) is Health.DOWN else 200
    return Response(dump(to_document(findings)), status, {"Cache-Control": "no-store"}, media_type=answers.JSON)


@lru_cache(maxsize=1)
def _impatient(settings: StorageSettings) -> Store:
    """The account once more, for somebody who wants to know at once whether it answers."""
    return Store.connect(settings, patience_s=_PATIENCE_S)


@router.get("/openapi.json", include_in_schema=False)
def openapi(request: Request) -> Response:
    """Needs no key."""
    return answers.representation(request, document(request.app))
