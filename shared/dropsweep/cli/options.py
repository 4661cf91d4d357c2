"""The arguments and options that several commands take."""

from typing import Annotated

import typer

Connection = Annotated[
    str | None,
    typer.Option(
        "--connection",
        "--url",
        metavar="TEXT",
        help="A storage account, by its connection string or URL, or the URL of an HTTP API. Without it, the "
        "environment's DROPSWEEP_URL (with DROPSWEEP_KEY) or DROPSWEEP_STORAGE. A connection string that is given "
        "here, with the account's key in it, shows in the list of processes; in the environment it does not.",
        show_default=False,
    ),
]
"""One option under two names: what the text looks like tells what it is (`session.is_api`)."""
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
Job = Annotated[
    str,
    typer.Argument(metavar="JOB", help="A job's id, its name, the beginning of an id, or workspace/experiment/job."),
]
Workspace = Annotated[str | None, typer.Option("--workspace", "-w", metavar="NAME", help="Only this workspace.")]
Experiment = Annotated[str | None, typer.Option("--experiment", "-e", metavar="NAME", help="Only this experiment.")]
