"""Where a job's trials go: which cluster, chosen by name or by the container image, and which of its queues."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dropsweep.clusters import Cluster, format_size, parse_size
from dropsweep.errors import Problem
from dropsweep.names import CLUSTER_RULE, Priority, is_cluster
from dropsweep.spec.images import canonical
from dropsweep.spec.problems import error, join, listed, missing, nearest, warning

PRIORITIES: Final[Mapping[str, Priority]] = {
    "low": Priority.LOW,
    "medium": Priority.NORMAL,
    "normal": Priority.NORMAL,
    "high": Priority.HIGH,
}
"""What a job file may say; `medium` is Azure ML's word, `normal` Batch AI's."""
_HOLDS_ALL: Final = "Make sure that the cluster's image holds what the command needs"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a job's trials go.

    Attributes:
        cluster: its name; empty when there is a problem with it.
        priority: which of its queues.
        problems: what is wrong with it, or surprising.
    """

    cluster: str
    priority: Priority
    problems: tuple[Problem, ...]


def check_placement(
    raw: Mapping[str, Any], trial: Mapping[str, Any], prefix: str, clusters: Sequence[Cluster]
) -> Placement:
    """Finds the cluster and the queue of a job; never raises.

    Args:
        raw: the file.
        trial: the mapping that holds `command`: the file itself, or what stands under `trial`.
        prefix: its path, empty for the file itself.
        clusters: the clusters that are served, the default one first.
    """
    if not clusters:
        nobody = missing("compute", "no cluster is served here", "Ask whoever deployed this for a cluster")
        return Placement("", Priority.NORMAL, (nobody,))
    named, problems = _named(raw.get("compute"), clusters)
    is_told = named is None and not isinstance(raw.get("compute"), str | None)
    chosen = None if problems or is_told else named or clusters[0]
    environment, path = trial.get("environment"), join(prefix, "environment")
    image = environment.get("image") if isinstance(environment, Mapping) else None
    if not isinstance(image, str) or not image:
        if environment is not None:
            problems.append(_image_is_the_cluster_s(path, environment))
    elif chosen is not None:
        chosen, found = _by_image(image, path, named, clusters)
        problems += found
    if raw.get("compute") == "local" and chosen is not None and chosen.name != "local":
        rule = f"has no local machine to mean here: the job runs on `{chosen.name}`"
        problems.append(warning("compute", "local", rule, _known(clusters)))
    priority, found = _priority(raw)
    problems += found
    if raw is not trial:
        problems += _shared_memory(raw.get("resources"), "resources", chosen)
    problems += _shared_memory(trial.get("resources"), join(prefix, "resources"), chosen)
    return Placement(chosen.name if chosen else "", priority, tuple(problems))


def _known(clusters: Sequence[Cluster]) -> str:
    return f"Write `azureml:` and one of {listed([cluster.name for cluster in clusters])}"


def _named(compute: Any, clusters: Sequence[Cluster]) -> tuple[Cluster | None, list[Problem]]:
    """Returns the cluster that `compute` names; None without a problem where it names none."""
    by_name = {cluster.name: cluster for cluster in clusters}
    if not isinstance(compute, str) or (compute == "local" and compute not in by_name):
        return None, []
    name = compute.removeprefix("azureml:")
    if name in by_name:
        return by_name[name], []
    rule = (
        f"no trainer serves the cluster `{name[:80]}`" if is_cluster(name) else f"a cluster's name has {CLUSTER_RULE}"
    )
    close = nearest(name, by_name)
    return None, [error("compute", compute, rule, f"Did you mean `azureml:{close}`" if close else _known(clusters))]


def _by_image(
    image: str, path: str, named: Cluster | None, clusters: Sequence[Cluster]
) -> tuple[Cluster | None, list[Problem]]:
    """Returns the cluster for a job that names an image; None where no cluster may run it."""
    serving = [cluster for cluster in clusters if image_of(image) in map(image_of, _images(cluster))]
    if named in serving or (named is None and serving):
        return named or serving[0], []
    chosen = named or clusters[0]
    if not _images(chosen):
        rule = f"has no effect: the job runs on `{chosen.name}`, which states no image, in whatever its nodes run"
        return chosen, [warning(join(path, "image"), image, rule, _HOLDS_ALL)]
    if named is not None:
        rule = f"the cluster `{named.name}` does not serve it: it has {listed(_images(named))}"
    else:
        rule = "no cluster serves it"
    if serving:
        remedy = f"Write `compute: azureml:{serving[0].name}`, which serves it"
    else:
        known = [*dict.fromkeys(each for cluster in clusters for each in _images(cluster))]
        remedy = f"Write one of {listed(known)}, or have the image added to `serves` in a cluster's file"
    return None, [error(join(path, "image"), image, rule, remedy)]


def image_of(reference: str) -> str:
    """Returns what two references to one image have in common; a text that is no reference is itself."""
    return canonical(reference) or reference


def _images(cluster: Cluster) -> list[str]:
    """What a cluster says that it runs; empty when it says nothing."""
    return [image for image in (cluster.image, *cluster.serves) if image]


def _image_is_the_cluster_s(path: str, environment: Any) -> Problem:
    rule = "has no effect: a trial runs in its cluster's image"
    return warning(path, environment, rule, _HOLDS_ALL)


def _priority(raw: Mapping[str, Any]) -> tuple[Priority, list[Problem]]:
    settings = raw.get("queue_settings")
    given = settings.get("priority") if isinstance(settings, Mapping) else None
    of_azure_ml = PRIORITIES.get(given) if isinstance(given, str) else None
    also = raw.get("schedulingPriority")
    of_batch_ai = PRIORITIES.get(also) if isinstance(also, str) else None
    problems: list[Problem] = []
    if isinstance(settings, Mapping) and settings.get("job_tier") is not None:
        rule = "has no effect: the cluster's `tier` says how its nodes are provided"
        problems.append(warning("queue_settings.job_tier", settings["job_tier"], rule, "Remove the key"))
    if of_azure_ml is not None and of_batch_ai is not None and of_azure_ml is not of_batch_ai:
        rule = f"says another priority than queue_settings.priority ({given})"
        problems.append(error("schedulingPriority", also, rule, "Remove one of the two"))
    return of_azure_ml or of_batch_ai or Priority.NORMAL, problems


def _shared_memory(resources: Any, path: str, cluster: Cluster | None) -> list[Problem]:
    """Tells of a size of /dev/shm that the cluster does not have, as far as it is known."""
    asked = resources.get("shm_size") if isinstance(resources, Mapping) else None
    if not isinstance(asked, str):
        return []  # told with the shape of the file
    has = cluster.shm_size_bytes if cluster else None
    try:
        num_bytes = _docker_size(asked)
    except ValueError as failure:
        return [warning(join(path, "shm_size"), asked, f"has no effect: {str(failure)[:300]}", "Write it as 2g")]
    if cluster is None or has is None:
        rule, remedy = "has no effect: the cluster's own setting is used", "Remove the key"
    elif num_bytes > has:
        rule = f"has no effect: /dev/shm of the cluster `{cluster.name}` has {format_size(has)}"
        remedy = f"Write at most that, or have `shm_size: {asked}` written into the cluster's file"
    else:
        return []
    return [warning(join(path, "shm_size"), asked, rule, remedy)]


def _docker_size(text: str) -> int:
    """Reads a size as our files have it, or as Docker takes it: in upper or lower case, and with `b` at its end."""
    try:
        return parse_size(text)
    except ValueError:
        return parse_size(re.sub(r"i?b$", "", text.strip().lower()))
