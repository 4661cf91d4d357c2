"""The chart's trainers are what the code expects: queues, settings, arguments, user, folders and times."""

import dataclasses
import json
import re
from typing import Any

import pytest
import yaml

from dropsweep.clusters import Cluster, Tier, parse_clusters
from dropsweep.names import trials_queues
from dropsweep.settings import Settings
from dropsweep.version import __version__
from dropsweep_trainer.worker.serve import _parser
from tests.infra.kubernetes.chart import (
    CHART,
    CLIENT_ID,
    CLUSTERS,
    FULL,
    GIB,
    NAMESPACE,
    PLAIN,
    RELEASE,
    ROOT,
    VALUES,
    documents,
    environment,
    needs_helm,
    of_kind,
    pod,
    refusal,
    scaled_job,
    trainer,
)

pytestmark = needs_helm

DOCKERFILE = (ROOT / "trainer_image/Dockerfile").read_text(encoding="utf-8")
EACH = pytest.mark.parametrize("cluster", CLUSTERS, ids=lambda cluster: cluster.name)


def in_image(instruction: str) -> str:
    """The argument of the last such instruction of the trainer's Dockerfile."""
    return str(re.findall(rf"^{instruction} (.*)$", DOCKERFILE, re.MULTILINE)[-1])


@EACH
def test_the_queues_are_those_of_the_code_in_its_order(cluster: Cluster) -> None:
    triggers = scaled_job(cluster)["spec"]["triggers"]
    assert tuple(each["metadata"]["queueName"] for each in triggers) == trials_queues(cluster.name)
    assert {each["metadata"]["accountName"] for each in triggers} == {VALUES["storage"]["account"]}


@pytest.mark.parametrize(
    ("cluster", "num_slots"),
    [(Cluster("a"), 1), (Cluster("b", gpus_per_node=4), 4), (Cluster("c", gpus_per_node=4, slots_per_node=2), 2)],
)
def test_a_node_is_started_for_as_many_messages_as_it_has_slots(cluster: Cluster, num_slots: int) -> None:
    (job,) = of_kind("ScaledJob", [cluster])
    assert {each["metadata"]["queueLength"] for each in job["spec"]["triggers"]} == {str(num_slots)}


@EACH
def test_the_scaler_counts_what_is_visible_and_starts_as_many_as_the_cluster_s_file_says(cluster: Cluster) -> None:
    spec = scaled_job(cluster)["spec"]
    assert {each["metadata"]["queueLengthStrategy"] for each in spec["triggers"]} == {"visibleonly"}
    assert spec["scalingStrategy"] == {"strategy": "accurate", "multipleScalersCalculation": "max"}
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (cluster.min_instances, cluster.max_instances)
    assert spec["rollout"] == {"strategy": "gradual"}
    job = spec["jobTargetRef"]
    assert (job["parallelism"], job["completions"], job["backoffLimit"]) == (1, 1, 0)
    assert "activeDeadlineSeconds" not in job
    assert job["template"]["spec"]["restartPolicy"] == "Never"


@EACH
def test_the_scaler_looks_as_an_identity_without_a_key(cluster: Cluster) -> None:
    (authentication,) = of_kind("TriggerAuthentication")
    assert authentication["spec"]["podIdentity"]["provider"] == "azure-workload"
    for trigger in scaled_job(cluster)["spec"]["triggers"]:
        assert trigger["authenticationRef"] == {"name": authentication["metadata"]["name"]}
        assert set(trigger["metadata"]).isdisjoint({"connection", "connectionFromEnv"})


@EACH
def test_the_trainer_s_environment_is_read_as_the_settings_that_were_meant(cluster: Cluster) -> None:
    settings = Settings.from_env(environment(cluster, graceSeconds=45, settings={"DROPSWEEP_HEARTBEAT_S": 5}))
    assert settings.clusters == CLUSTERS
    assert (settings.grace_s, settings.heartbeat_s) == (45, 5)
    assert settings.storage.blob_uri == "https://sweepstore.blob.core.windows.net/"
    assert settings.storage.queue_uri == "https://sweepstore.queue.core.windows.net/"
    assert settings.storage.client_id == CLIENT_ID
    assert not settings.storage.connection_string


