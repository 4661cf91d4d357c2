"""Clusters: what a deployment says of the machines that run its trials.

People write a cluster file each (`spec.cluster` reads it); the functions, the trainers and the local stack get all of
them as one setting, in the normalised form that `dropsweep cluster bundle` prints: a JSON list of objects with the keys
of the file, every one of them.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final

from dropsweep.errors import ConfigError
from dropsweep.names import CLUSTER_RULE, is_cluster

SETTING: Final = "DROPSWEEP_CLUSTERS"
SIZE_RULE: Final = "a number with Ki, Mi, Gi or Ti, such as 512Mi or 16Gi; or with k, m or g, which mean the same"
_SIZE: Final = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*(Ki|Mi|Gi|Ti|k|m|g)?")
_UNITS: Final = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 2**10, "m": 2**20, "g": 2**30}
DEFAULT_MAX_INSTANCES: Final = 4
DEFAULT_IDLE_S: Final = 120.0
DEFAULT_CPUS: Final = 1.0
DEFAULT_MEMORY_BYTES: Final = 2 * 2**30
DEFAULT_PRELOAD: Final = ("torch",)
MODULE_RULE: Final = "the name of a Python module, such as torch or torch.nn"
_MODULE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_MAX_MODULE: Final = 200
SETUP_RETRY_S: Final = 300.0
"""After a failed setup_command: for so long the messages that its node came for stay hidden."""


class Tier(StrEnum):
    """How the platform provides the nodes; those of low priority are cheaper and may be taken away at any time."""

    DEDICATED = "dedicated"
    LOW_PRIORITY = "low_priority"


@dataclass(frozen=True, slots=True)
class Mount:
    """A shared folder that every node of a cluster has.

    Attributes:
        name: `DROPSWEEP_MOUNT_{NAME}` tells the trials where it is.
        share: what is mounted: an Azure Files share, or on Kubernetes a claim.
        path: where on the node; absolute.
        read_only: nodes may not write to it.
    """

    name: str
    share: str
    path: str
    read_only: bool = False

    @property
    def variable(self) -> str:
        """The environment variable that holds its path."""
        return f"DROPSWEEP_MOUNT_{re.sub(r'[^A-Z0-9]', '_', self.name.upper())}"


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a cluster file says; a cluster that is known by its name alone has the defaults.

    Attributes:
        name: `trials-{name}` is its queue.
        description, tags: free, for people.
        size: VM size of a node, where the platform has nodes of its own (Kubernetes).
        workload_profile: type of the workload profile, where the platform has such (Azure Container Apps).
        image: what its nodes run; empty: the deployment's own trainer image.
        serves: further images: a job that names one of them may run here.
        gpus_per_node: GPUs that a node has.
        cpus_per_node: processor cores that a node has.
        memory_per_node_bytes: memory that a node has.
        slots_per_node: trials that a node runs at once; None: one for each GPU that it finds, or one.
        min_instances, max_instances: nodes that there are at least, and at most.
        idle_time_before_scale_down_s: seconds that a node stays without work.
        tier: how the nodes are provided.
        monthly_node_hours: recorded hours of all nodes in a calendar month (UTC) from which on nothing is dispatched;
            None: no cap.
        mounts: shared folders.
        setup_command: run once on each node before it takes trials; empty: none.
        trial_memory_bytes: memory that one trial may use; None: what there is.
        trial_processes: processes and threads that one trial may have; None: what there may be.
        shm_size_bytes: size of /dev/shm on a node; None: as the platform has it.
        warm_start: plain Python commands are begun in a process that has its modules imported already.
        preload: those modules; one that is not installed is passed over.
        cuda_mps: trials that share a GPU share one CUDA context by NVIDIA's Multi-Process Service.
        gpu_memory_fraction: of its GPU's memory, what one trial may use; None: its share among the slots on that GPU.
        cache_size_bytes: of what is staged on a node, how much stays there; None: half of the file system.
        checkpoint_rate_bytes_s: bytes a second at which a node's checkpoints go up while trials run; None: no bound.
    """

    name: str
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    size: str = ""
    workload_profile: str = ""
    image: str = ""
    serves: tuple[str, ...] = ()
    gpus_per_node: int = 0
    cpus_per_node: float = DEFAULT_CPUS
    memory_per_node_bytes: int = DEFAULT_MEMORY_BYTES
    slots_per_node: int | None = None
    min_instances: int = 0
    max_instances: int = DEFAULT_MAX_INSTANCES
    idle_time_before_scale_down_s: float = DEFAULT_IDLE_S
    tier: Tier = Tier.DEDICATED
    monthly_node_hours: float | None = None
    mounts: tuple[Mount, ...] = ()
    setup_command: str = ""
    trial_memory_bytes: int | None = None
    trial_processes: int | None = None
    shm_size_bytes: int | None = None
    warm_start: bool = True
    preload: tuple[str, ...] = DEFAULT_PRELOAD
    cuda_mps: bool = False
    gpu_memory_fraction: float | None = None
    cache_size_bytes: int | None = None
    checkpoint_rate_bytes_s: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the normalised form, which is also a valid cluster file."""
        return {
            "name": self.name,
            "description": self.description,
            "tags": dict(self.tags),
            "size": self.size,
            "workload_profile": self.workload_profile,
            "image": self.image,
            "serves": list(self.serves),
            "gpus_per_node": self.gpus_per_node,
            "cpus_per_node": _number_out(self.cpus_per_node),
            "memory_per_node": format_size(self.memory_per_node_bytes),
            "slots_per_node": self.slots_per_node,
            "min_instances": self.min_instances,
            "max_instances": self.max_instances,
            "idle_time_before_scale_down": _number_out(self.idle_time_before_scale_down_s),
            "tier": str(self.tier),
            "monthly_node_hours": _number_out(self.monthly_node_hours),
            "mounts": [{each.name: getattr(mount, each.name) for each in fields(Mount)} for mount in self.mounts],
            "setup_command": self.setup_command,
            "limits": {"memory": _size_out(self.trial_memory_bytes), "processes": self.trial_processes},
            "shm_size": _size_out(self.shm_size_bytes),
            "warm_start": self.warm_start,
            "preload": list(self.preload),
            "cuda_mps": self.cuda_mps,
            "gpu_memory_fraction": _number_out(self.gpu_memory_fraction),
            "cache_size": _size_out(self.cache_size_bytes),
            "checkpoint_rate": _size_out(self.checkpoint_rate_bytes_s),
        }

    @classmethod
    def from_dict(cls, document: Any) -> "Cluster":
        """Reads what `to_dict` returned.

        Raises:
            ConfigError: when it is not that.
        """
        try:
            cluster = cls(
                name=_text(document["name"]),
                description=_text(document["description"]),
                tags={_text(key): _text(value) for key, value in document["tags"].items()},
                size=_text(document["size"]),
                workload_profile=_text(document["workload_profile"]),
                image=_text(document["image"]),
                serves=tuple(map(_text, document["serves"])),
                gpus_per_node=_whole(document["gpus_per_node"]),
                cpus_per_node=float(document["cpus_per_node"]),
                memory_per_node_bytes=parse_size(document["memory_per_node"]),
                slots_per_node=_optional(document["slots_per_node"], _whole),
                min_instances=_whole(document["min_instances"]),
                max_instances=_whole(document["max_instances"]),
                idle_time_before_scale_down_s=float(document["idle_time_before_scale_down"]),
                tier=Tier(document["tier"]),
                monthly_node_hours=_optional(document["monthly_node_hours"], float),
                mounts=tuple(Mount(**mount) for mount in document["mounts"]),
                setup_command=_text(document["setup_command"]),
                trial_memory_bytes=_optional(document["limits"]["memory"], parse_size),
                trial_processes=_optional(document["limits"]["processes"], _whole),
                shm_size_bytes=_optional(document["shm_size"], parse_size),
                warm_start=_flag(document["warm_start"]),
                preload=tuple(map(_module, document["preload"])),
                cuda_mps=_flag(document["cuda_mps"]),
                gpu_memory_fraction=_optional(document["gpu_memory_fraction"], float),
                cache_size_bytes=_optional(document["cache_size"], parse_size),
                checkpoint_rate_bytes_s=_optional(document["checkpoint_rate"], parse_size),
            )
            _check_numbers(cluster)
            is_whole = set(document) == set(cluster.to_dict())
        except KeyError as error:
            raise ConfigError(f"a cluster in {SETTING} lacks {error}: it must have every key. {_REMEDY}") from error
        except (TypeError, ValueError, OverflowError, AttributeError) as error:
            raise ConfigError(f"a cluster in {SETTING} cannot be read: {error}. {_REMEDY}") from error
        if not is_whole or not is_cluster(cluster.name):
            raise ConfigError(f"{SETTING} holds what is no cluster: {str(document)[:200]!r}. {_REMEDY}")
        return cluster


_REMEDY: Final = "Set it to what `dropsweep cluster bundle` prints of the cluster files"


def parse_clusters(text: str) -> tuple[Cluster, ...]:
    """Reads the setting: the JSON list that `dropsweep cluster bundle` prints, or names separated by commas.

    Raises:
        ConfigError: it is neither, names one cluster twice, or none.
    """
    if text.lstrip().startswith("["):
        try:
            clusters = tuple(Cluster.from_dict(document) for document in json.loads(text))
        except ValueError as error:
            raise ConfigError(f"{SETTING} is no JSON ({error}). {_REMEDY}") from error
    else:
        clusters = tuple(Cluster(part.strip()) for part in text.split(",") if part.strip())
    for cluster in clusters:
        if not is_cluster(cluster.name):
            raise ConfigError(f"{SETTING} names {cluster.name[:80]!r}: a cluster is {CLUSTER_RULE}. Rename it")
    names = [cluster.name for cluster in clusters]
    if len(set(names)) < len(names):
        raise ConfigError(f"{SETTING} names a cluster twice ({', '.join(names)}): each has one file. Remove one")
    if not clusters:
        raise ConfigError(f"{SETTING} is empty: jobs need a cluster to go to. Name at least one")
    return clusters


def dump_clusters(clusters: Iterable[Cluster], *, is_for_people: bool = False) -> str:
    """Returns the JSON list that `parse_clusters` reads: on one line, or indented for people."""
    layout: dict[str, Any] = {"indent": 2} if is_for_people else {"separators": (",", ":")}
    return json.dumps([cluster.to_dict() for cluster in clusters], ensure_ascii=False, **layout)


def parse_size(text: Any) -> int:
    """Returns the bytes that a size such as `16Gi` or `2g` means; a whole number of them.

    Raises:
        ValueError: it breaks `SIZE_RULE`, or is not above 0.
    """
    found = _SIZE.fullmatch(str(text).strip()) if isinstance(text, str | int | float) else None
    num_bytes = round(float(found[1]) * _UNITS[found[2] or ""]) if found else 0
    if num_bytes < 1 or isinstance(text, bool):
        raise ValueError(f"{str(text)[:80]!r} is no size: it must be {SIZE_RULE}")
    return num_bytes


def format_size(num_bytes: int) -> str:
    """Returns a size as `parse_size` reads it, in the largest unit in which it is a whole number."""
    for unit in ("Ti", "Gi", "Mi", "Ki"):
        if num_bytes % _UNITS[unit] == 0:
            return f"{num_bytes // _UNITS[unit]}{unit}"
    return str(num_bytes)


def is_module(name: str) -> bool:
    """True for a name that `MODULE_RULE` allows."""
    return len(name) <= _MAX_MODULE and _MODULE.fullmatch(name) is not None


def _check_numbers(cluster: Cluster) -> None:
    """Raises ValueError when a number is one that no cluster file may have."""
    least = {
        "gpus_per_node": (cluster.gpus_per_node, 0),
        "slots_per_node": (cluster.slots_per_node, 1),
        "min_instances": (cluster.min_instances, 0),
        "max_instances": (cluster.max_instances, max(1, cluster.min_instances)),
        "idle_time_before_scale_down": (cluster.idle_time_before_scale_down_s, 0),
        "monthly_node_hours": (cluster.monthly_node_hours, 0),
        "limits.processes": (cluster.trial_processes, 1),
    }
    for key, (number, bound) in least.items():
        if number is not None and not bound <= number < math.inf:
            raise ValueError(f"{key} of {cluster.name} is {number}: it must be a number from {bound} on")
    if not 0 < cluster.cpus_per_node < math.inf:
        raise ValueError(f"cpus_per_node of {cluster.name} is {cluster.cpus_per_node}: it must be a number above 0")
    fraction = cluster.gpu_memory_fraction
    if fraction is not None and not 0 < fraction <= 1:
        raise ValueError(f"gpu_memory_fraction of {cluster.name} is {fraction}: it must be above 0, and at most 1")


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} must be true or false")
    return value


def _module(value: Any) -> str:
    if not is_module(_text(value)):
        raise ValueError(f"{value[:80]!r} must be {MODULE_RULE}")
    return str(value)


def _whole(value: Any) -> int:
    if int(value) != value:
        raise ValueError(f"{value!r} must be a whole number")
    return int(value)


def _size_out(num_bytes: int | None) -> str | None:
    return None if num_bytes is None else format_size(num_bytes)


def _number_out(number: float | None) -> float | None:
    """Returns a whole number as one, for not everything that reads the list knows fractions."""
    return int(number) if number is not None and float(number).is_integer() else number


def _optional(value: Any, read: Any) -> Any:
    return None if value is None else read(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} must be text")
    return value
