"""A cluster file, read: what it says of a cluster, or everything that is wrong with it, in one go.

It lies at `clusters/{name}.yaml` in the repository of whoever deploys; `dropsweep cluster bundle` makes the list of it
that the deployment gets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from dropsweep.clusters import (
    DEFAULT_CPUS,
    DEFAULT_IDLE_S,
    DEFAULT_MAX_INSTANCES,
    DEFAULT_MEMORY_BYTES,
    DEFAULT_PRELOAD,
    Cluster,
    Mount,
    Tier,
    parse_size,
)
from dropsweep.errors import Problem, Severity
from dropsweep.spec.cluster_checks import check_cluster
from dropsweep.spec.cluster_models import SECTIONS, ClusterFile, MountShape, TrialLimits
from dropsweep.spec.complaints import to_problems
from dropsweep.spec.document import Document, read_document
from dropsweep.spec.expressions import to_text
from dropsweep.spec.problems import join, tidy

_T = TypeVar("_T")
_EXAMPLE: Final = "Write keys such as `max_instances: 4`"


@dataclass(frozen=True, slots=True)
class ClusterReading:
    """What came of a cluster file.

    Attributes:
        cluster: what it says; None when there is an error among the problems.
        problems: errors first, then warnings.
    """

    cluster: Cluster | None
    problems: tuple[Problem, ...]


def read_cluster(body: bytes, *, file_name: str) -> ClusterReading:
    """Reads a cluster file; pure, and never raises, whatever the bytes.

    Args:
        body: the file; one without any key is a cluster with the defaults.
        file_name: its name or path: `.json` is read as JSON, anything else as YAML; the stem is the cluster's name.

    Returns:
        The cluster with its warnings, or every problem that could be found in one read. Its `slots_per_node` is given.
    """
    document = Document({}, ()) if not body.strip() else read_document(body, file_name=file_name)
    problems = [_in_words_of_clusters(problem) for problem in document.problems]
    if document.data is None:
        return ClusterReading(None, tidy(problems))
    told = {problem.path for problem in problems if problem.value and problem.severity is Severity.ERROR}
    file = file_name.rpartition("/")[2]
    name = file.rpartition(".")[0] or file
    found = tidy([*problems, *_shape_problems(document.data, told), *check_cluster(document.data, name)])
    if any(problem.severity is Severity.ERROR for problem in found):
        return ClusterReading(None, found)
    return ClusterReading(_cluster(ClusterFile.model_validate(document.data), name), found)


def _in_words_of_clusters(problem: Problem) -> Problem:
    """Returns a problem of YAML or JSON, which tells of job files, as one of cluster files."""
    remedy = _EXAMPLE if "type: sweep" in problem.remedy else problem.remedy
    return replace(problem, rule=problem.rule.replace("a job file", "a cluster file"), remedy=remedy)


def _shape_problems(data: Mapping[str, Any], told: set[str]) -> list[Problem]:
    """Returns what is wrong with the shape, each section looked at by itself, so that remedies name its own keys."""
    sections = {key: data[key] for key in SECTIONS if isinstance(data.get(key), Mapping)}
    top = {key: value for key, value in data.items() if key not in sections}
    mounts: Sequence[Any] = top["mounts"] if isinstance(top.get("mounts"), list) else ()
    if mounts and all(isinstance(mount, Mapping) for mount in mounts):
        # Only their number is looked at from here.
        top["mounts"] = [{"name": "a", "share": "a", "path": "/a"}] * len(mounts)
    else:
        mounts = ()
    problems = _complaints(ClusterFile, top, told, "")
    for key, section in sections.items():
        problems += _complaints(SECTIONS[key], section, told, key)
    for index, mount in enumerate(mounts):
        problems += _complaints(MountShape, mount, told, join("mounts", index))
    return problems


def _complaints(model: type[BaseModel], data: Mapping[str, Any], told: set[str], place: str) -> list[Problem]:
    try:
        model.model_validate(data)
    except ValidationError as failure:
        within = {path.removeprefix(f"{place}.") for path in told} if place else told
        found = to_problems(failure, model, data, told=within)
        return [replace(problem, path=f"{place}.{problem.path}") for problem in found] if place else found
    return []


def _cluster(shape: ClusterFile, name: str) -> Cluster:
    limits, gpus = shape.limits or TrialLimits(), shape.gpus_per_node or 0
    return Cluster(
        name=name,
        description=shape.description or "",
        tags={key: to_text(value) for key, value in (shape.tags or {}).items()},
        size=shape.size or "",
        workload_profile=shape.workload_profile or "",
        image=shape.image or "",
        serves=tuple(shape.serves or ()),
        gpus_per_node=gpus,
        cpus_per_node=_or(shape.cpus_per_node, DEFAULT_CPUS),
        memory_per_node_bytes=_or(_bytes(shape.memory_per_node), DEFAULT_MEMORY_BYTES),
        slots_per_node=_or(shape.slots_per_node, max(1, gpus)),
        min_instances=shape.min_instances or 0,
        max_instances=_or(shape.max_instances, DEFAULT_MAX_INSTANCES),
        idle_time_before_scale_down_s=_or(shape.idle_time_before_scale_down, DEFAULT_IDLE_S),
        tier=Tier(shape.tier or Tier.DEDICATED),
        monthly_node_hours=shape.monthly_node_hours,
        mounts=tuple(Mount(each.name, each.share, each.path, each.read_only) for each in shape.mounts or ()),
        setup_command=shape.setup_command or "",
        trial_memory_bytes=_bytes(limits.memory),
        trial_processes=limits.processes,
        shm_size_bytes=_bytes(shape.shm_size),
        warm_start=_or(shape.warm_start, True),
        preload=tuple(dict.fromkeys(_or(shape.preload, DEFAULT_PRELOAD))),
        cuda_mps=shape.cuda_mps or False,
        gpu_memory_fraction=shape.gpu_memory_fraction,
        cache_size_bytes=_bytes(shape.cache_size),
        checkpoint_rate_bytes_s=_bytes(shape.checkpoint_rate),
    )


def _bytes(size: str | None) -> int | None:
    return None if size is None else parse_size(size)


def _or(value: _T | None, default: _T) -> _T:
    return default if value is None else value
