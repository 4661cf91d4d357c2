"""The app: its routes, HEAD, what every answer carries, and the last resort for errors."""

from collections.abc import Callable, Mapping
from typing import Final

from fastapi import Depends, FastAPI, Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dropsweep.api import about, actions, clusters, code, files, jobs, problems, schedules, submit, trials, workspaces
from dropsweep.api.strictness import check_request
from dropsweep.settings import Settings
from dropsweep.storage import Store
from dropsweep.version import __version__

ROOT_PATH: Final = "/api"
"""As `routePrefix` in host.json has it."""
_ROUTERS: Final = (submit, jobs, actions, trials, files, code, schedules, workspaces, clusters, about)
# The second, because the key may stand in the address of a page that a browser shows.
_ALWAYS: Final[Mapping[str, str]] = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


def create_app(store: Callable[[], Store], settings: Callable[[], Settings]) -> FastAPI:
    """Returns the app as ASGI; nothing is opened yet.

    Args:
        store: returns the storage account, the same at each call; what it raises is answered as a problem.
        settings: returns the deployment's settings, as `store` does.
    """
    app = FastAPI(
        title="Dropsweep",
        version=__version__,
        docs_url=None,  # both pages would load scripts from elsewhere
        redoc_url=None,
        openapi_url=None,  # `about` serves it, with a version
        redirect_slashes=False,
        dependencies=[Depends(check_request)],
    )
    app.state.root_path = ROOT_PATH
    app.state.store = store
    app.state.settings = settings
    app.state.routes = [route for module in _ROUTERS for route in module.router.routes]
    for module in _ROUTERS:
        app.include_router(module.router)
    problems.install(app)
    app.add_middleware(_Edge)
    return app


class _Edge:
    """Outermost: takes off the prefix, answers HEAD as GET without its body, and what nobody foresaw as a problem."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_head = scope["method"] == "HEAD"
        has_begun = False
        scope = {**scope, "root_path": ROOT_PATH, "dropsweep.is_head": is_head}
        if is_head:
            scope["method"] = "GET"

        async def pass_on(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                headers = MutableHeaders(raw=message["headers"])
                for name, value in _ALWAYS.items():
                    headers.setdefault(name, value)
            elif is_head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._app(scope, receive, pass_on)
        except Exception as error:
            if has_begun:
                raise
            await problems.of_crash(Request(scope), error)(scope, receive, pass_on)
