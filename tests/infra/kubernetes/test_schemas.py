"""The chart's objects are what Kubernetes and KEDA take, and what they would not take is caught."""

import copy
import re
from collections.abc import Mapping
from typing import Any

import kubernetes_validate
import pytest

from tests.infra.kubernetes.chart import CHART, CLUSTERS, FULL, PLAIN, documents, lint, needs_helm, of_kind, scaled_job
from tests.infra.kubernetes.keda import schema_errors, unknown_keys

pytestmark = needs_helm

KEDA_KINDS = ("ScaledJob", "TriggerAuthentication")
VERSIONS = ("1.29.0", kubernetes_validate.latest_version())
EVERYTHING: Mapping[str, Any] = {
    "fileShares": {"account": "filestore", "resourceGroup": "shared"},
    "identity": {
        "clientId": "11111111-2222-3333-4444-555555555555",
        "tenantId": "1" * 8 + "-2222-3333-4444-" + "5" * 12,
    },
    "scaler": {"clientId": "99999999-2222-3333-4444-555555555555"},
    "imagePullSecrets": ["pull"],
    "priorityClassName": "batch",
    "nodeSelector": {"pool": "training"},
    "tolerations": [{"key": "team", "operator": "Equal", "value": "vision", "effect": "NoExecute"}],
    "settings": {"DROPSWEEP_HEARTBEAT_S": 5},
}
VARIANTS: tuple[Mapping[str, Any], ...] = (
    {},
    EVERYTHING,
    {"isolateTrials": False, "networkPolicy": {"enabled": False}},
)


def job_of(scaled: Mapping[str, Any]) -> dict[str, Any]:
    """The job that KEDA makes of a scaled job; its own fields are those of the template."""
    name = scaled["metadata"]["name"]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": f"{name}-", "labels": scaled["metadata"]["labels"]},
        "spec": scaled["spec"]["jobTargetRef"],
    }


