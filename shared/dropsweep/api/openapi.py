"""The OpenAPI 3.1 document, made from the routes and models. `python -m dropsweep.api.openapi FILE` writes it."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from dropsweep.api import problems

DESCRIPTION: Final = (
    "Hand jobs in, look at them, steer them and bring their results home. Every error is a problem (RFC 9457). "
    "Reads have an ETag. Every GET may be asked as HEAD. Query parameters that an operation does not name are refused."
)
_KEY_SCHEMES: Final = {
    "functionKey": {"type": "apiKey", "in": "header", "name": "x-functions-key", "description": "a key of the app"},
}
_CONDITIONS: Final[Mapping[str, tuple[str, str]]] = {
    "If-None-Match": ("304", "ETags of the versions that the client has"),
    "Range": ("206", "`bytes=N-`, `bytes=N-M` or `bytes=-N`; anything else asks for all"),
    "If-Range": ("206", "the ETag that Range counts for; at another version all is sent"),
    "If-Match": ("412", "the ETag of the job, also for one of its trials: at another version nothing is changed"),
}
"""Request headers, with the answer by which an operation shows that it reads them. Any text is taken."""
_TAGS: Final = {
    "jobs": "hand in, list, look at and steer jobs",
    "trials": "the trials of a job, what they reported and printed",
    "files": "everything that a job left",
    "code": "snapshots of code folders",
    "schedules": "jobs that come by the clock",
    "workspaces": "workspaces and experiments",
    "clusters": "clusters, their nodes and the hours that they used",
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
        told["components"]["parameters"] = {name: _condition(name) for name in _CONDITIONS}
        for operations in told["paths"].values():
            for operation in operations.values():
                _name_problems(operation)
                _add_conditions(operation)
            if "get" in operations:
                operations["head"] = _head_of(operations["get"])
            for operation in operations.values():
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


def _condition(name: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": _CONDITIONS[name][1], "schema": {"type": "string"}}


def _add_conditions(operation: dict[str, Any]) -> None:
    """Names the headers by which a request depends on a version, or asks for a part."""
    fitting = [name for name, (status, _) in _CONDITIONS.items() if status in operation["responses"]]
    if fitting:
        parameters = operation.setdefault("parameters", [])
        parameters += [{"$ref": f"#/components/parameters/{name}"} for name in fitting]


def _head_of(read: dict[str, Any]) -> dict[str, Any]:
    """Returns the operation HEAD beside GET: as it, but without bodies, and of whole files however long they are."""
    passed_over = {f"#/components/parameters/{name}" for name, (status, _) in _CONDITIONS.items() if status == "206"}
    told = {name: value for name, value in read.items() if name not in ("description", "parameters", "responses")}
    told |= {"operationId": f"head_{read['operationId'].removeprefix('get_')}", "summary": f"{read['summary']}: HEAD"}
    if parameters := [one for one in read.get("parameters", ()) if one.get("$ref") not in passed_over]:
        told["parameters"] = parameters
    told["responses"] = {
        status: {name: value for name, value in response.items() if name != "content"}
        for status, response in read["responses"].items()
        if status not in ("206", "416")
    }
    return told


def _share_problems(operation: dict[str, Any], shared: dict[str, Any]) -> None:
    """Puts what many operations answer alike in one place."""
    for status, response in operation["responses"].items():
        is_problem = problems.MEDIA_TYPE in response.get("content", {})
        is_bare = "content" not in response and int(status) >= 300
        if is_problem or is_bare:
            name = f"Answer{status}" if is_problem or status in ("304", "401") else f"Bare{status}"
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
