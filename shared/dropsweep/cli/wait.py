"""The command that waits for jobs and says nothing: for scripts."""

import time
from typing import Annotated, Any

import typer

from dropsweep.cli.exits import BY_STATE, ExitCode, worst
from dropsweep.cli.options import AsJson, Connection
from dropsweep.cli.session import session

_APPEARS_S = 180.0
"""How long a job may be missing that was submitted a moment ago: in the cloud the functions may have to start first."""

EXAMPLES = "Examples:\n\n\b\n  dropsweep wait digits-4k2 --timeout 3600 && dropsweep best digits-4k2"


def wait(
    context: typer.Context,
    jobs: Annotated[list[str], typer.Argument(metavar="JOB...", help="Jobs, named as in the other commands.")],
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", min=0, metavar="SECONDS", help="The most seconds to wait for them all.")
    ] = None,
    connection: Connection = None,
    as_json: AsJson = False,
) -> None:
    """Wait until jobs have ended; the exit code tells how, and of several it is the worst.

    Nothing is written but errors.
    """
    with session(context, connection, as_json) as here:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        ended = []
        for key in [here.find(job) for job in jobs]:
            left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                ended.append(here.client.wait(key, left_s, appear_s=_APPEARS_S))
            except TimeoutError as error:
                here.tell(error, ExitCode.TIMED_OUT)
                raise typer.Exit(ExitCode.TIMED_OUT) from None
        code = worst(record.state for record in ended)
        if as_json:
            told: list[dict[str, Any]] = [
                {"job": record.key.path, "state": record.state, "exit_code": int(BY_STATE[record.state])}
                for record in ended
            ]
            here.write({"jobs": told, "exit_code": int(code)})
        raise typer.Exit(code)
