"""What stands between a trial and the node, by the standards that Kubernetes has names for."""

import ipaddress
from typing import Any

import pytest

from dropsweep.clusters import Cluster
from tests.infra.kubernetes.chart import (
    CLIENT_ID,
    CLUSTERS,
    RELEASE,
    documents,
    environment,
    needs_helm,
    of_kind,
    pod,
    trainer,
)

pytestmark = needs_helm

EACH = pytest.mark.parametrize("cluster", CLUSTERS, ids=lambda cluster: cluster.name)
ISOLATED = pytest.mark.parametrize("isolated", [True, False], ids=["isolated", "restricted"])

# Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/
BASELINE_CAPABILITIES = {
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE"),
    *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
}
RESTRICTED_VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"),
}


def containers(cluster: Cluster, isolated: bool) -> list[dict[str, Any]]:
    spec = pod(cluster, isolateTrials=isolated)["spec"]
    return [*spec["initContainers"], *spec["containers"]]


@EACH
@ISOLATED
def test_a_pod_keeps_to_the_level_baseline(cluster: Cluster, isolated: bool) -> None:
    spec = pod(cluster, isolateTrials=isolated)["spec"]
    assert {"hostNetwork", "hostPID", "hostIPC"}.isdisjoint(spec)
    for container in containers(cluster, isolated):
        assert set(container["securityContext"]["capabilities"].get("add", [])) <= BASELINE_CAPABILITIES
        assert "privileged" not in container["securityContext"]
        assert all("hostPort" not in port for port in container.get("ports", []))


@EACH
def test_without_isolation_a_pod_keeps_to_the_level_restricted(cluster: Cluster) -> None:
    spec = pod(cluster, isolateTrials=False)["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for volume in spec["volumes"]:
        assert set(volume) - {"name"} <= RESTRICTED_VOLUMES
    for container in containers(cluster, False):
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@EACH
def test_with_isolation_the_worker_can_switch_users_and_nothing_more(cluster: Cluster) -> None:
    context = trainer(cluster, isolateTrials=True)["securityContext"]
    assert context["capabilities"] == {"drop": ["ALL"], "add": ["CHOWN", "KILL", "SETGID", "SETUID"]}
    assert context["allowPrivilegeEscalation"] is True  # else file capabilities are void
    (init,) = pod(cluster)["spec"]["initContainers"]
    assert init["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@EACH
def test_trials_users_are_none_that_the_container_has_otherwise(cluster: Cluster) -> None:
    base = int(environment(cluster)["DROPSWEEP_TRIAL_UID"])
    own = pod(cluster)["spec"]["securityContext"]["runAsUser"]
    num_slots = cluster.slots_per_node or max(1, cluster.gpus_per_node)
    assert own not in range(base, base + num_slots)
    assert base >= 1000
    assert environment(cluster, isolateTrials=False)["DROPSWEEP_TRIAL_UID"] == ""  # the image has one


@EACH
@ISOLATED
def test_no_token_of_the_api_server_is_mounted_and_the_identity_s_is(cluster: Cluster, isolated: bool) -> None:
    (account,) = of_kind("ServiceAccount", isolateTrials=isolated)
    template = pod(cluster, isolateTrials=isolated)
    assert account["automountServiceAccountToken"] is template["spec"]["automountServiceAccountToken"] is False
    assert template["spec"]["serviceAccountName"] == account["metadata"]["name"] == f"{RELEASE}-trainer"
    assert account["metadata"]["annotations"]["azure.workload.identity/client-id"] == CLIENT_ID
    assert template["metadata"]["labels"]["azure.workload.identity/use"] == "true"


def test_the_metadata_service_is_denied_to_every_trainer_and_the_rest_is_not() -> None:
    (policy,) = of_kind("NetworkPolicy")
    assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    assert "ingress" not in policy["spec"]
    for cluster in CLUSTERS:
        labels = pod(cluster)["metadata"]["labels"]
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    blocks = [to["ipBlock"] for rule in policy["spec"]["egress"] for to in rule["to"] if "ipBlock" in to]

    def is_allowed(address: str) -> bool:
        where = ipaddress.ip_address(address)
        return any(
            where in ipaddress.ip_network(block["cidr"])
            and not any(where in ipaddress.ip_network(each) for each in block.get("except", []))
            for block in blocks
        )

    assert not is_allowed("169.254.169.254")
    assert not is_allowed("168.63.129.16")
    assert all(map(is_allowed, ("20.60.1.1", "10.0.0.5", "169.254.20.10", "2603:1030::1")))


def test_names_can_be_looked_up() -> None:
    (policy,) = of_kind("NetworkPolicy")
    ports = {(each["protocol"], each["port"]) for rule in policy["spec"]["egress"] for each in rule.get("ports", [])}
    assert ports == {("UDP", 53), ("TCP", 53)}


def test_no_object_holds_a_key_or_a_password() -> None:
    kinds = {document["kind"] for document in documents(fileShares={"account": "filestore"})}
    assert "Secret" not in kinds
    for cluster in CLUSTERS:
        assert all("AccountKey" not in value for value in environment(cluster).values())
        assert "valueFrom" not in str(trainer(cluster)["env"])
