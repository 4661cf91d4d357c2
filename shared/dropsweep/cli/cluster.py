"""The commands of `dropsweep cluster`."""

from typing import Annotated

import typer

from dropsweep.cli.cluster_files import cluster_files
from dropsweep.cli.options import AsJson, Connection
from dropsweep.cli.session import session

cluster = typer.Typer(
    help="See clusters and their nodes, and check the files that describe them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@cluster.command("list", epilog="Examples:\n\n\b\n  dropsweep cluster list\n  dropsweep cluster list --json")
def list_them(context: typer.Context, connection: Connection = None, as_json: AsJson = False) -> None:
    """List the clusters, with their nodes, what waits for them, and the hours that they used this month."""
    with session(context, connection, as_json) as here:
        found = here.client.clusters()
        if as_json:
            here.write({"clusters": [one.to_json() for one in found]})
            return
        if not found:
            here.remark("there is no cluster yet: the functions name them with their first pass, within a minute")
            return
        from dropsweep.cli import clusters

        here.out.print(clusters.clusters(found))
        for told in clusters.remarks(found):
            here.remark(told)


@cluster.command("show", epilog="Examples:\n\n\b\n  dropsweep cluster show gpu\n  dropsweep cluster show gpu --json")
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="CLUSTER", help="The cluster's name.")],
    connection: Connection = None,
    as_json: AsJson = False,
) -> None:
    """Show a cluster: what its file says, its nodes of this month, and what waits for it."""
    with session(context, connection, as_json) as here:
        view = here.client.cluster(name)
        if as_json:
            here.write(view.to_json())
            return
        from dropsweep.cli import clusters

        here.out.print(clusters.cluster(view))
        if view.nodes:
            here.out.print()
            here.out.print(clusters.nodes(view))
        for message in clusters.messages(view):
            here.out.print()
            here.out.print(message)
        for told in clusters.remarks([view.summary]):
            here.remark(told)


cluster.add_typer(cluster_files)
