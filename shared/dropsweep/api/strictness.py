"""What every route refuses: query parameters that it does not know, and conditions that it would pass over."""

import difflib
from typing import Any, Final

from fastapi import Request

from dropsweep.api.problems import Refused, shown
from dropsweep.errors import Problem

_OF_HOST: Final = frozenset({"code"})
"""Query parameters that the Functions host reads: the key."""
_MAX_TOLD: Final = 20


async def check_request(request: Request) -> None:
    """Runs before any other dependency of a route.

    A misspelt parameter would else be passed over, and the job made in another workspace, or all of a list told.

    Raises:
        Refused: 422, a parameter that the route has not, or If-Match where no version is compared.
    """
    route = request.scope["route"]
    known = _names_of(route.dependant)
    problems = [
        Problem(f"query.{shown(name)}", "", "there is no such parameter", _remedy(name, known))
        for name in dict.fromkeys(request.query_params)
        if name not in known | _OF_HOST
    ]
    if request.method not in ("GET", "HEAD") and "if-match" in request.headers and 412 not in route.responses:
        rule = "versions are compared for changes of one job or of its trials alone"
        problems.append(Problem("header.if-match", shown(request.headers["if-match"]), rule, "Send it without"))
    if problems:
        raise Refused(422, "\n".join(str(problem) for problem in problems), problems=problems[:_MAX_TOLD])


def _names_of(dependant: Any) -> set[str]:
    names = {field.alias for field in dependant.query_params}
    return names.union(*(_names_of(inner) for inner in dependant.dependencies))


def _remedy(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name[:64], known, 1)
    if near:
        return f"Did you mean {near[0]}"
    return f"Leave it out; there are {', '.join(sorted(known))}" if known else "Leave it out; there is none here"
