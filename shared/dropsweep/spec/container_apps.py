"""What Azure Container Apps cannot do of what a cluster file may ask for.

Source:
    https://learn.microsoft.com/azure/container-apps/workload-profiles-overview (sizes of the profiles) and
    https://learn.microsoft.com/azure/container-apps/containers (what a container of the profile Consumption may have).
    As they stood in 2025; a region may have fewer of them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from dropsweep.clusters import Cluster, Tier, format_size
from dropsweep.errors import Problem
from dropsweep.spec.problems import error, missing, nearest

_GI: Final = 2**30
_CONSUMPTION: Final = "Consumption"


@dataclass(frozen=True, slots=True)
class Profile:
    """What a node of a workload profile may have at most.

    Attributes:
        cpus: processor cores.
        memory_bytes: memory.
        gpus: GPUs.
    """

    cpus: int
    memory_bytes: int
    gpus: int = 0


PROFILES: Final[Mapping[str, Profile]] = MappingProxyType(
    {
        _CONSUMPTION: Profile(4, 8 * _GI),
        "Consumption-GPU-NC8as-T4": Profile(8, 56 * _GI, 1),
        "Consumption-GPU-NC24-A100": Profile(24, 220 * _GI, 1),
        "D4": Profile(4, 16 * _GI),
        "D8": Profile(8, 32 * _GI),
        "D16": Profile(16, 64 * _GI),
        "D32": Profile(32, 128 * _GI),
        "E4": Profile(4, 32 * _GI),
        "E8": Profile(8, 64 * _GI),
        "E16": Profile(16, 128 * _GI),
        "E32": Profile(32, 256 * _GI),
        "NC24-A100": Profile(24, 220 * _GI, 1),
        "NC48-A100": Profile(48, 440 * _GI, 2),
        "NC96-A100": Profile(96, 880 * _GI, 4),
    }
)
"""By the type that a cluster file names under `workload_profile`."""
_REMEDY_OF_SIZE: Final = "Ask for less, or for a larger profile"


def check_container_apps(cluster: Cluster) -> Iterator[Problem]:
    """Yields what of a cluster Azure Container Apps refuses (errors), and what it passes over (warnings)."""
    if cluster.tier is Tier.LOW_PRIORITY:
        rule = "Azure Container Apps has no nodes of low priority"
        yield error("tier", str(cluster.tier), rule, "Write `dedicated`, or deploy this cluster on Kubernetes")
    if cluster.shm_size_bytes is not None:
        rule = "cannot be had on Azure Container Apps, where nobody sets the size of /dev/shm"
        remedy = "Remove the key, and let data loaders use files in place of shared memory"
        yield error("shm_size", format_size(cluster.shm_size_bytes), rule, remedy)
    profile = PROFILES.get(cluster.workload_profile)
    if profile is not None:
        yield from _check_size(cluster, profile)
    elif not cluster.workload_profile:
        rule = "is required for Azure Container Apps, which knows no VM sizes"
        yield missing("workload_profile", rule, f"Add it, such as `workload_profile: {_fitting(cluster)}`")
    else:
        in_lower_case = {name.lower(): name for name in PROFILES}
        close = nearest(cluster.workload_profile, in_lower_case)
        remedy = f"Did you mean `{in_lower_case[close]}`" if close else "Write one of these"
        rule = f"no workload profile has this type: known are {', '.join(PROFILES)}"
        yield error("workload_profile", cluster.workload_profile, rule, remedy)


def _fitting(cluster: Cluster) -> str:
    """Returns the first profile that has what the cluster asks for; the first with enough GPUs where none has."""
    by_gpus = [name for name, profile in PROFILES.items() if profile.gpus >= cluster.gpus_per_node]
    for name in by_gpus:
        profile = PROFILES[name]
        if cluster.cpus_per_node <= profile.cpus and cluster.memory_per_node_bytes <= profile.memory_bytes:
            return name
    return by_gpus[0] if by_gpus else _CONSUMPTION


def _check_size(cluster: Cluster, profile: Profile) -> Iterator[Problem]:
    name, memory = cluster.workload_profile, format_size(cluster.memory_per_node_bytes)
    if cluster.gpus_per_node != profile.gpus:
        rule = f"the profile {name} has {profile.gpus}, and a node of it gets all of them"
        yield error("gpus_per_node", cluster.gpus_per_node, rule, f"Write {profile.gpus}, or name another profile")
    if cluster.cpus_per_node > profile.cpus:
        rule = f"a node of the profile {name} has at most {profile.cpus}"
        yield error("cpus_per_node", cluster.cpus_per_node, rule, _REMEDY_OF_SIZE)
    elif cluster.memory_per_node_bytes > profile.memory_bytes:
        rule = f"a node of the profile {name} has at most {format_size(profile.memory_bytes)}"
        yield error("memory_per_node", memory, rule, _REMEDY_OF_SIZE)
    elif name == _CONSUMPTION:
        if cluster.cpus_per_node * 4 % 1 != 0:
            rule = "the profile Consumption has cores in steps of 0.25"
            yield error("cpus_per_node", cluster.cpus_per_node, rule, "Write a multiple of 0.25")
        elif cluster.memory_per_node_bytes != cluster.cpus_per_node * 2 * _GI:
            wanted = format_size(round(cluster.cpus_per_node * 2 * _GI))
            rule = f"the profile Consumption has 2Gi for each core, so {cluster.cpus_per_node:g} of them have {wanted}"
            yield error("memory_per_node", memory, rule, f"Write {wanted}, or name another profile")
