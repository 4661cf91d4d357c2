"""The OpenAPI 3.1 document, made from the routes and models. `python -m dropsweep.api.openapi FILE` writes it."""

import json
import sys
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from dropsweep.api import problems

DESCRIPTION: Final = (
    "Hand jobs in, look at them, steer them and bring their results home. Every error is a problem (RFC 9457). "
    "Reads have an ETag. Every GET may be asked as HEAD."
)
_KEY_SCHEMES: Final = {
    "functionKey": {"type": "apiKey", "in": "header", "name": "x-functions-key", "description": "a key of the app"},
}
_TAGS: Final = {
    "jobs": "hand in, list, look at and steer jobs",
    "trials": "the trials of a job, what they reported and printed",
    "files": "everything that a job left",
    "code": "snapshots of code folders",
    "schedules": "jobs that come by the clock",
    "workspaces": "workspaces and experiments",
    "about": "what runs here and how it is",
}


def document(app: FastAPI) -> dict[str, Any]:
    """Returns the document of an app that `create_app` made; the same for every deployment of one version."""
    if app.openapi_schema is None:
        told = get_openapi(
            title=app.title,
            version=app.version,
            openapi_version="3.1.0",
            summary="Hyper-parameter sweeps on a storage account",
            description=DESCRIPTION,
            routes=app.routes,
            tags=[{"name": name, "description": text} for name, text in _TAGS.items()],
            servers=[{"url": app.state.root_path}],
        )
        told["components"]["securitySchemes"] = _KEY_SCHEMES
        told["security"] = [{name: []} for name in _KEY_SCHEMES]
        shared: dict[str, Any] = {}
        told["components"]["responses"] = shared
        for operations in told["paths"].values():
            for operation in operations.values():
                _name_problems(operation)
                _share_problems(operation, shared)
        app.openapi_schema = told
    return app.openapi_schema


def _name_problems(operation: dict[str, Any]) -> None:
    """FastAPI describes every model as JSON; a problem has a media type of its own."""
    for status, response in operation["responses"].items():
        content = response.get("content", {})
        if problems.MEDIA_TYPE in content and (schema := content.pop("application/json", None)) is not None:
            content[problems.MEDIA_TYPE] = schema
        if status in ("401", "304"):
            response.pop("content", None)
    if operation.get("security") == []:
        operation["responses"].pop("401", None)


def _share_problems(operation: dict[str, Any], shared: dict[str, Any]) -> None:
    """Puts what many operations answer alike in one place."""
    for status, response in operation["responses"].items():
        if problems.MEDIA_TYPE in response.get("content", {}) or status in ("304", "401"):
            name = f"Answer{status}"
            if shared.setdefault(name, response) == response:
                operation["responses"][status] = {"$ref": f"#/components/responses/{name}"}


def main() -> None:
    """Writes the document to the file that the command line names, as docs/openapi.json has it."""
    # Imported here: the app needs this module.
    from dropsweep.api.app import create_app

    app = create_app(_nothing, _nothing)
    Path(sys.argv[1]).write_text(f"{json.dumps(document(app), indent=1, ensure_ascii=False)}\n", encoding="utf-8")


def _nothing() -> Any:
    raise AssertionError("the document is made from the routes alone")


if __name__ == "__main__":
    main()