def test_a_setup_command_with_dollars_reaches_the_trainer_as_it_is() -> None:
    assert "$" in FULL.setup_command
    (told,) = [each for each in parse_clusters(environment(FULL)["DROPSWEEP_CLUSTERS"]) if each.name == FULL.name]
    assert told.setup_command == FULL.setup_command


def test_the_settings_that_may_be_given_are_all_that_are_left() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    told = set(schema["properties"]["settings"]["properties"])
    left = {field.name for field in dataclasses.fields(Settings)} - {"storage", "clusters", "grace_s"}
    assert told == {f"DROPSWEEP_{name.upper()}" for name in left}


@pytest.mark.parametrize(
    ("cloud", "suffix"),
    [("AzureUSGovernmentCloud", "core.usgovcloudapi.net"), ("AzureChinaCloud", "core.chinacloudapi.cn")],
)
def test_the_account_is_where_its_cloud_has_it(cloud: str, suffix: str) -> None:
    storage = {"account": "sweepstore", "cloud": cloud}
    told = environment(PLAIN, storage=storage)
    assert told["DROPSWEEP_STORAGE__blobServiceUri"] == f"https://sweepstore.blob.{suffix}/"
    assert scaled_job(PLAIN, storage=storage)["spec"]["triggers"][0]["metadata"]["cloud"] == cloud


@EACH
def test_the_trainer_s_parser_takes_the_arguments(cluster: Cluster) -> None:
    options = _parser().parse_args(trainer(cluster)["args"])
    assert options.cluster == cluster.name
    assert options.scaled is True
    assert options.work_size == 20 * 2**30, "the default of workSize"


def test_a_cluster_runs_its_own_image_or_the_deployment_s() -> None:
    assert trainer(PLAIN)["image"] == VALUES["image"]
    assert trainer(FULL)["image"] == FULL.image
    for cluster in CLUSTERS:
        (init,) = pod(cluster)["spec"]["initContainers"]
        assert init["image"] == trainer(cluster)["image"]


@EACH
def test_the_user_and_the_work_folder_are_the_image_s(cluster: Cluster) -> None:
    spec = pod(cluster)["spec"]
    user, _, group = in_image("USER").partition(":")
    context = spec["securityContext"]
    assert context["runAsNonRoot"] is True
    assert (context["runAsUser"], context["runAsGroup"]) == (int(user), int(group))
    assert "fsGroup" not in context  # it would open the token file to the trials' group
    entry = json.loads(in_image("ENTRYPOINT"))
    mounts = {each["name"]: each for each in trainer(cluster)["volumeMounts"]}
    assert mounts["work"]["mountPath"] == in_image("WORKDIR") == entry[entry.index("--work") + 1]


@EACH
def test_the_worker_owns_its_work_folder_and_nothing_else_can_be_written(cluster: Cluster) -> None:
    (init,) = pod(cluster)["spec"]["initContainers"]
    (volume,) = init["volumeMounts"]
    folder = next(each["subPath"] for each in trainer(cluster)["volumeMounts"] if each["name"] == volume["name"])
    assert init["command"] == ["install", "--directory", "--mode=0711", f"{volume['mountPath']}/{folder}"]
    for container in (init, trainer(cluster)):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
    writable = {each["mountPath"] for each in trainer(cluster)["volumeMounts"] if not each.get("readOnly")}
    own = {mount.path for mount in cluster.mounts if not mount.read_only}
    assert writable - own - {"/dev/shm"} == {in_image("WORKDIR")}


@pytest.mark.parametrize("grace_s", [1, 20, 600])
def test_a_pod_has_half_a_minute_beyond_the_trial_s_grace(grace_s: int) -> None:
    assert pod(PLAIN, graceSeconds=grace_s)["spec"]["terminationGracePeriodSeconds"] == grace_s + 30
    assert Settings.from_env(environment(PLAIN, graceSeconds=grace_s)).grace_s == grace_s


