"""The command that waits for jobs and says nothing: for scripts."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from dropsweep.cli.exits import BY_STATE, ExitCode, worst
from dropsweep.cli.options import AsJson, Connection
from dropsweep.cli.session import Session, session
from dropsweep.errors import StorageUnavailable

if TYPE_CHECKING:
    from dropsweep.names import JobKey
    from dropsweep.states import JobState

_APPEARS_S = 180.0
"""How long a job may be missing that was submitted a moment ago: in the cloud the functions may have to start first."""

EXAMPLES = "Examples:\n\n\b\n  dropsweep wait digits-4k2 --timeout 3600 && dropsweep best digits-4k2"


def wait(
    context: typer.Context,
    jobs: Annotated[list[str], typer.Argument(metavar="JOB", help="Jobs, named as in the other commands.")],
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", min=0, metavar="SECONDS", help="The most seconds to wait for them all.")
    ] = None,
    connection: Connection = None,
    as_json: AsJson = False,
) -> None:
    """Wait until jobs have ended; the exit code tells how, and of several it is the worst.

    Without --json nothing is written but errors.
    """
    deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
    with session(context, connection, as_json, time_s=timeout_s) as here:
        states: dict[str, JobState | None] = dict.fromkeys(jobs)
        try:
            keys = {key.path: key for key in map(here.find, jobs)}
            states = dict.fromkeys(keys)
            for path, key in keys.items():
                states[path] = _state_after(here, key, deadline_s)
        except StorageUnavailable as error:
            if timeout_s is None or deadline_s is None or time.monotonic() < deadline_s:
                raise
            # The time is over, whatever the reason: what is not known by now is not asked for again.
            _end(here, states, [f"after {timeout_s:g} s: {here.message(error)}"])
        late = [path for path, state in states.items() if state is None or not state.is_final]
        _end(here, states, [_too_late(path, states[path], timeout_s or 0.0) for path in late])


def _state_after(here: Session, key: "JobKey", deadline_s: float | None) -> "JobState | None":
    """Waits for one job and returns its state; None when it has no record by then. After the deadline it looks once."""
    left_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
    state = None
    try:
        for progress in here.client.updates(key, appear_s=_APPEARS_S, timeout_s=left_s):
            state = progress.record.state if progress else None
    except TimeoutError:
        pass
    return state


def _too_late(path: str, state: "JobState | None", timeout_s: float) -> str:
    # Not imported at the top: it brings the storage SDK with it.
    from dropsweep.client.progress import too_late

    return too_late(path, state, timeout_s)


def _end(here: Session, states: "Mapping[str, JobState | None]", too_late: Sequence[str]) -> NoReturn:
    """Writes the document and, of jobs that had not ended in time, the errors.

    Raises:
        typer.Exit: with the code that tells how the jobs ended, or that one had not.
    """
    ended = {path: state for path, state in states.items() if state is not None and state.is_final}
    code = ExitCode.TIMED_OUT if too_late else worst(ended.values())
    if here.as_json:
        told: list[dict[str, Any]] = [
            {"job": path, "state": state, "exit_code": int(BY_STATE[ended[path]]) if path in ended else None}
            for path, state in states.items()
        ]
        here.write({"jobs": told, "exit_code": int(code)})
    # With --json one object alone: the document has all of them.
    for message in too_late[:1] if here.as_json else too_late:
        here.tell(TimeoutError(message), code)
    raise typer.Exit(code)
