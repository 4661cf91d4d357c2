"""The commands of `dropsweep cluster` that read cluster files and open no account: check and bundle."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dropsweep.cli.exits import ExitCode
from dropsweep.cli.options import AsJson
from dropsweep.cli.session import Session, session
from dropsweep.errors import Severity

if TYPE_CHECKING:
    from dropsweep.clusters import Cluster
    from dropsweep.errors import Problem

cluster_files = typer.Typer(rich_markup_mode=None)

_ForContainerApps = Annotated[
    bool, typer.Option("--container-apps", help="Also refuse what Azure Container Apps cannot do.")
]


@cluster_files.command(
    "check",
    epilog="Examples:\n\n\b\n  dropsweep cluster check clusters/*.yaml\n"
    "  dropsweep cluster check clusters/gpu.yaml --container-apps",
)
def check(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", exists=True, dir_okay=False, help="Cluster files.")],
    for_container_apps: _ForContainerApps = False,
    as_json: AsJson = False,
) -> None:
    """Tell everything that is wrong with cluster files; exit code 3 if one cannot be used."""
    with session(context, None, as_json) as here:
        from dropsweep.spec.cluster_folder import check_names, read_cluster_file

        found = {file: read_cluster_file(file, for_container_apps=for_container_apps) for file in files}
        for file, double in check_names(files).items():
            found[file] = None, (double, *found[file][1])
        if as_json:
            here.write({"files": [_document(file, *reading) for file, reading in found.items()]})
        else:
            for file, reading in found.items():
                _tell(here, file, *reading)
        if any(cluster is None for cluster, _ in found.values()):
            raise typer.Exit(ExitCode.REJECTED)


@cluster_files.command(
    "bundle",
    epilog="Examples:\n\n\b\n  dropsweep cluster bundle clusters > infra/clusters.json\n"
    '  export DROPSWEEP_CLUSTERS="$(dropsweep cluster bundle clusters --compact)"',
)
def bundle(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", exists=True, file_okay=False, help="Of cluster files.")],
    compact: Annotated[bool, typer.Option("--compact", help="On one line, as DROPSWEEP_CLUSTERS takes it.")] = False,
    for_container_apps: _ForContainerApps = False,
    as_json: AsJson = False,
) -> None:
    """Write all clusters of a folder as the one JSON list that a deployment gets."""
    with session(context, None, as_json) as here:
        from dropsweep.clusters import dump_clusters
        from dropsweep.spec.cluster_folder import read_cluster_folder

        found = read_cluster_folder(folder, for_container_apps=for_container_apps)
        for problem in found.warnings:
            here.remark(f"warning: {problem}")
        typer.echo(dump_clusters(found.clusters, is_for_people=not compact))


def _document(file: Path, cluster: "Cluster | None", problems: "tuple[Problem, ...]") -> dict[str, Any]:
    told = [problem.to_json() for problem in problems]
    return {"file": str(file), "cluster": cluster.to_dict() if cluster else None, "problems": told}


def _tell(here: Session, file: Path, cluster: "Cluster | None", problems: "tuple[Problem, ...]") -> None:
    for problem in problems:
        kind = "error" if problem.severity is Severity.ERROR else "warning"
        typer.echo(f"{file}: {kind}: {problem}")
    if cluster is not None:
        typer.echo(f"{file}: ok: {_in_short(cluster)}")


def _in_short(cluster: "Cluster") -> str:
    from dropsweep.clusters import format_size
    from dropsweep.page.words import plural

    cores = f"{cluster.cpus_per_node:g} core{'' if cluster.cpus_per_node == 1 else 's'}"
    gpus = f", {plural(cluster.gpus_per_node, 'GPU')}" if cluster.gpus_per_node else ""
    return (
        f"{cluster.min_instances} to {plural(cluster.max_instances, 'node')} of {cores}, "
        f"{format_size(cluster.memory_per_node_bytes)}{gpus}, {plural(cluster.slots_per_node or 1, 'trial')} at once"
    )
