"""What Azure Container Apps cannot do of a cluster is told before it is deployed."""

from typing import Any

import pytest

from dropsweep.clusters import Cluster, Tier
from dropsweep.errors import Severity
from dropsweep.spec.container_apps import PROFILES, check_container_apps

GI = 2**30


def cluster(**changes: Any) -> Cluster:
    given: dict[str, Any] = {"workload_profile": "Consumption", "cpus_per_node": 2.0, "memory_per_node_bytes": 4 * GI}
    return Cluster("c", **given | changes)


@pytest.mark.parametrize("name", PROFILES)
def test_a_whole_node_of_each_profile_may_be_asked_for(name: str) -> None:
    profile = PROFILES[name]
    asked = cluster(
        workload_profile=name,
        cpus_per_node=profile.cpus,
        memory_per_node_bytes=profile.memory_bytes,
        gpus_per_node=profile.gpus,
        size="Standard_NC6s_v3",
    )
    assert [*check_container_apps(asked)] == []


@pytest.mark.parametrize(("cpus", "memory"), [(0.25, GI // 2), (0.5, GI), (1.75, 7 * GI // 2), (4, 8 * GI)])
def test_consumption_has_quarters_of_cores_with_2gi_each(cpus: float, memory: int) -> None:
    assert [*check_container_apps(cluster(cpus_per_node=cpus, memory_per_node_bytes=memory))] == []


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"tier": Tier.LOW_PRIORITY}, "tier", "on Kubernetes"),
        ({"workload_profile": ""}, "workload_profile", "`workload_profile: Consumption`"),
        (
            {"workload_profile": "", "gpus_per_node": 1, "cpus_per_node": 24, "memory_per_node_bytes": 220 * GI},
            "workload_profile",
            "`workload_profile: Consumption-GPU-NC24-A100`",
        ),
        ({"workload_profile": "", "gpus_per_node": 64}, "workload_profile", "`workload_profile: Consumption`"),
        ({"workload_profile": "NC24A100"}, "workload_profile", "Did you mean `NC24-A100`?"),
        ({"workload_profile": "zzz"}, "workload_profile", "known are Consumption, "),
        ({"gpus_per_node": 1}, "gpus_per_node", "has 0"),
        ({"workload_profile": "NC48-A100"}, "gpus_per_node", "Write 2"),
        ({"cpus_per_node": 4.25}, "cpus_per_node", "at most 4"),
        ({"cpus_per_node": 0.3}, "cpus_per_node", "steps of 0.25"),
        ({"memory_per_node_bytes": 2 * GI}, "memory_per_node", "Write 4Gi"),
        ({"workload_profile": "D4", "memory_per_node_bytes": 17 * GI}, "memory_per_node", "at most 16Gi"),
    ],
)
def test_what_the_platform_refuses_is_an_error(changes: dict[str, Any], path: str, words: str) -> None:
    (problem,) = check_container_apps(cluster(**changes))
    assert (problem.path, problem.severity) == (path, Severity.ERROR)
    assert words in str(problem)


def test_a_size_of_shared_memory_is_a_warning() -> None:
    (problem,) = check_container_apps(cluster(shm_size_bytes=GI))
    assert (problem.path, problem.severity) == ("shm_size", Severity.ERROR)