def test_the_grace_is_the_settings_default() -> None:
    assert yaml.safe_load((CHART / "values.yaml").read_text())["graceSeconds"] == Settings.grace_s


@EACH
def test_a_pod_asks_for_the_node_that_its_cluster_s_file_describes(cluster: Cluster) -> None:
    resources = trainer(cluster)["resources"]
    assert resources["requests"] == resources["limits"]
    told = parse_clusters(environment(cluster)["DROPSWEEP_CLUSTERS"])
    meant = next(each for each in told if each.name == cluster.name)
    assert float(resources["limits"]["cpu"]) == meant.cpus_per_node
    assert resources["limits"]["memory"] == meant.to_dict()["memory_per_node"]
    assert resources["limits"].get("nvidia.com/gpu", 0) == meant.gpus_per_node


def test_low_priority_means_spot_nodes_and_no_others() -> None:
    spot = "kubernetes.azure.com/scalesetpriority"
    taint = {"key": spot, "operator": "Equal", "value": "spot", "effect": "NoSchedule"}
    assert FULL.tier is Tier.LOW_PRIORITY
    assert pod(FULL)["spec"]["nodeSelector"][spot] == "spot"
    assert taint in pod(FULL)["spec"]["tolerations"]
    assert "nodeSelector" not in pod(PLAIN)["spec"]
    assert "tolerations" not in pod(PLAIN)["spec"]


def test_the_size_and_the_gpus_choose_the_node() -> None:
    assert pod(FULL)["spec"]["nodeSelector"]["node.kubernetes.io/instance-type"] == FULL.size
    assert "nvidia.com/gpu" in {each["key"] for each in pod(FULL)["spec"]["tolerations"]}


def test_conditions_of_the_values_are_added_to_those_of_the_cluster() -> None:
    values: dict[str, Any] = {"nodeSelector": {"pool": "x"}, "tolerations": [{"key": "team", "operator": "Exists"}]}
    assert pod(PLAIN, **values)["spec"]["nodeSelector"] == {"pool": "x"}
    assert set(pod(FULL, **values)["spec"]["nodeSelector"]) == {"pool", *pod(FULL)["spec"]["nodeSelector"]}
    assert pod(FULL, **values)["spec"]["tolerations"] == [*values["tolerations"], *pod(FULL)["spec"]["tolerations"]]


def test_shared_memory_is_as_large_as_the_cluster_s_file_says() -> None:
    volumes = {each["name"]: each for each in pod(FULL)["spec"]["volumes"]}
    assert volumes["shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": f"{16 * GIB // GIB}Gi"}
    assert {"name": "shm", "mountPath": "/dev/shm"} in trainer(FULL)["volumeMounts"]
    assert "shm" not in {each["name"] for each in pod(PLAIN)["spec"]["volumes"]}


def test_mounts_lie_where_the_cluster_s_file_says_and_are_as_writable() -> None:
    claims = {each["name"]: each["persistentVolumeClaim"] for each in pod(FULL)["spec"]["volumes"][2:]}
    mounted = [each for each in trainer(FULL)["volumeMounts"] if each["name"] in claims]
    told = [(claims[each["name"]]["claimName"], each["mountPath"], each["readOnly"]) for each in mounted]
    assert told == [(mount.share, mount.path, mount.read_only) for mount in FULL.mounts]
    assert all(claims[each["name"]]["readOnly"] == each["readOnly"] for each in mounted)


