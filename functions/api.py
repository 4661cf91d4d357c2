"""HTTP triggers: the whole API behind one route that asks for a key, and what is open to everybody beside it."""

import logging
from functools import cache
from typing import Final
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import azure.functions as func

from dropsweep.storage import Store
from functions import deployment

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the package has no types for it
# At DEBUG it would log each answer, bodies included.
logging.getLogger("azure.functions.AsgiMiddleware").setLevel(logging.WARNING)

_METHODS: Final = [func.HttpMethod(name) for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")]
"""All that a host passes on, so that it is the API that answers for methods it has not."""
_PATIENCE_S: Final = 10.0
"""Somebody waits for the answer: a storage account that does not answer is told of sooner than elsewhere."""


@blueprint.function_name("openapi")
@blueprint.route("openapi.json", methods=_METHODS, auth_level=func.AuthLevel.ANONYMOUS)
async def openapi(req: func.HttpRequest) -> func.HttpResponse:
    """Answers the description of the API, without a key."""
    return await _answer(req)


@blueprint.function_name("version")
@blueprint.route("version", methods=_METHODS, auth_level=func.AuthLevel.ANONYMOUS)
async def version(req: func.HttpRequest) -> func.HttpResponse:
    """Answers what runs here, without a key."""
    return await _answer(req)


@blueprint.function_name("api")
@blueprint.route("{*path}", methods=_METHODS, auth_level=func.AuthLevel.FUNCTION)
async def api(req: func.HttpRequest) -> func.HttpResponse:
    """Answers everything else."""
    return await _answer(req)


async def _answer(req: func.HttpRequest) -> func.HttpResponse:
    answer: func.HttpResponse = await _middleware().handle_async(_readable(req))
    return answer


@cache
def _middleware() -> func.AsgiMiddleware:
    # Imported at the first request: most calls of the functions are none, and they start without the web framework.
    from dropsweep.api.app import create_app

    return func.AsgiMiddleware(create_app(_store, deployment.settings))  # type: ignore[no-untyped-call]


@cache
def _store() -> Store:
    return Store.connect(deployment.settings().storage, patience_s=_PATIENCE_S)


def _readable(req: func.HttpRequest) -> func.HttpRequest:
    """Returns a request whose path AsgiMiddleware (1.26) reads rightly.

    On one that is not UTF-8 it raises, which would be a 500, and of one with a semicolon it drops the rest.
    """
    url = urlsplit(req.url)
    path = url.path.replace(";", "%3B")
    try:
        unquote(path, errors="strict")
    except UnicodeDecodeError:
        path = quote(unquote(path, errors="replace"))
    if path == url.path:
        return req
    return func.HttpRequest(req.method, urlunsplit(url._replace(path=path)), headers=req.headers, body=req.get_body())
