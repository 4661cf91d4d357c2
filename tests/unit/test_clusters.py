"""What the setting says of clusters: sizes, the list that a bundle is, and names alone."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropsweep.clusters import Cluster, Mount, Tier, dump_clusters, format_size, parse_clusters, parse_size
from dropsweep.errors import ConfigError
from dropsweep.spec.cluster import read_cluster

GPU = Cluster(
    "gpu",
    description="Größe: ‘large’",
    tags={"team": "vision"},
    image="registry.example/trainer:1",
    serves=("pytorch/pytorch:2.5",),
    gpus_per_node=2,
    cpus_per_node=3.5,
    memory_per_node_bytes=3 * 2**29,
    slots_per_node=2,
    max_instances=9,
    tier=Tier.LOW_PRIORITY,
    monthly_node_hours=100,
    mounts=(Mount("data-sets", "datasets", "/mnt/datasets", read_only=True),),
    trial_memory_bytes=2**30,
    trial_processes=512,
    shm_size_bytes=2**28,
    warm_start=False,
    preload=("torch", "torch.nn"),
    cuda_mps=True,
    gpu_memory_fraction=0.25,
    cache_size_bytes=2**33,
    checkpoint_rate_bytes_s=2**20,
)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
SIZES = st.integers(1, 2**30).map(lambda number: number * 2**20)
CLUSTERS = st.builds(
    Cluster,
    name=st.sampled_from(["cpu", "gpu", "a-1"]),
    description=TEXT,
    tags=st.dictionaries(TEXT, TEXT, max_size=2),
    size=st.sampled_from(["", "Standard_NC6"]),
    workload_profile=st.sampled_from(["", "D4"]),
    image=st.sampled_from(["", "ubuntu", "a.example:5000/b/c:1"]),
    serves=st.lists(st.sampled_from(["debian", "b/c@sha256:" + "0" * 64]), unique=True).map(tuple),
    gpus_per_node=st.integers(0, 64),
    cpus_per_node=st.floats(0.01, 4096),
    memory_per_node_bytes=SIZES,
    slots_per_node=st.integers(1, 256),
    min_instances=st.integers(0, 5),
    max_instances=st.integers(5, 10_000),
    idle_time_before_scale_down_s=st.floats(0, 1e6),
    tier=st.sampled_from(Tier),
    monthly_node_hours=st.none() | st.floats(0, 1e6),
    mounts=st.sampled_from([(), (Mount("a", "aaa", "/mnt/a"), Mount("b-c", "aaa", "/mnt/b", read_only=True))]),
    setup_command=st.sampled_from(["", "pip install x"]),
    trial_memory_bytes=st.none() | SIZES,
    trial_processes=st.none() | st.integers(1, 4_194_304),
    shm_size_bytes=st.none() | SIZES,
    warm_start=st.booleans(),
    preload=st.lists(st.sampled_from(["torch", "a.b"]), unique=True).map(tuple),
    cuda_mps=st.booleans(),
    gpu_memory_fraction=st.none() | st.floats(0.01, 1),
    cache_size_bytes=st.none() | SIZES,
    checkpoint_rate_bytes_s=st.none() | SIZES,
)


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [("512Mi", 2**29), ("1.5Gi", 3 * 2**29), ("2g", 2**31), ("64k", 2**16), ("1 Ti", 2**40), ("100", 100), (7, 7)],
)
def test_a_size_means_so_many_bytes(text: str | int, num_bytes: int) -> None:
    assert parse_size(text) == num_bytes


@pytest.mark.parametrize(
    "text", ["", "Gi", "-1Gi", "0", "0.0001", "1GB", "1G", "1e3", "1Gi2", None, True, [], "9" * 13]
)
def test_what_is_no_size_is_told_with_the_rule(text: Any) -> None:
    with pytest.raises(ValueError, match="512Mi or 16Gi"):
        parse_size(text)


@given(st.integers(1, 2**60))
def test_a_size_survives_being_written(num_bytes: int) -> None:
    text = format_size(num_bytes)
    # Of sizes that no person writes, only the bytes have more digits than the rule allows.
    if len(text) <= 12:
        assert parse_size(text) == num_bytes


@given(st.lists(CLUSTERS, min_size=1, max_size=3, unique_by=lambda cluster: cluster.name), st.booleans())
def test_the_setting_says_what_was_written_into_it(clusters: list[Cluster], is_for_people: bool) -> None:
    assert parse_clusters(dump_clusters(clusters, is_for_people=is_for_people)) == tuple(clusters)


@given(CLUSTERS)
def test_the_normalised_form_is_a_cluster_file_that_says_the_same(cluster: Cluster) -> None:
    reading = read_cluster(json.dumps(cluster.to_dict()).encode(), file_name=f"{cluster.name}.json")
    assert reading.cluster == cluster, reading.problems


def test_the_list_has_no_fractions_where_there_are_none() -> None:
    assert '"cpus_per_node":1,' in dump_clusters([Cluster("a", cpus_per_node=1.0)])
    assert '"idle_time_before_scale_down":0.5,' in dump_clusters([Cluster("a", idle_time_before_scale_down_s=0.5)])


def test_names_alone_are_clusters_with_the_defaults() -> None:
    assert parse_clusters(" cpu, gpu ,") == (Cluster("cpu"), Cluster("gpu"))


def broken(**changes: Any) -> str:
    return json.dumps([GPU.to_dict() | changes])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("[]", "is empty"),
        ("[", "is no JSON"),
        ("[1]", "cannot be read"),
        ("[{}]", "lacks"),
        (broken(extra=1), "holds what is no cluster"),
        (broken(name="GPU"), "holds what is no cluster"),
        (broken(image=None), "cannot be read"),
        (broken(memory_per_node="much"), "cannot be read"),
        (broken(tier="spot"), "cannot be read"),
        (broken(mounts=[{"name": "a"}]), "cannot be read"),
        (broken(max_instances=1, min_instances=2), "max_instances of gpu is 1: it must be a number from 2 on"),
        (broken(max_instances=0), "from 1 on"),
        (broken(min_instances=-1), "min_instances of gpu is -1"),
        (broken(min_instances=0.5), "0.5 must be a whole number"),
        (broken(slots_per_node=0), "slots_per_node of gpu is 0"),
        (broken(gpus_per_node=-1), "gpus_per_node of gpu is -1"),
        (broken(gpus_per_node=float("inf")), "cannot be read"),
        (broken(cpus_per_node=0), "cpus_per_node of gpu is 0.0"),
        (broken(cpus_per_node=float("nan")), "cpus_per_node of gpu is nan"),
        (broken(idle_time_before_scale_down=-1), "idle_time_before_scale_down of gpu is -1.0"),
        (broken(idle_time_before_scale_down=float("inf")), "idle_time_before_scale_down of gpu is inf"),
        (broken(monthly_node_hours=float("nan")), "monthly_node_hours of gpu is nan"),
        (broken(monthly_node_hours=-0.5), "monthly_node_hours of gpu is -0.5"),
        (broken(limits={"memory": None, "processes": 0}), "limits.processes of gpu is 0"),
        (json.dumps([GPU.to_dict(), GPU.to_dict()]), "names a cluster twice"),
        ("cpu,cpu", "names a cluster twice"),
        ("cpu-high", "not ending in -high"),
        ("CPU", "lower-case"),
    ],
)
def test_a_setting_that_is_no_list_of_clusters_is_refused_with_the_remedy(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match="DROPSWEEP_CLUSTERS") as refused:
        parse_clusters(text)
    assert words in str(refused.value)


def test_a_mount_s_variable_is_its_name_in_upper_case() -> None:
    assert GPU.mounts[0].variable == "DROPSWEEP_MOUNT_DATA_SETS"
