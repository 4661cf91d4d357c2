"""The arguments and options that several commands take."""

from typing import Annotated

import typer

Connection = Annotated[
    str | None,
    typer.Option(
        "--connection",
        metavar="TEXT",
        help="Connection string of the storage account. Without it, the environment's DROPSWEEP_STORAGE, "
        "which other users of this machine cannot see.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
Job = Annotated[
    str,
    typer.Argument(metavar="JOB", help="A job's id, its name, the beginning of an id, or workspace/experiment/job."),
]
Workspace = Annotated[str | None, typer.Option("--workspace", "-w", help="Only this workspace.")]
Experiment = Annotated[str | None, typer.Option("--experiment", "-e", help="Only this experiment.")]
