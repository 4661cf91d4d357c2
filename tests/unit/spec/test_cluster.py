"""A cluster file is read in one go: what it says, or everything that is wrong with it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropsweep.clusters import Cluster, Mount, Tier
from dropsweep.errors import Severity
from dropsweep.spec.cluster import ClusterReading, read_cluster
from dropsweep.spec.cluster_checks import WORK_FOLDER
from dropsweep.spec.cluster_models import ClusterFile, MountShape, TrialLimits
from dropsweep.spec.models import keys_of
from dropsweep.spec.schema import schemas, to_text

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGE = (DOCS / "clusters.md").read_text(encoding="utf-8")
TEXT = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def read(text: str | bytes, file_name: str = "clusters/gpu.yaml") -> ClusterReading:
    return read_cluster(text if isinstance(text, bytes) else text.encode(), file_name=file_name)


def told(text: str | bytes, severity: Severity = Severity.ERROR) -> dict[str, str]:
    reading = read(text)
    assert (reading.cluster is None) is (severity is Severity.ERROR), reading.problems
    return {problem.path: str(problem) for problem in reading.problems if problem.severity is severity}


def test_a_whole_file_says_what_it_says() -> None:
    reading = read(EXAMPLES[0])
    assert reading.problems == ()
    gib = 2**30
    assert reading.cluster == Cluster(
        name="gpu",
        description="One A100 a node",
        size="Standard_NC24ads_A100_v4",
        workload_profile="Consumption-GPU-NC24-A100",
        image="registry.example/dropsweep-trainer:1.0",
        serves=("pytorch/pytorch:2.5.1-cuda12.4-cudnn9-runtime",),
        gpus_per_node=1,
        cpus_per_node=24,
        memory_per_node_bytes=220 * gib,
        slots_per_node=1,
        min_instances=0,
        max_instances=4,
        idle_time_before_scale_down_s=300,
        tier=Tier.DEDICATED,
        monthly_node_hours=200,
        mounts=(Mount("datasets", "datasets", "/mnt/datasets", read_only=True),),
        setup_command='python -m pip install --target "$DROPSWEEP_SETUP/python" tqdm',
        trial_memory_bytes=64 * gib,
        trial_processes=4096,
        shm_size_bytes=16 * gib,
    )


@pytest.mark.parametrize(
    "text",
    ["", " \n", "{}", "type: amlcompute", "name: gpu", "limits:\nmounts: []\nimage: ''\nmax_instances:", EXAMPLES[1]],
)
def test_a_file_that_says_nothing_is_a_cluster_with_the_defaults(text: str) -> None:
    description = "For everything that needs no GPU" if text == EXAMPLES[1] else ""
    assert read(text).cluster == Cluster("gpu", description=description, slots_per_node=1)


def test_how_a_node_is_shared_is_read() -> None:
    text = """
        warm_start: false
        cuda_mps: true
        gpus_per_node: 2
        slots_per_node: 8
        gpu_memory_fraction: 0.2
        cache_size: 20Gi
        checkpoint_rate: 100Mi
    """
    reading = read(text)
    assert reading.problems == (), "who writes how GPUs are shared means them to be"
    assert reading.cluster == Cluster(
        "gpu",
        gpus_per_node=2,
        slots_per_node=8,
        warm_start=False,
        cuda_mps=True,
        gpu_memory_fraction=0.2,
        cache_size_bytes=20 * 2**30,
        checkpoint_rate_bytes_s=100 * 2**20,
    )


@pytest.mark.parametrize(
    ("text", "modules"),
    [
        ("", ("torch",)),
        ("preload:", ("torch",)),
        ("preload: []", ()),
        ("preload: [jax, torch.nn, jax]", ("jax", "torch.nn")),
    ],
)
def test_modules_are_preloaded_once_each_and_an_empty_list_means_none(text: str, modules: tuple[str, ...]) -> None:
    cluster = read(text).cluster
    assert cluster is not None
    assert cluster.preload == modules


@pytest.mark.parametrize(
    ("text", "slots"), [("gpus_per_node: 4", 4), ("gpus_per_node: 0", 1), ("slots_per_node: 3", 3)]
)
def test_a_node_has_a_slot_for_each_gpu_unless_the_file_says_more(text: str, slots: int) -> None:
    cluster = read(text).cluster
    assert cluster is not None
    assert cluster.slots_per_node == slots


def test_no_hours_at_all_is_a_cap() -> None:
    cluster = read("monthly_node_hours: 0").cluster
    assert cluster is not None
    assert cluster.monthly_node_hours == 0


def test_every_problem_is_told_at_once_with_its_place_and_remedy() -> None:
    found = told(
        "type: amlcomput\nmax_instance: 3\nmin_instances: -1\ncpus_per_node: '2'\nmemory_per_node: 16\n"
        "limits: {memory: lots, processe: 1}\nmounts: [{name: a, shar: abc, path: /mnt/a}]\ntier: spot"
    )
    assert set(found) == {
        *("type", "max_instance", "min_instances", "cpus_per_node", "memory_per_node", "tier"),
        *("limits.memory", "limits.processe", "mounts[0].share", "mounts[0].shar"),
    }
    assert "Did you mean `max_instances`?" in found["max_instance"]
    assert "Did you mean `processes`?" in found["limits.processe"]
    assert "Did you mean `share`?" in found["mounts[0].shar"]
    assert "`dedicated` and `low_priority`" in found["tier"]
    assert "Write it with its unit, such as 16Gi." in found["memory_per_node"]


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("name: cpu", "name", "`gpu`"),
        ("size: 'a b'", "size", "letters, digits"),
        ("workload_profile: -x", "workload_profile", "letters, digits"),
        ("image: Ubuntu", "image", "lower case"),
        ("serves: ['']", "serves[0]", "an image's reference"),
        ("min_instances: 5", "min_instances", "must be at most max_instances (4)"),
        ("{min_instances: 3, max_instances: 2}", "min_instances", "must be at most max_instances (2)"),
        ("max_instances: 0", "max_instances", "at least 1"),
        ("slots_per_node: 0", "slots_per_node", "at least 1"),
        ("gpus_per_node: 65", "gpus_per_node", "at most 64"),
        ("gpus_per_node: 1.5", "gpus_per_node", "whole number"),
        ("cpus_per_node: 0", "cpus_per_node", "greater than 0"),
        ("idle_time_before_scale_down: -1", "idle_time_before_scale_down", "at least 0"),
        ("monthly_node_hours: -0.5", "monthly_node_hours", "at least 0"),
        ("shm_size: 64k", "shm_size", "from 1Mi"),
        ("shm_size: 2000Ti", "shm_size", "to 1024Ti"),
        ("preload: ['a b']", "preload[0]", "name of a Python module"),
        ("preload: [torch, 1]", "preload[1]", "text"),
        ("preload: torch", "preload", "list"),
        ("warm_start: 'yes'", "warm_start", "true or false"),
        ("gpu_memory_fraction: 0", "gpu_memory_fraction", "greater than 0"),
        ("gpu_memory_fraction: 1.1", "gpu_memory_fraction", "at most 1"),
        ("cache_size: 20", "cache_size", "from 1Mi"),
        ("checkpoint_rate: 1Ki", "checkpoint_rate", "from 1Mi"),
        ("limits: 8Gi", "limits", "mapping"),
        ("limits: {processes: 0}", "limits.processes", "at least 1"),
        ("setup_command: '  '", "setup_command", "blank"),
        (f"setup_command: {'x' * 32769}", "setup_command", "32768 characters"),
        ("mounts: {a: /mnt/a}", "mounts", "list"),
        ("mounts: [/mnt/a]", "mounts[0]", "mapping"),
        ("mounts: [{name: A, share: abc, path: /mnt/a}]", "mounts[0].name", "lower-case"),
        ("mounts: [{name: a, share: ab, path: /mnt/a}]", "mounts[0].share", "3 to 63"),
        ("mounts: [{name: a, share: //x/abc, path: /mnt/a}]", "mounts[0].share", "not its address"),
        ("mounts: [{name: a, share: abc, path: mnt/a}]", "mounts[0].path", "whole path"),
        ("mounts: [{name: a, share: abc, path: /mnt/../etc}]", "mounts[0].path", "whole path"),
        ("mounts: [{name: a, share: abc, path: '/mnt/a,b'}]", "mounts[0].path", "whole path"),
        ("mounts: [{name: a, share: abc, path: /}]", "mounts[0].path", "which a node needs"),
        ("mounts: [{name: a, share: abc, path: /var}]", "mounts[0].path", "/var/lib/dropsweep"),
        ("mounts: [{name: a, share: abc, path: /var/lib/dropsweep/x}]", "mounts[0].path", "/var/lib/dropsweep"),
        ("mounts: [{name: a, share: abc, path: /proc}]", "mounts[0].path", "/proc"),
    ],
)
def test_what_cannot_be_is_refused_where_it_stands(text: str, path: str, words: str) -> None:
    found = told(text)
    assert words in found[path], found
    assert list(found) == [path]


@pytest.mark.parametrize(
    ("second", "place"),
    [
        ("{name: a-b, share: abc, path: /mnt/b}", "mounts[1].name"),
        ("{name: b, share: abc, path: /mnt/a}", "mounts[1].path"),
        ("{name: b, share: abc, path: /mnt/a/b}", "mounts[1].path"),
        ("{name: b, share: abc, path: /mnt}", "mounts[1].path"),
    ],
)
def test_two_mounts_stand_in_nothing_of_each_other(second: str, place: str) -> None:
    first = "{name: a-b, share: abc, path: /mnt/a}"
    assert list(told(f"mounts: [{first}, {second}]")) == [place]
    assert read(f"mounts: [{first}, {{name: b, share: abc, path: /mnt/ab}}]").cluster is not None


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("location: westeurope", "location", "no effect"),
        ("identity: {type: system_assigned}", "identity", "no effect"),
        ("network_settings: {vnet_name: a}", "network_settings", "no effect"),
        ("ssh_settings: {admin_username: a}", "ssh_settings", "no effect"),
        ("ssh_public_access_enabled: false", "ssh_public_access_enabled", "no effect"),
        ("enable_node_public_ip: true", "enable_node_public_ip", "no effect"),
        ("{image: ubuntu, serves: ['docker.io/ubuntu:latest']}", "serves[0]", "under `image` already"),
        ("{gpus_per_node: 4, slots_per_node: 2}", "slots_per_node", "2 of them stay idle"),
        ("{gpus_per_node: 1, slots_per_node: 2}", "slots_per_node", "others then share"),
        ("limits: {memory: 4Gi}", "limits.memory", "bounds nothing"),
        ("{slots_per_node: 4, limits: {memory: 1Gi}}", "limits.memory", "at most 512Mi"),
        ("shm_size: 3Gi", "shm_size", "from which it is taken"),
        ("{warm_start: false, preload: [torch]}", "preload", "warm_start is false"),
        (
            "{gpus_per_node: 1, slots_per_node: 4, gpu_memory_fraction: 0.5}",
            "gpu_memory_fraction",
            "times 4 slots on one GPU is more than all of its memory. Write at most 0.25",
        ),
        ("{min_instances: 1, monthly_node_hours: 9.5}", "min_instances", "beyond monthly_node_hours (9.5)"),
    ],
)
def test_what_has_no_effect_or_may_surprise_is_a_warning(text: str, path: str, words: str) -> None:
    found = told(text, Severity.WARNING)
    assert words in found[path]
    assert list(found) == [path]


@pytest.mark.parametrize(
    "text", ["min_instances: 1", "monthly_node_hours: 9", "{min_instances: 0, monthly_node_hours: 9}"]
)
def test_nodes_that_stay_or_a_cap_alone_surprise_nobody(text: str) -> None:
    assert told(text, Severity.WARNING) == {}


@pytest.mark.parametrize(
    "file_name", ["GPU.yaml", "gpu-high.yaml", "a-low.yml", "x-poison.json", ".yaml", "a--b.yaml", ""]
)
def test_a_file_whose_name_is_no_cluster_s_is_refused(file_name: str) -> None:
    (problem,) = read(b"", file_name).problems
    assert "a cluster is 1 to 40" in problem.rule
    assert problem.remedy == "Rename the file"


@pytest.mark.parametrize("text", ["# nothing\n", "- 1", "limits: {", "a: 1\n---\nb: 2", b"\xff\xfe"])
def test_what_is_wrong_with_the_yaml_is_told_in_words_of_clusters(text: str | bytes) -> None:
    (problem,) = told(text).values()
    assert "job file" not in problem
    assert "type: sweep" not in problem


KEYS = st.sampled_from([*keys_of(ClusterFile), *keys_of(TrialLimits), *keys_of(MountShape), "x"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["1Gi", "/mnt/a"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_whatever_a_file_holds_there_is_a_cluster_or_a_reason(data: dict[str, Any]) -> None:
    reading = read_cluster(json.dumps(data).encode(), file_name="w.yaml")
    errors = [problem for problem in reading.problems if problem.severity is Severity.ERROR]
    assert (reading.cluster is None) == bool(errors)


def test_the_published_schema_is_the_one_the_models_give() -> None:
    published = (DOCS / "schema/cluster.schema.json").read_text(encoding="utf-8")
    remedy = "run: python -m dropsweep.spec.schema docs/schema"
    assert published == to_text(schemas()["cluster.schema.json"]), remedy


def table(heading: str) -> list[str]:
    """The keys in the first column of the table under a heading of the page."""
    found = re.search(rf"^#+ {heading}\n(.*?)(?=^#|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found
    rows = [line.split("|")[1] for line in found[1].splitlines() if line.startswith("| `")]
    return [key for row in rows for key in re.findall(r"`([^`]+)`", row)]


@pytest.mark.parametrize(
    ("heading", "model"), [("The file", ClusterFile), ("Limits of a trial", TrialLimits), ("Mounts", MountShape)]
)
def test_the_page_names_every_key_and_no_other(heading: str, model: Any) -> None:
    assert sorted(table(heading)) == sorted(keys_of(model))


def test_mounts_keep_off_the_folder_in_which_the_image_works() -> None:
    dockerfile = (ROOT / "trainer_image/Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^WORKDIR (\S+)$", dockerfile, re.MULTILINE)[-1] == WORK_FOLDER
