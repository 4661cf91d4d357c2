"""The command `dropsweep download`: results on this machine."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from dropsweep.cli.exits import ExitCode
from dropsweep.cli.options import AsJson, Connection, Job
from dropsweep.cli.session import session
from dropsweep.errors import DropsweepError, NotFoundError
from dropsweep.names import JobKey

EXAMPLES: Final = "Examples:\n\n\b\n  dropsweep download digits-4k2\n  dropsweep download digits-4k2 results --best"


def download(
    context: typer.Context,
    job: Job,
    destination: Annotated[
        Path | None, typer.Argument(metavar="DEST", help="The folder. [default: one with the job's id]")
    ] = None,
    trial: Annotated[
        int | None, typer.Option("--trial", min=0, metavar="TRIAL", help="This trial's files too.")
    ] = None,
    is_best: Annotated[bool, typer.Option("--best", help="The best trial's files too.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Every trial's files too.")] = False,
    connection: Connection = None,
    as_json: AsJson = False,
) -> None:
    """Download a job's report and results, and trials' files; what is left out is told, and exit code 1."""
    with session(context, connection, as_json) as here:
        if (trial is not None) + is_best + everything > 1:
            raise DropsweepError("--trial, --best and --all exclude each other. Give one of them")
        key = here.find(job)
        if is_best:
            found = here.client.best(key)
            if found is None:
                raise no_best(key)
            trial = found.trial
        done = here.client.download(key, destination or Path(key.job), trial=trial, everything=everything)
        for blob in done.refused:
            here.remark(f"left out: {blob.name}: {blob.reason}")
        if as_json:
            document: dict[str, Any] = {"job": key.path, "trial": trial, "folder": str(done.folder)}
            refused = [{"name": blob.name, "reason": blob.reason} for blob in done.refused]
            here.write(document | {"num_files": done.num_files, "size_bytes": done.size_bytes, "refused": refused})
        else:
            from dropsweep.page.words import plural

            typer.echo(f"{done.folder}: {plural(done.num_files, 'file')}, {plural(done.size_bytes, 'byte')}")
        if done.refused:
            raise typer.Exit(ExitCode.FAILED)


def no_best(key: JobKey) -> NotFoundError:
    """Returns the error for a job of which there is no best trial."""
    return NotFoundError(f"{key.path}: no trial has completed. `dropsweep show {key.path}` tells where it stands")
