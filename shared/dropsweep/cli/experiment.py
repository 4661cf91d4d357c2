"""The commands of `dropsweep experiment`: list, show, compare, and what changes all jobs of one at once."""

from typing import TYPE_CHECKING, Annotated

import typer

from dropsweep.cli.control import act_on_experiment
from dropsweep.cli.delete import Cancels, WithSource, Yes, confirm, line
from dropsweep.cli.options import AsJson, Connection, Workspace
from dropsweep.cli.session import session
from dropsweep.errors import DropsweepError
from dropsweep.names import DEFAULT_NAME

if TYPE_CHECKING:
    from dropsweep.names import JobKey

experiment = typer.Typer(
    help="See experiments, compare their jobs, and change all of them at once.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_Name = Annotated[
    str,
    typer.Argument(
        metavar="EXPERIMENT", help=f"workspace/experiment; a name alone is one in the workspace {DEFAULT_NAME}."
    ),
]


@experiment.command("list", epilog="Examples:\n\n\b\n  dropsweep experiment list -w vision")
def list_them(
    context: typer.Context, workspace: Workspace = None, connection: Connection = None, as_json: AsJson = False
) -> None:
    """List the experiments that have a job."""
    with session(context, connection, as_json) as here:
        unreadable: dict[JobKey, DropsweepError] = {}
        found = here.client.experiments(workspace, on_corrupt=unreadable.__setitem__)
        if as_json:
            here.write({"experiments": [one.to_json() for one in found], "errors": here.errors(unreadable)})
        elif found:
            from dropsweep.cli import places

            here.out.print(places.experiments(found, with_workspace=True))
        elif not unreadable:
            here.remark("there is no experiment yet: `dropsweep submit FILE -e NAME` hands a job in, and so makes one")
        here.end_with(unreadable)


@experiment.command("show", epilog="Examples:\n\n\b\n  dropsweep experiment show vision/digits")
def show(context: typer.Context, name: _Name, connection: Connection = None, as_json: AsJson = False) -> None:
    """Show an experiment: its jobs, and the best of them for each objective."""
    with session(context, connection, as_json) as here:
        unreadable: dict[JobKey, DropsweepError] = {}
        view = here.client.experiment_view(*_place(name), on_corrupt=unreadable.__setitem__)
        if as_json:
            here.write({**view.to_json(), "errors": here.errors(unreadable)})
        else:
            from dropsweep.cli import places
            from dropsweep.cli import show as tables

            here.out.print(tables.jobs(view.jobs, list(unreadable), width=here.out.width))
            if view.best:
                here.out.print()
                here.out.print(places.champions(view.best))
        here.end_with(unreadable)


@experiment.command(
    "compare",
    epilog="Examples:\n\n\b\n  dropsweep experiment compare vision/digits --sort lr\n"
    "  dropsweep experiment compare --job digits-4k2 --job digits-9xp --csv",
)
def compare(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="EXPERIMENT",
            help=f"workspace/experiment; a name alone is one in the workspace {DEFAULT_NAME}.",
            show_default=False,
        ),
    ] = None,
    jobs: Annotated[
        list[str] | None,
        typer.Option("--job", metavar="JOB", help="This job, in place of an experiment; may be repeated."),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort",
            metavar="COLUMN",
            help="job, state, metric, trial, duration, created or a parameter. [default: the best first]",
            show_default=False,
        ),
    ] = None,
    is_descending: Annotated[bool, typer.Option("--descending", help="With --sort: the greatest first.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Write CSV, for spreadsheets.")] = False,
    connection: Connection = None,
    as_json: AsJson = False,
) -> None:
    """Put the best trial of each job side by side, with its parameters."""
    with session(context, connection, as_json) as here:
        if (name is None) == (not jobs):
            raise DropsweepError("an experiment or jobs are to be compared. Name an EXPERIMENT, or jobs by --job")
        if as_csv and as_json:
            raise DropsweepError("--csv and --json exclude each other. Give one of them")
        unreadable: dict[JobKey, DropsweepError] = {}
        if name is not None:
            view = here.client.experiment_view(*_place(name), on_corrupt=unreadable.__setitem__)
            found = here.client.compare(job.key for job in view.jobs)
        else:
            found = here.client.compare(jobs or ())
        if sort is not None:
            found = found.sorted_by(sort, is_descending=is_descending)
        if as_json:
            here.write({**found.to_json(), "errors": here.errors(unreadable)})
        elif as_csv:
            typer.echo(found.to_csv(), nl=False)
        else:
            from dropsweep.cli import places

            here.out.print(places.comparison(found, with_place=places.has_places(found.rows)))
            if len(found.objectives) > 1:
                told = ", ".join(found.objectives)
                here.remark(f"these jobs have different objectives, which do not compare: {told}")
        here.end_with(unreadable)


def _examples(command: str) -> str:
    return f"Examples:\n\n\b\n  dropsweep experiment {command} vision/digits"


def _add(action: str, told: str) -> None:
    """Adds the command that does to all jobs of an experiment what an action's name says."""

    @experiment.command(action, help=told, epilog=_examples(action))
    def act(context: typer.Context, name: _Name, connection: Connection = None, as_json: AsJson = False) -> None:
        with session(context, connection, as_json) as here:
            act_on_experiment(here, action, *_place(name))


_add("cancel", "Cancel all jobs that have not ended.")
_add("pause", "Pause all jobs that have not ended.")
_add("resume", "Let all paused jobs go on.")
_add("retry", "Try the failed trials of all jobs again.")


@experiment.command(
    "delete", epilog=f"{_examples('delete')}\n  dropsweep experiment delete vision/digits --cancel --yes"
)
def delete(
    context: typer.Context,
    name: _Name,
    cancels: Cancels = False,
    with_source: WithSource = False,
    yes: Yes = False,
    connection: Connection = None,
    as_json: AsJson = False,
) -> None:
    """Delete all jobs, with everything that belongs to them."""
    with session(context, connection, as_json) as here:
        from dropsweep.page.words import plural

        place = _place(name)
        view = here.client.experiment_view(*place, on_corrupt=lambda _key, _error: None)
        num_live = sum(not job.state.is_final for job in view.jobs)
        if num_live and not cancels:
            raise DropsweepError(
                f"{'/'.join(place)} has {plural(num_live, 'job')} not ended yet: only jobs that have ended can be "
                "deleted. Cancel them first, or give --cancel"
            )
        what = f"{plural(view.summary.num_jobs, 'job')} of {'/'.join(place)}, with everything that belongs to them"
        confirm(here, f"{what}, will be deleted", place[1], yes=yes)
        removals = here.client.experiment(*place).delete(with_source=with_source, cancels=cancels)
        done = [removal.deleted for removal in removals if removal.deleted is not None]
        failed = {removal.job: removal.error for removal in removals if removal.error is not None}
        if as_json:
            here.write({"jobs": [one.to_json() for one in done], "errors": here.errors(failed)})
        else:
            for one in done:
                typer.echo(line(one))
            num_blobs = sum(one.num_blobs for one in done)
            here.remark(f"deleted: {plural(len(done), 'job')}, with {plural(num_blobs, 'blob')}")
        here.end_with(failed)


def _place(name: str) -> tuple[str, str]:
    """Returns the workspace and the experiment that a person means."""
    workspace, _, experiment = name.strip("/").rpartition("/")
    return workspace or DEFAULT_NAME, experiment
