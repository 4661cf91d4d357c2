"""A job goes to the cluster that it names, or to one that serves its image, into the queue of its priority."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from dropsweep.clusters import Cluster
from dropsweep.errors import Severity
from dropsweep.names import Priority
from dropsweep.spec import Reading, read_job
from dropsweep.spec.overrides import check_overrides
from tests.unit.spec.files import COMMAND, SWEEP, changed, told

PLAIN = Cluster("plain")
TORCH = Cluster("torch", image="registry.example/trainer:1", serves=("pytorch/pytorch:2.5",), shm_size_bytes=2**30)
JAX = Cluster("jax", serves=("registry.example/jax", "docker.io/pytorch/pytorch:2.5"))
IMAGE = "docker.io/pytorch/pytorch:2.5"


def read(data: dict[str, Any], *clusters: Cluster) -> Reading:
    body = json.dumps(data).encode()
    return read_job(body, file_name="a.json", clusters=clusters or (PLAIN, TORCH, JAX), seed=0, experiment="digits")


def with_image(image: str, **changes: Any) -> dict[str, Any]:
    return changed(COMMAND, environment={"image": image}, **changes)


@pytest.mark.parametrize(
    ("clusters", "expected"),
    [
        ((PLAIN, TORCH, JAX), "torch"),
        ((PLAIN, JAX, TORCH), "jax"),
        ((JAX, TORCH), "jax"),
        ((TORCH,), "torch"),
    ],
)
def test_an_image_goes_to_the_first_cluster_that_serves_it(clusters: Sequence[Cluster], expected: str) -> None:
    reading = read(with_image(IMAGE), *clusters)
    assert reading.spec is not None
    assert reading.spec.cluster == expected
    assert reading.problems == ()


def test_a_sweep_s_image_stands_under_its_trial() -> None:
    reading = read(changed(SWEEP, trial__environment={"image": IMAGE}))
    assert reading.spec is not None
    assert reading.spec.cluster == "torch"


def test_a_cluster_serves_what_its_nodes_run() -> None:
    reading = read(with_image("registry.example/trainer:1"))
    assert reading.spec is not None
    assert (reading.spec.cluster, reading.problems) == ("torch", ())


def test_a_cluster_that_is_named_and_serves_the_image_is_taken() -> None:
    reading = read(with_image(IMAGE, compute="azureml:jax"))
    assert reading.spec is not None
    assert (reading.spec.cluster, reading.problems) == ("jax", ())


def test_a_cluster_that_is_named_and_does_not_serve_the_image_is_refused_for_one_that_does() -> None:
    found = told(read(with_image("registry.example/jax", compute="azureml:torch")))
    assert found == {
        "environment.image": 'environment.image is "registry.example/jax": the cluster `torch` does not serve it: it '
        "has `registry.example/trainer:1` and `pytorch/pytorch:2.5`. Write `compute: azureml:jax`, which serves it."
    }


def test_an_image_that_nobody_serves_is_refused_with_those_that_are() -> None:
    for found in (
        told(read(with_image("tensorflow/tensorflow"), TORCH, PLAIN))["environment.image"],
        told(read(changed(SWEEP, trial__environment={"image": "a"}), TORCH))["trial.environment.image"],
    ):
        assert "no cluster serves it" in found
        assert "Write one of `registry.example/trainer:1` and `pytorch/pytorch:2.5`, or have the image added" in found


@pytest.mark.parametrize("changes", [{}, {"compute": "azureml:plain"}])
def test_a_cluster_that_states_no_image_takes_any_with_a_warning(changes: dict[str, Any]) -> None:
    reading = read(with_image("tensorflow/tensorflow", **changes))
    assert reading.spec is not None
    assert reading.spec.cluster == "plain"
    assert told(reading, Severity.WARNING) == {
        "environment.image": 'environment.image is "tensorflow/tensorflow": has no effect: the job runs on `plain`, '
        "which states no image, in whatever its nodes run. "
        "Make sure that the cluster's image holds what the command needs."
    }


def test_the_warning_of_an_environment_without_an_image_names_the_environment() -> None:
    reading = read(changed(COMMAND, environment="azureml:curated@latest"))
    assert list(told(reading, Severity.WARNING)) == ["environment"]


def test_the_machine_local_means_whatever_serves_the_image() -> None:
    reading = read(with_image(IMAGE, compute="local"))
    assert reading.spec is not None
    assert reading.spec.cluster == "torch"
    assert "runs on `torch`" in told(reading, Severity.WARNING)["compute"]


def test_of_an_unknown_cluster_only_that_is_told() -> None:
    assert list(told(read(with_image("tensorflow/tensorflow", compute="azureml:tpu")))) == ["compute"]
    assert list(told(read(with_image("tensorflow/tensorflow", compute=3)))) == ["compute"]


@pytest.mark.parametrize(
    ("changes", "priority"),
    [
        ({}, Priority.NORMAL),
        ({"queue_settings": None}, Priority.NORMAL),
        ({"queue_settings": {"priority": "high"}}, Priority.HIGH),
        ({"queue_settings": {"priority": "medium"}}, Priority.NORMAL),
        ({"queue_settings": {"priority": "normal"}}, Priority.NORMAL),
        ({"queue_settings": {"priority": "low"}}, Priority.LOW),
        ({"schedulingPriority": "high"}, Priority.HIGH),
        ({"schedulingPriority": "normal"}, Priority.NORMAL),
        ({"schedulingPriority": "normal", "queue_settings": {"priority": "medium"}}, Priority.NORMAL),
        ({"schedulingPriority": "low", "queue_settings": {"priority": None}}, Priority.LOW),
    ],
)
@pytest.mark.parametrize("base", [SWEEP, COMMAND], ids=["sweep", "command"])
def test_a_job_has_the_priority_that_its_file_gives(
    base: dict[str, Any], changes: dict[str, Any], priority: Priority
) -> None:
    reading = read(changed(base, **changes))
    assert reading.spec is not None
    assert (reading.spec.priority, reading.problems) == (priority, ())


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"queue_settings": {"priority": "urgent"}}, "queue_settings.priority", "`high`"),
        ({"queue_settings": {"priorty": "high"}}, "queue_settings.priorty", "Did you mean `priority`?"),
        ({"queue_settings": "high"}, "queue_settings", "mapping"),
        ({"schedulingPriority": "medium"}, "schedulingPriority", "`normal`"),
        (
            {"schedulingPriority": "low", "queue_settings": {"priority": "high"}},
            "schedulingPriority",
            "says another priority than queue_settings.priority (high)",
        ),
    ],
)
def test_a_priority_that_cannot_be_is_refused(changes: dict[str, Any], path: str, words: str) -> None:
    found = told(read(changed(COMMAND, **changes)))
    assert list(found) == [path]
    assert words in found[path]


def test_the_tier_of_a_queue_is_a_warning() -> None:
    found = told(read(changed(COMMAND, queue_settings={"job_tier": "spot"})), Severity.WARNING)
    assert "the cluster's `tier`" in found["queue_settings.job_tier"]


@pytest.mark.parametrize(
    ("compute", "size", "words"),
    [
        ("torch", "1Gi", None),
        ("torch", "512m", None),
        ("torch", "1GB", None),
        ("torch", "1025MiB", "has 1Gi"),
        ("torch", "2g", "/dev/shm of the cluster `torch` has 1Gi"),
        ("torch", "two", "is no size"),
        ("plain", "64m", "the cluster's own setting is used"),
    ],
)
def test_shared_memory_is_told_only_where_the_cluster_s_is_not_known_to_be_enough(
    compute: str, size: str, words: str | None
) -> None:
    reading = read(changed(SWEEP, compute=compute, resources={"shm_size": size}))
    found = told(reading, Severity.WARNING)
    assert (list(found) == ["resources.shm_size"]) is (words is not None)
    assert words is None or words in found["resources.shm_size"]


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        ({"compute": "azureml:torch"}, []),
        ({"compute": "azureml:tpu"}, ["compute"]),
        ({"environment": {"image": "tensorflow/tensorflow"}}, []),
        ({"environment": {"image": "a", "conda_file": "x"}}, ["environment.conda_file", "environment"]),
        ({"environment": {"image": "tensorflow/tensorflow"}, "compute": "azureml:torch"}, ["environment.image"]),
        ({"trial": {"command": "true", "environment": {"image": "x"}, "resources": {"shm_size": "9g"}}}, []),
        ({"resources": {"shm_size": "9g"}, "compute": "azureml:torch"}, ["resources.shm_size"]),
        ({"queue_settings": {"priority": "high"}}, []),
        ({"queue_settings": {"priority": "urgent"}}, ["queue_settings.priority"]),
        ({"schedulingPriority": "urgent"}, ["schedulingPriority"]),
        ({"schedulingPriority": "low", "queue_settings": {"priority": "high"}}, ["schedulingPriority"]),
    ],
)
def test_of_keys_over_a_file_s_only_what_no_file_could_mend_is_told(given: dict[str, Any], paths: list[str]) -> None:
    assert [problem.path for problem in check_overrides(given, (TORCH, JAX))] == paths