def test_a_volume_and_a_claim_are_made_for_each_share_once() -> None:
    files = {"account": "filestore", "resourceGroup": "shared", "size": "1Ti"}
    twice = (FULL, Cluster("other", mounts=FULL.mounts[:1]))
    assert of_kind("PersistentVolume") == of_kind("PersistentVolumeClaim") == []
    claims = of_kind("PersistentVolumeClaim", twice, fileShares=files)
    volumes = {each["metadata"]["name"]: each["spec"] for each in of_kind("PersistentVolume", twice, fileShares=files)}
    assert [each["metadata"]["name"] for each in claims] == sorted(mount.share for mount in FULL.mounts)
    for claim in claims:
        volume = volumes.pop(claim["spec"]["volumeName"])
        assert volume["claimRef"] == {"name": claim["metadata"]["name"], "namespace": NAMESPACE}
        assert volume["csi"]["volumeAttributes"] == {
            "resourceGroup": "shared",
            "storageAccount": "filestore",
            "shareName": claim["metadata"]["name"],
            "protocol": "nfs",
        }
        assert "#" not in volume["csi"]["volumeHandle"]  # the driver takes such a name apart
    assert volumes == {}


def test_only_the_clusters_that_are_named_run_here_and_all_are_known() -> None:
    jobs = of_kind("ScaledJob", only=["gpu"])
    assert [each["metadata"]["name"] for each in jobs] == [f"{RELEASE}-gpu"]
    assert parse_clusters(environment(FULL, only=["gpu"])["DROPSWEEP_CLUSTERS"]) == CLUSTERS


def test_the_repository_s_own_list_of_clusters_can_be_installed() -> None:
    text = (ROOT / "infra/clusters.json").read_text(encoding="utf-8")
    clusters = parse_clusters(text)
    jobs = of_kind("ScaledJob", text)
    assert [each["metadata"]["name"] for each in jobs] == [f"{RELEASE}-{cluster.name}" for cluster in clusters]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"clusters": ""}, "clusters is empty: give what `dropsweep cluster bundle` prints"),
        ({"clusters": "[]"}, "clusters is an empty list"),
        ({"clusters": "cpu,gpu"}, "clusters is no list of clusters"),
        ({"image": ""}, "cluster cpu has no image"),
        ({"storage": {}}, "storage.account is empty"),
        ({"identity": {}}, "identity.clientId is empty"),
        ({"only": ["tpu"]}, 'only names "tpu": it is none of the clusters (cpu, gpu)'),
        ({"storage": {"account": "Sweep-Store"}}, "/storage/account"),
        ({"storage": {"account": "sweepstore", "cloud": "Azure"}}, "/storage/cloud"),
        ({"identity": {"clientId": "me"}}, "/identity/clientId"),
        ({"graceSecond": 3}, "graceSecond"),
        ({"graceSeconds": 2.5}, "/graceSeconds"),
        ({"settings": {"DROPSWEEP_GRACE_S": 5}}, "'DROPSWEEP_GRACE_S' not allowed"),
        ({"settings": {"DROPSWEEP_HEARTBEAT_S": "fast"}}, "/settings/DROPSWEEP_HEARTBEAT_S"),
        ({"workSize": "20 GB"}, "/workSize"),
        ({"networkPolicy": {"denied": ["metadata"]}}, "/networkPolicy/denied/0"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_wrong_values_are_refused_with_what_to_do(values: dict[str, Any], told: str) -> None:
    clusters = values.pop("clusters", CLUSTERS)
    assert told in refusal(clusters, **values)


def test_names_that_kubernetes_would_cut_short_are_refused() -> None:
    longest = 57 - len(RELEASE) - 1
    assert len(of_kind("ScaledJob", [Cluster("c" * 40)])) == 1
    assert longest >= 40, "the longest name of a cluster must fit beside a release's"
    assert "is too long" in refusal([Cluster("c" * (longest + 1))])


def test_the_chart_s_version_is_the_distribution_s() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__


def test_the_schema_of_the_values_knows_each_value_and_no_other() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert set(schema["properties"]) - {"global"} == set(values)
    for name, value in values.items():
        if isinstance(value, dict) and value:
            assert set(schema["properties"][name]["properties"]) == set(value)


def test_every_object_carries_the_release_s_name() -> None:
    for document in documents(fileShares={"account": "filestore"}):
        assert document["metadata"]["labels"]["app.kubernetes.io/instance"] == RELEASE