def check(document: Mapping[str, Any], version: str) -> None:
    kubernetes_validate.validate(dict(document), version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("values", VARIANTS, ids=["least", "everything", "restricted"])
def test_kubernetes_oldest_and_newest_version_takes_every_object(values: Mapping[str, Any], version: str) -> None:
    made = documents(CLUSTERS, **values)
    plain = [document for document in made if document["kind"] not in KEDA_KINDS]
    jobs = [job_of(document) for document in made if document["kind"] == "ScaledJob"]
    assert len(jobs) == len(CLUSTERS)
    for document in (*plain, *jobs):
        check(document, version)


def test_the_oldest_version_that_is_checked_is_the_one_that_the_chart_states() -> None:
    stated = re.findall(r'^kubeVersion: ">=([\d.]+)-0"$', (CHART / "Chart.yaml").read_text(), re.MULTILINE)
    assert stated == [VERSIONS[0]]


@pytest.mark.parametrize("values", VARIANTS, ids=["least", "everything", "restricted"])
def test_keda_takes_its_objects_and_knows_every_key(values: Mapping[str, Any]) -> None:
    objects = [each for each in documents(CLUSTERS, **values) if each["kind"] in KEDA_KINDS]
    assert {each["kind"] for each in objects} == set(KEDA_KINDS)
    assert schema_errors(objects) == [""] * len(objects)
    assert [unknown_keys(each) for each in objects] == [[]] * len(objects)


# Where in a scaled job, what is put there instead, and what says so. Removed where it is None.
PLANTED_IN_KEDA: list[tuple[str, Any, str]] = [
    ("spec.pollingInterval", "10", "schema"),
    ("spec.triggers", None, "schema"),
    ("spec.triggers.0.type", None, "schema"),
    ("spec.triggers.0.metadata.queueLength", 1, "schema"),
    ("spec.jobTargetRef", None, "schema"),
    ("spec.jobTargetRef.template.spec.containers.0.name", None, "schema"),
    ("spec.maxReplicas", 3, "keys"),
    ("spec.triggers.1.authenticationReference", {"name": "x"}, "keys"),
    ("spec.jobTargetRef.template.spec.terminationGracePeriod", 30, "keys"),
    ("spec.jobTargetRef.template.spec.containers.0.securityContext.capability", {}, "keys"),
    ("spec.jobTargetRef.template.spec.volumes.0.emptyDir.size", "1Gi", "keys"),
]


def planted(document: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of an object with one value set, or removed when it is None."""
    whole = copy.deepcopy(dict(document))
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place: Any = whole
    for part in parents:
        place = place[part]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return whole


@pytest.mark.parametrize(("path", "value", "by"), PLANTED_IN_KEDA)
def test_an_error_planted_in_a_scaled_job_is_caught(path: str, value: Any, by: str) -> None:
    wrong = planted(scaled_job(FULL), path, value)
    assert (schema_errors([wrong]) != [""], unknown_keys(wrong) != []) == (by == "schema", by == "keys")


PLANTED_IN_KUBERNETES: list[tuple[str, str, Any]] = [
    ("NetworkPolicy", "spec.egress.1.to.0.ipBlock.cidr", None),
    ("NetworkPolicy", "spec.egres", []),
    ("ServiceAccount", "automountServiceAccountToken", "no"),
    ("Job", "spec.template.spec.containers.0.resources.limit", {}),
    ("Job", "spec.template.spec.containers.0.env.0.valeu", "x"),
    ("Job", "spec.template.spec.containers.0.volumeMounts.0.mountPath", None),
    ("Job", "spec.template.spec.terminationGracePeriodSeconds", "50"),
    ("Job", "spec.template.spec.volumes.0.emptyDir.medum", "Memory"),
    ("Job", "spec.backofflimit", 0),
    ("PersistentVolume", "spec.csi.driver", None),
    ("PersistentVolumeClaim", "spec.accessMode", "ReadWriteMany"),
]


@pytest.mark.parametrize(("kind", "path", "value"), PLANTED_IN_KUBERNETES)
def test_an_error_planted_in_one_of_kubernetes_objects_is_caught(kind: str, path: str, value: Any) -> None:
    whole = job_of(scaled_job(FULL)) if kind == "Job" else of_kind(kind, CLUSTERS, **EVERYTHING)[0]
    check(whole, VERSIONS[-1])
    with pytest.raises(kubernetes_validate.ValidationError):
        check(planted(whole, path, value), VERSIONS[-1])


# Source: https://keda.sh/docs/latest/scalers/azure-storage-queue/ and the scaler's own table of parameters.
QUEUE_KEYS = {
    *("queueName", "queueLength", "activationQueueLength", "queueLengthStrategy", "accountName"),
    *("connection", "connectionFromEnv", "cloud", "endpointSuffix"),
}
STRATEGIES = {"scalingStrategy": {"default", "custom", "accurate", "eager"}, "rollout": {"gradual", "immediate"}}


def test_the_words_that_keda_s_schemas_do_not_check_are_words_of_keda() -> None:
    for scaled in of_kind("ScaledJob"):
        for trigger in scaled["spec"]["triggers"]:
            assert set(trigger["metadata"]) <= QUEUE_KEYS
            assert trigger["metadata"]["queueLengthStrategy"] in ("all", "visibleonly")
        for key, allowed in STRATEGIES.items():
            assert scaled["spec"][key]["strategy"] in allowed
        assert scaled["spec"]["scalingStrategy"]["multipleScalersCalculation"] in ("min", "avg", "sum", "max")


@pytest.mark.parametrize("values", VARIANTS, ids=["least", "everything", "restricted"])
def test_helm_s_linter_finds_nothing_but_the_lack_of_an_icon(values: Mapping[str, Any]) -> None:
    told = lint((PLAIN, FULL), **values)
    assert told["errors"] == []
    assert [each["error"] for each in told["messages"]] == ["icon is recommended"]
