"""The cluster file's shape: Azure ML's YAML of `type: amlcompute`, key by key, and our extensions.

A key of Azure ML's that Dropsweep does not act on stands here all the same, so that editors know it and it is told.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, Field

from dropsweep.clusters import (
    DEFAULT_CPUS,
    DEFAULT_IDLE_S,
    DEFAULT_MAX_INSTANCES,
    DEFAULT_PRELOAD,
    SIZE_RULE,
    Tier,
    parse_size,
)
from dropsweep.search.space import Scalar, refusal
from dropsweep.spec.models import MAX_COMMAND_LENGTH, MAX_SECONDS, Anything, Shape

MIN_SIZE_BYTES: Final = 2**20
MAX_SIZE_BYTES: Final = 2**50
MAX_INSTANCES: Final = 10_000
MAX_SLOTS: Final = 256
MAX_GPUS: Final = 64
MAX_CPUS: Final = 4096
MAX_MOUNTS: Final = 32
MAX_PRELOAD: Final = 32
_MAX_HOURS: Final = 100_000_000
_MAX_PROCESSES: Final = 4_194_304
"""The greatest number of processes that Linux has on 64 bits (`kernel.pid_max`)."""


def _check_size(value: Any) -> Any:
    try:
        num_bytes = parse_size(value)
    except ValueError:
        num_bytes = 0
    if not isinstance(value, str) or not MIN_SIZE_BYTES <= num_bytes <= MAX_SIZE_BYTES:
        raise refusal(f"must be a size from 1Mi to 1024Ti: {SIZE_RULE}", "Write it with its unit, such as 16Gi")
    return value


Size = Annotated[
    str,
    BeforeValidator(_check_size),
    Field(json_schema_extra={"pattern": r"^\d+(\.\d+)?\s*(Ki|Mi|Gi|Ti|k|m|g)?$", "examples": ["512Mi", "16Gi"]}),
]


class MountShape(Shape):
    """A shared folder that every node has."""

    name: str = Field(description="DROPSWEEP_MOUNT_{NAME} tells the trials where it is.")
    share: str = Field(description="The Azure Files share; on Kubernetes the claim.")
    path: str = Field(description="Where on the node, absolute.")
    read_only: bool = Field(default=False, description="Nodes may not write to it.")


class TrialLimits(Shape):
    """What one trial may use."""

    memory: Size | None = Field(default=None, description="Memory of one trial. Default: what there is.")
    processes: int | None = Field(
        default=None, ge=1, le=_MAX_PROCESSES, description="Processes and threads of one trial. Default: no bound."
    )


class ClusterFile(Shape):
    """The cluster file's keys; what is empty is as if it were not there."""

    schema_: Anything = Field(default=None, alias="$schema", description="For editors; not looked at.")
    type: Literal["amlcompute"] = "amlcompute"
    name: str | None = Field(default=None, description="The file's name without its ending, and nothing else.")
    description: str | None = None
    tags: dict[str, Scalar] | None = None
    size: str | None = Field(default=None, description="VM size of a node, such as Standard_NC24ads_A100_v4.")
    workload_profile: str | None = Field(default=None, description="Type of the Container Apps workload profile.")
    image: str | None = Field(default=None, description="What its nodes run. Default: the deployment's trainer image.")
    serves: list[str] | None = Field(default=None, description="Further images: jobs that name one may run here.")
    gpus_per_node: int | None = Field(default=None, ge=0, le=MAX_GPUS, description="Default: 0.")
    cpus_per_node: float | None = Field(default=None, gt=0, le=MAX_CPUS, description=f"Default: {DEFAULT_CPUS:g}.")
    memory_per_node: Size | None = Field(default=None, description="Default: 2Gi.")
    slots_per_node: int | None = Field(
        default=None, ge=1, le=MAX_SLOTS, description="Trials at once. Default: one a GPU, or one."
    )
    min_instances: int | None = Field(default=None, ge=0, le=MAX_INSTANCES, description="Default: 0.")
    max_instances: int | None = Field(
        default=None, ge=1, le=MAX_INSTANCES, description=f"Default: {DEFAULT_MAX_INSTANCES}."
    )
    idle_time_before_scale_down: float | None = Field(
        default=None,
        ge=0,
        le=MAX_SECONDS,
        description=f"Seconds that a node stays without work. Default: {DEFAULT_IDLE_S:g}.",
    )
    tier: Literal["dedicated", "low_priority"] | None = Field(default=None, description=f"Default: {Tier.DEDICATED}.")
    monthly_node_hours: float | None = Field(
        default=None, ge=0, le=_MAX_HOURS, description="Hours of all nodes in a month from which on nothing is begun."
    )
    mounts: list[MountShape] | None = Field(default=None, max_length=MAX_MOUNTS)
    setup_command: str | None = Field(
        default=None, max_length=MAX_COMMAND_LENGTH, description="Run once on each node, before it takes trials."
    )
    limits: TrialLimits | None = Field(default=None, description="Bounds of each trial.")
    shm_size: Size | None = Field(default=None, description="Size of /dev/shm. Default: as the platform has it.")
    warm_start: bool | None = Field(
        default=None, description="Begin plain Python commands in a process that has modules imported. Default: true."
    )
    preload: list[str] | None = Field(
        default=None,
        max_length=MAX_PRELOAD,
        description=f"Those modules, where they are installed. Default: {', '.join(DEFAULT_PRELOAD)}.",
    )
    cuda_mps: bool | None = Field(
        default=None, description="Share a GPU by NVIDIA's Multi-Process Service. Default: false."
    )
    gpu_memory_fraction: float | None = Field(
        default=None, gt=0, le=1, description="Of a GPU's memory, for one trial. Default: its share among the slots."
    )
    cache_size: Size | None = Field(
        default=None, description="How much of what was staged stays on a node. Default: half of the file system."
    )
    checkpoint_rate: Size | None = Field(
        default=None, description="Checkpoints' bytes a second of one node while trials run. Default: no bound."
    )
    location: Anything = Field(default=None, description="Has no effect: the deployment has one region.")
    identity: Anything = Field(default=None, description="Has no effect: the deployment's trainers have one identity.")
    network_settings: Anything = Field(default=None, description="Has no effect.")
    ssh_settings: Anything = Field(default=None, description="Has no effect.")
    ssh_public_access_enabled: Anything = Field(default=None, description="Has no effect.")
    enable_node_public_ip: Anything = Field(default=None, description="Has no effect.")


SECTIONS: Final[Mapping[str, type[BaseModel]]] = {"limits": TrialLimits}
NO_EFFECT: Final[Mapping[str, str]] = {
    "location": "the nodes are where the deployment is",
    "identity": "the trainers have the identity that the deployment gives them",
    "network_settings": "the nodes are in the deployment's network",
    "ssh_settings": "nobody logs in to a node",
    "ssh_public_access_enabled": "nobody logs in to a node",
    "enable_node_public_ip": "a node has no address of its own",
}
"""Keys of Azure ML's that are warnings, and why."""
