"""The checks of the templates see what is wrong: each error here is planted, and must be found."""

from pathlib import Path

import pytest

from tests.infra.arm import is_known, problems_of
from tests.infra.bicep import content_of
from tests.infra.deployments import EVERYTHING, INFRA, STAGES, deploy
from tests.infra.syntax import BicepError

PLANTED = [
    ("trainer", "replicaTimeout:", "replicaTimeOut:", "replicaTimeOut is no property"),
    ("trainer", "replicaTimeout: timeoutS", "", "properties.configuration.replicaTimeout is required and missing"),
    ("trainer", "triggerType: 'Event'", "triggerType: 'Events'", "'Events', not one of"),
    ("trainer", "replicaRetryLimit: 0", "replicaRetryLimit: '0'", "replicaRetryLimit is '0', not whole"),
    ("trainer", "storageType: 'NfsAzureFile'", "storageType: 'Nfs'", "'Nfs', not one of"),
    ("trainer", "metadata: {", "metaData: {", "metaData is no property"),
    ("trainer", "type: 'UserAssigned'", "type: 'User'", "identity.type is 'User', not one of"),
    ("trainer", "resources: {", "resources: [", "stands where a new line is expected"),
    ("trainer", "location: location", "", "location is required and missing"),
    ("trainer", "name: jobName", "", "name"),
    ("trainer", "properties.clientId", "properties.clientID", "looks at"),
    ("trainer", "Microsoft.App/jobs@2026-07-01", "Microsoft.App/job@2026-07-01", "is no type of resource"),
    ("trainer", "Microsoft.App/jobs@2026-07-01", "Microsoft.App/jobs@2021-01-01", "checked against version"),
    ("trainer", "cluster.max_instances", "cluster.max_nodes", "there is no max_nodes"),
    ("trainer", "mountPath: mount.path", "mountPath: mount", "mountPath is"),
    ("environment", "workloadProfileType: 'Consumption'", "", "workloadProfileType is required and missing"),
    ("environment", "accessMode: mount.mode", "accessMode: 'Both'", "'Both', not one of"),
    ("environment", "destination: 'azure-monitor'", "destination: 1", "destination is 1, not text"),
    ("environment", "enabled: true", "", "logs[0].enabled is required and missing"),
    ("storage", "allowSharedKeyAccess: false", "allowSharedKeys: false", "allowSharedKeys is no property"),
    ("storage", "allowSharedKeyAccess: false", "allowSharedKeyAccess: 'no'", "'no', not truth"),
    ("storage", "minimumTlsVersion: 'TLS1_2'", "minimumTlsVersion: '1.2'", "'1.2', not one of"),
    ("storage", "kind: 'StorageV2'", "kind: 'V2'", "kind is 'V2', not one of"),
    ("storage", "kind: 'StorageV2'", "", "kind is required and missing"),
    ("storage", "days: softDeleteDays", "days: '7'", "days is '7', not whole"),
    ("storage", "delete: {", "remove: {", "remove is no property"),
    ("storage", "primaryEndpoints.blob", "primaryEndpoints.blobs", "looks at"),
    ("functions", "instanceMemoryMB: memoryMiB", "instanceMemory: memoryMiB", "instanceMemory is no property"),
    ("functions", "type: 'blobContainer'", "type: 'container'", "'container', not one of"),
    ("functions", "name: 'python'", "name: 'snake'", "'snake', not one of"),
    ("functions", "httpsOnly: true", "httpsOnly: 1", "httpsOnly is 1, not truth"),
    ("subscription", "endpointType: 'WebHook'", "endpointType: 'Hook'", "'Hook', not one of"),
    ("subscription", "endpointUrl:", "endpointUri:", "endpointUri is no property"),
    ("subscription", "eventDeliverySchema: 'EventGridSchema'", "eventDeliverySchema: 'Grid'", "'Grid', not one of"),
    ("topic", "source: storageId", "sources: storageId", "sources is no property"),
    ("network", "serviceName:", "service:", "service is no property"),
    ("files", "enabledProtocols: 'NFS'", "enabledProtocols: 'NFSv4'", "'NFSv4', not one of"),
    ("files", "defaultAction: 'Deny'", "", "defaultAction is required and missing"),
    ("registry", "name: 'Basic'", "name: 'Small'", "'Small', not one of"),
    ("registry", "adminUserEnabled: false", "loginServer: 'here'", "loginServer is read-only"),
    ("monitoring", "kind: 'web'", "", "kind is required and missing"),
    ("monitoring", "Application_Type: 'web'", "ApplicationType: 'web'", "ApplicationType is no property"),
    ("roles", "principalId: functionsPrincipalId", "", "principalId is required and missing"),
    ("roles", "principalType: 'ServicePrincipal'", "principalType: 'Identity'", "'Identity', not one of"),
    ("budget", "amount: amount", "", "amount is required and missing"),
    ("budget", "timeGrain: 'Monthly'", "timeGrain: 'Month'", "'Month', not one of"),
    ("budget", "threshold: 50", "threshold: 'half'", "threshold is 'half', not number"),
    ("identities", "location: location", "", "location is required and missing"),
    ("group", "tags: tags", "tags: 'none'", "tags is 'none', not a map"),
    ("../main", "logDays: logDays", "", "the parameter logDays is required and not given"),
    ("../main", "logDays: logDays", "logDays: logDays\n    more: 1", "has no parameter more"),
    ("../main", "outputs.workspaceId", "outputs.workspace", "there is no workspace"),
    ("../main", "param logDays int = 30", "param logDays int = 7", "against its minValue 30"),
    ("../main", "= 'Standard_LRS'", "= 'Premium_LRS'", "against its allowed"),
    ("../main", "modules/topic.bicep", "modules/topics.bicep", "topics.bicep"),
    ("../main", "var groupName", "var nameOfGroup", "groupName is declared nowhere"),
    ("../trainers", "tags: {", "tags: {\n      'azd-env-name': 'x'", "stands there twice"),
    ("../trainers", "cluster in clusters: {\n", "cluster in trainers: {\n", "declared nowhere, or needs itself"),
]


def found_in(content: object) -> list[str]:
    found: list[str] = []
    for stage in STAGES:
        made = deploy(stage, EVERYTHING, content)  # type: ignore[arg-type]
        found += [told for resource in made.resources for told in problems_of(resource)]
        found += [f"looks at {look}" for look in made.looks if not is_known(*look)]
    return found


def file_of(module: str) -> Path:
    return (INFRA / "modules" / f"{module}.bicep").resolve()


def test_every_error_has_a_place_to_be_planted_in() -> None:
    """A template that changed here is not wrong: the list of errors is old."""
    assert [(module, right) for module, right, _, _ in PLANTED if right not in content_of(file_of(module))] == []


@pytest.mark.parametrize(("module", "right", "wrong", "told"), PLANTED, ids=lambda text: text.strip()[:40])
def test_a_planted_error_is_found(module: str, right: str, wrong: str, told: str) -> None:
    file = file_of(module)
    if right not in content_of(file):
        pytest.skip(f"{module}.bicep has no {right!r}")

    def content(path: Path) -> str:
        return content_of(path).replace(right, wrong, 1) if path == file else content_of(path)

    try:
        found = found_in(content)
    except (BicepError, FileNotFoundError, KeyError) as error:
        found = [str(error)]
    assert any(told in each for each in found), found[:3]


def test_without_a_planted_error_nothing_is_found() -> None:
    assert found_in(content_of) == []
