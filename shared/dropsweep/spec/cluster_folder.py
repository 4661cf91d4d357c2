"""A folder of cluster files: all clusters of a deployment, in the order of the files' names.

The only reader here that opens files itself, for such a folder lies beside whoever deploys and never in storage.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from dropsweep.clusters import Cluster
from dropsweep.errors import DropsweepError, Problem, Severity, SpecError
from dropsweep.names import JOB_FILE_SUFFIXES
from dropsweep.spec.cluster import read_cluster
from dropsweep.spec.container_apps import check_container_apps
from dropsweep.spec.problems import listed, missing, tidy


@dataclass(frozen=True, slots=True)
class ClusterFolder:
    """What a folder of cluster files says.

    Attributes:
        clusters: at least one; the first takes the jobs that name none.
        warnings: of all files; each path begins with the file's name.
    """

    clusters: tuple[Cluster, ...]
    warnings: tuple[Problem, ...]


def read_cluster_file(file: Path, *, for_container_apps: bool = False) -> tuple[Cluster | None, tuple[Problem, ...]]:
    """Reads one cluster file, and returns what it says and what is wrong with it; None where that is an error.

    Args:
        file: where it lies.
        for_container_apps: also tell what Azure Container Apps cannot do.

    Raises:
        OSError: it cannot be read.
    """
    reading = read_cluster(file.read_bytes(), file_name=file.name)
    if reading.cluster is None or not for_container_apps:
        return reading.cluster, reading.problems
    found = tidy([*reading.problems, *check_container_apps(reading.cluster)])
    is_refused = any(problem.severity is Severity.ERROR for problem in found)
    return None if is_refused else reading.cluster, found


def read_cluster_folder(folder: Path, *, for_container_apps: bool = False) -> ClusterFolder:
    """Reads all cluster files of a folder (`.yaml`, `.yml` and `.json`; what begins with a dot is passed over).

    Args:
        folder: where they lie.
        for_container_apps: also refuse what Azure Container Apps cannot do.

    Raises:
        OSError: the folder or a file cannot be read.
        SpecError: with every problem of every file.
        DropsweepError: there is no cluster file.
    """
    files = sorted(file for file in folder.iterdir() if _is_cluster_file(file))
    if not files:
        ends = listed(JOB_FILE_SUFFIXES)
        raise DropsweepError(f"{folder} has no cluster file, which ends in {ends}. Write one, as {folder}/gpu.yaml")
    clusters: dict[str, Cluster] = {}
    problems: list[Problem] = []
    doubles = check_names(files)
    for file in files:
        cluster, found = read_cluster_file(file, for_container_apps=for_container_apps)
        problems += in_file(file.name, found)
        if file in doubles:
            problems += in_file(file.name, [doubles[file]])
        if cluster is not None:
            clusters.setdefault(cluster.name, cluster)
    errors = tuple(problem for problem in problems if problem.severity is Severity.ERROR)
    if errors:
        raise SpecError(errors)
    return ClusterFolder(tuple(clusters.values()), tuple(problems))


def check_names(files: Iterable[Path]) -> dict[Path, Problem]:
    """Returns what is wrong with files of one folder that are of one cluster: for each but the first of them."""
    first: dict[tuple[Path, str], Path] = {}
    found: dict[Path, Problem] = {}
    for file in dict.fromkeys(files):
        other = first.setdefault((file.parent.absolute(), file.stem), file)
        if other.name != file.name:
            rule = f"{other.name} is of this cluster too, and a cluster has one file"
            found[file] = missing("", rule, "Remove one of them")
    return found


def in_file(name: str, problems: Iterable[Problem]) -> list[Problem]:
    """Returns problems with the file's name before their paths."""
    return [replace(one, path=f"{name}: {one.path}" if one.path else name) for one in problems]


def _is_cluster_file(file: Path) -> bool:
    return file.is_file() and file.suffix.lower() in JOB_FILE_SUFFIXES and not file.name.startswith(".")
