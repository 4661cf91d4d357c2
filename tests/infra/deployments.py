"""What this repository's templates come to, with its own clusters and with such as use everything."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from dropsweep.clusters import Cluster, Mount, dump_clusters, parse_clusters
from tests.infra.bicep import Content, Deployment, content_of, evaluate

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
STAGES = (INFRA / "main.bicep", INFRA / "trainers.bicep", INFRA / "events.bicep")
TEMPLATES = [*STAGES, *sorted(INFRA.glob("modules/*.bicep"))]

OURS = parse_clusters(content_of(INFRA / "clusters.json"))
EVERYTHING = (
    Cluster("plain"),
    Cluster(
        "a-name-that-is-as-long-as-a-name-may-be0",
        workload_profile="NC24-A100",
        image="registry.example/own:1",
        gpus_per_node=2,
        cpus_per_node=0.75,
        memory_per_node_bytes=3 * 2**29,
        slots_per_node=3,
        min_instances=1,
        max_instances=7,
        mounts=(Mount("sets", "datasets", "/mnt/sets", read_only=True), Mount("more", "scratch", "/mnt/more")),
        setup_command="echo $(HOME) $$",
    ),
    Cluster(
        "gpus",
        workload_profile="Consumption-GPU-NC8as-T4",
        gpus_per_node=2,
        max_instances=9,
        mounts=(Mount("sets", "datasets", "/mnt/sets"),),
    ),
    Cluster("x" * 28, workload_profile="NC24-A100", max_instances=9),
    Cluster("y" * 29),
)
SCENARIOS = {"ours": OURS, "everything": EVERYTHING}

PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "main.bicep": {
        "environmentName": "try",
        "location": "westeurope",
        "budgetStart": "2030-01-01",
        "principalId": "p-1",
        "budgetEmails": ["me@example.org"],
    },
    "trainers.bicep": {
        "image": "registry.example/dropsweep-trainer:1",
        "environmentName": "cae",
        "identityName": "id-trainers",
        "registryServer": "registry.example",
        "storageName": "st",
        "azdEnvironment": "try",
    },
    "events.bicep": {"topicName": "evgt", "functionAppName": "func"},
}


def with_clusters(clusters: tuple[Cluster, ...], content: Content = content_of) -> Content:
    """Reads the templates, and these clusters in place of the repository's."""
    return lambda path: dump_clusters(clusters) if path.name == "clusters.json" else content(path)


def deploy(stage: Path, clusters: tuple[Cluster, ...] = OURS, content: Content = content_of) -> Deployment:
    """What one of the stages makes."""
    return evaluate(stage, PARAMETERS[stage.name], with_clusters(clusters, content))


@cache
def deployed(stage: str, scenario: str = "ours") -> Deployment:
    """The same, worked out once: tests may look at it, and change nothing."""
    return deploy(INFRA / f"{stage}.bicep", SCENARIOS[scenario])
