"""The commands of `dropsweep workspace`: list, show and retain."""

from typing import TYPE_CHECKING, Annotated

import typer

from dropsweep.cli.delete import Yes, confirm
from dropsweep.cli.options import AsJson, Connection
from dropsweep.cli.session import session

if TYPE_CHECKING:
    from dropsweep.errors import DropsweepError
    from dropsweep.names import JobKey

workspace = typer.Typer(help="See workspaces, their policies and quotas.", no_args_is_help=True, rich_markup_mode=None)

_Name = Annotated[str, typer.Argument(metavar="WORKSPACE", help="The workspace.")]


@workspace.command("list", epilog="Examples:\n\n\b\n  dropsweep workspace list")
def list_them(context: typer.Context, connection: Connection = None, as_json: AsJson = False) -> None:
    """List the workspaces that have a job or a policy file."""
    with session(context, connection, as_json) as here:
        unreadable: dict[JobKey, DropsweepError] = {}
        found = here.client.workspaces(on_corrupt=unreadable.__setitem__)
        if as_json:
            here.write({"workspaces": [one.to_json() for one in found], "errors": here.errors(unreadable)})
        elif found:
            from dropsweep.cli import places

            here.out.print(places.workspaces(found))
        elif not unreadable:
            here.remark("there is no workspace yet: `dropsweep submit FILE -w NAME` hands a job in, and so makes one")
        here.end_with(unreadable)


@workspace.command("show", epilog="Examples:\n\n\b\n  dropsweep workspace show vision")
def show(context: typer.Context, name: _Name, connection: Connection = None, as_json: AsJson = False) -> None:
    """Show a workspace: its experiments, its policy, and what of its quota is used."""
    with session(context, connection, as_json) as here:
        unreadable: dict[JobKey, DropsweepError] = {}
        view = here.client.workspace(name, on_corrupt=unreadable.__setitem__)
        if as_json:
            here.write({**view.to_json(), "errors": here.errors(unreadable)})
        else:
            from dropsweep.cli import places

            here.out.print(places.workspace(view))
            if view.experiments:
                here.out.print()
                here.out.print(places.experiments(view.experiments, with_workspace=False))
            for problem in view.problems:
                here.remark(f"{view.file}: {problem}")
            if view.policy is not None and view.policy["retention"]["delete_after_days"] is not None:
                here.remark(f"see what will be deleted next: {here.program} workspace retain {name} --dry-run")
        here.end_with(unreadable)


@workspace.command(
    "retain",
    epilog="Examples:\n\n\b\n  dropsweep workspace retain vision --dry-run\n  dropsweep workspace retain vision --yes",
)
def retain(
    context: typer.Context,
    name: _Name,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be deleted.")] = False,
    yes: Yes = False,
    connection: Connection = None,
    as_json: AsJson = False,
) -> None:
    """Delete now what the policy's retention wants deleted; the functions do it each hour."""
    with session(context, connection, as_json) as here:
        from dropsweep.page.words import plural

        due = here.client.due(name)
        if not as_json and due:
            from dropsweep.cli import places

            here.out.print(places.due(due))
        document = {"due": [one.job.key.path for one in due], "is_dry_run": dry_run}
        if not due:
            here.remark(f"{name}: no job is due by the policy's retention")
        elif not dry_run:
            confirm(
                here,
                f"{plural(len(due), 'job')} of {name}, with everything that belongs to them, will be deleted",
                name,
                yes=yes,
            )
        done = here.client.retain(name) if due and not dry_run else None
        if as_json:
            counts = {"num_jobs": done.num_jobs if done else 0, "num_blobs": done.num_blobs if done else 0}
            here.write({"workspace": name, **document, **counts})
        elif done:
            typer.echo(f"{name}: {plural(done.num_jobs, 'job')} deleted, with {plural(done.num_blobs, 'blob')}")
