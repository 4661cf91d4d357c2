"""The chart as Kubernetes would get it, for clusters and values that a test chooses."""

import functools
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from dropsweep.clusters import Cluster, Mount, Tier, dump_clusters

ROOT = Path(__file__).parents[3]
CHART = ROOT / "infra/kubernetes"
RELEASE, NAMESPACE = "sweeps", "training"
CLIENT_ID = "11111111-2222-3333-4444-555555555555"
GIB = 2**30

needs_helm = pytest.mark.skipif(
    importlib.util.find_spec("helm_python") is None, reason="helm-python-sdk has no wheel for this kind of machine"
)

VALUES: Mapping[str, Any] = {
    "image": "registry.example.com/dropsweep-trainer:1",
    "storage": {"account": "sweepstore"},
    "identity": {"clientId": CLIENT_ID},
}

PLAIN = Cluster("cpu")
FULL = Cluster(
    "gpu",
    description="costs $5, runs $(everything) & <more>",
    size="Standard_NC24ads_A100_v4",
    image="registry.example.com/other:2",
    gpus_per_node=2,
    cpus_per_node=23.5,
    memory_per_node_bytes=200 * GIB,
    slots_per_node=4,
    min_instances=1,
    max_instances=7,
    tier=Tier.LOW_PRIORITY,
    mounts=(Mount("data", "datasets", "/mnt/data", read_only=True), Mount("out_put", "results", "/mnt/out")),
    setup_command='echo $$ $(hostname) "$HOME"',
    shm_size_bytes=16 * GIB,
)
CLUSTERS = (PLAIN, FULL)


@functools.cache
def _ask(values: str) -> dict[str, Any]:
    asked = {"chart": str(CHART), "values": json.loads(values), "name": RELEASE, "namespace": NAMESPACE}
    program = Path(__file__).with_name("render_chart.py")
    done = subprocess.run(
        [sys.executable, program], input=json.dumps(asked), capture_output=True, text=True, check=True, timeout=60
    )
    return dict(json.loads(done.stdout))


def _answer(clusters: Iterable[Cluster] | str, values: Mapping[str, Any]) -> dict[str, Any]:
    text = clusters if isinstance(clusters, str) else dump_clusters(clusters, is_for_people=True)
    return _ask(json.dumps({**VALUES, "clusters": text, **values}, sort_keys=True))


def documents(clusters: Iterable[Cluster] | str = CLUSTERS, **values: Any) -> list[dict[str, Any]]:
    """Every object of the chart."""
    told = _answer(clusters, values)
    assert "error" not in told, told["error"]
    texts = [text for name, text in sorted(told["manifests"].items()) if name.endswith(".yaml")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def of_kind(kind: str, clusters: Iterable[Cluster] | str = CLUSTERS, **values: Any) -> list[dict[str, Any]]:
    return [document for document in documents(clusters, **values) if document["kind"] == kind]


def scaled_job(cluster: Cluster, **values: Any) -> dict[str, Any]:
    """The scaled job of one cluster, with the others beside it."""
    named = [job for job in of_kind("ScaledJob", **values) if job["metadata"]["name"] == f"{RELEASE}-{cluster.name}"]
    assert len(named) == 1
    return named[0]


def pod(cluster: Cluster, **values: Any) -> dict[str, Any]:
    """The pod template of one cluster."""
    return dict(scaled_job(cluster, **values)["spec"]["jobTargetRef"]["template"])


def trainer(cluster: Cluster, **values: Any) -> dict[str, Any]:
    """The trainer's container in a cluster's pods."""
    (container,) = pod(cluster, **values)["spec"]["containers"]
    return dict(container)


def environment(cluster: Cluster, **values: Any) -> dict[str, str]:
    """The trainer's environment. Kubernetes would change a value with a `$` in it, so there is none."""
    listed = trainer(cluster, **values)["env"]
    assert len({each["name"] for each in listed}) == len(listed)
    assert not any("$" in each["value"] for each in listed)
    return {each["name"]: each["value"] for each in listed}


def refusal(clusters: Iterable[Cluster] | str = CLUSTERS, **values: Any) -> str:
    """What Helm says of values that the chart refuses."""
    told = _answer(clusters, values)
    assert "error" in told, "it was not refused"
    return str(told["error"])


def lint(clusters: Iterable[Cluster] | str = CLUSTERS, **values: Any) -> dict[str, Any]:
    """What Helm's linter says of the chart with these values."""
    return dict(_answer(clusters, values)["lint"])
