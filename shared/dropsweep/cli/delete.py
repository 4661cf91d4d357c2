"""The command `dropsweep delete`, and what every command does that deletes: ask first, and tell what was done."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from dropsweep.cli.options import AsJson, Connection, Job
from dropsweep.cli.session import Session, session
from dropsweep.errors import DropsweepError

if TYPE_CHECKING:
    from dropsweep.steps.delete import Deleted

deletion = typer.Typer()
"""Has no name of its own: its command stands among those of `app`."""

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Cancels = Annotated[bool, typer.Option("--cancel", help="First cancel what has not ended, and wait for the end.")]
WithSource = Annotated[
    bool, typer.Option("--with-source", help="Delete the dropped job file too, unless it was dropped anew.")
]


@deletion.command(
    "delete", epilog="Examples:\n\n\b\n  dropsweep delete digits-4k2\n  dropsweep delete digits-4k2 --yes"
)
def delete(
    context: typer.Context,
    job: Job,
    cancels: Cancels = False,
    with_source: WithSource = False,
    yes: Yes = False,
    connection: Connection = None,
    as_json: AsJson = False,
) -> None:
    """Delete a job that has ended, with everything that belongs to it."""
    with session(context, connection, as_json) as here:
        key = here.client.resolve(job)
        record = here.client.record(key)
        if not record.state.is_final and not cancels:
            raise DropsweepError(
                f"{key.path} is {record.state}: only a job that has ended can be deleted. Cancel it first, or give "
                "--cancel"
            )
        confirm(
            here, f"{key.path}, with all its trials, logs, checkpoints and outputs, will be deleted", key.job, yes=yes
        )
        if not record.state.is_final:
            here.client.cancel(key)
            here.client.wait(key)
        done = here.client.delete(key, with_source=with_source)
        if as_json:
            here.write(done.to_json())
        else:
            typer.echo(line(done))
            if done.source:
                here.remark(f"{done.source} stays, and makes no new job unless it is dropped anew")


def confirm(here: Session, what: str, name: str, *, yes: bool) -> None:
    """Has a person type a name before something is deleted.

    Raises:
        DropsweepError: there is no person to ask, or the name was not typed.
    """
    if yes:
        return
    if here.as_json or not sys.stdin.isatty():
        raise DropsweepError(f"{what}: nobody is there to confirm it. Give --yes")
    here.remark(f"{what}. This cannot be undone")
    # By hand: typer's prompt writes a part of itself to standard output, where the result goes.
    sys.stderr.write(f"Type {name} to go on: ")
    sys.stderr.flush()
    typed = sys.stdin.readline().strip()
    if typed != name:
        raise DropsweepError(f"{typed!r} was typed, not {name}: nothing is deleted. Type it exactly, or give --yes")


def line(done: "Deleted") -> str:
    """Returns what was deleted of a job, in words."""
    blobs = f"{done.num_blobs:,} blob{'' if done.num_blobs == 1 else 's'}"
    later = "" if done.is_done else "; the rest is deleted by the timer"
    return f"{done.job.path}  deleted  {blobs}{later}"
