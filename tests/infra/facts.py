"""What no model tells: values that a provider takes and that would not work, and which resource a value comes from.

A model knows that a setting is text, not whose client id it must be. So this table says of each place what stands
there, of clusters that use everything: `{T}` is the digest at the end of names, and `</type/name path>` is what only a
deployment knows, by where it is read from.
"""

from dataclasses import dataclass
from typing import Any

DOCS = "https://learn.microsoft.com/azure/"
STORAGE = "/Microsoft.Storage/storageAccounts/st{T}"
SUBNET = "</Microsoft.Network/virtualNetworks/vnet-{T} properties.subnets.0.id>"
FUNCTIONS = "/Microsoft.ManagedIdentity/userAssignedIdentities/id-functions-{T}"
TRAINERS = "/Microsoft.ManagedIdentity/userAssignedIdentities/id-trainers"
CLIENT = f"<{FUNCTIONS} properties.clientId>"
SITE, PLAN = "Microsoft.Web/sites func-{T}", "Microsoft.Web/serverfarms plan-{T}"
ACCOUNT, SHARES_ACCOUNT = "Microsoft.Storage/storageAccounts st{T}", "Microsoft.Storage/storageAccounts nfs{T}"
POLICY = "Microsoft.Storage/storageAccounts/managementPolicies default"
ENVIRONMENT = "Microsoft.App/managedEnvironments cae-{T}"
BUDGET, TOPIC = "Microsoft.Consumption/budgets budget-{T}", "Microsoft.EventGrid/systemTopics evgt-{T}"
JOB = "Microsoft.App/jobs job-gpus"
DROPS = "Microsoft.EventGrid/systemTopics/eventSubscriptions drops"


@dataclass(frozen=True)
class Fact:
    """What stands at a path of a resource (`type name`), and the page of the documentation that it follows."""

    resource: str
    path: str
    value: Any
    page: str

    def __str__(self) -> str:
        return f"{self.resource.rpartition('/')[2]}:{self.path}"


def of(resource: str, page: str, **values: Any) -> list[Fact]:
    """Facts of one resource and one page; `__` in a name is a step down."""
    return [Fact(resource, path.replace("__", "."), value, page) for path, value in values.items()]


def notification(threshold: int, kind: str = "Actual") -> dict[str, Any]:
    to = {"contactEmails": ["me@example.org"], "contactRoles": ["Owner"]}
    return {
        "enabled": True,
        "operator": "GreaterThanOrEqualTo",
        "threshold": threshold,
        "thresholdType": kind,
        **to,
    }


def rule(queue: str) -> dict[str, Any]:
    told = {"accountName": "st", "queueName": queue, "queueLength": "2", "queueLengthStrategy": "visibleonly"}
    names = {"trials-gpus-high": "high", "trials-gpus": "normal", "trials-gpus-low": "low"}
    return {"name": names[queue], "type": "azure-queue", "identity": TRAINERS, "metadata": told}


FACTS = [
    *of(PLAN, "azure-functions/flex-consumption-how-to", sku={"name": "FC1", "tier": "FlexConsumption"}),
    *of(PLAN, "azure-functions/functions-infrastructure-as-code", properties={"reserved": True}, kind="functionapp"),
    *of(
        SITE,
        "azure-functions/functions-infrastructure-as-code",
        kind="functionapp,linux",
        identity={"type": "UserAssigned", "userAssignedIdentities": {FUNCTIONS: {}}},
        properties__serverFarmId="/Microsoft.Web/serverfarms/plan-{T}",
        properties__httpsOnly=True,
        properties__siteConfig__minTlsVersion="1.2",
        properties__functionAppConfig__deployment__storage={
            "type": "blobContainer",
            "value": f"<{STORAGE} properties.primaryEndpoints.blob>function-package",
            "authentication": {"type": "UserAssignedIdentity", "userAssignedIdentityResourceId": FUNCTIONS},
        },
    ),
    *of(
        ACCOUNT,
        "storage/common/storage-account-overview",
        kind="StorageV2",
        properties={
            "accessTier": "Hot",
            "allowSharedKeyAccess": False,
            "defaultToOAuthAuthentication": True,
            "allowBlobPublicAccess": False,
            "allowCrossTenantReplication": False,
            "minimumTlsVersion": "TLS1_2",
            "supportsHttpsTrafficOnly": True,
            "publicNetworkAccess": "Enabled",
        },
    ),
    *of(
        "Microsoft.Storage/storageAccounts/blobServices default",
        "storage/blobs/soft-delete-blob-overview",
        properties__deleteRetentionPolicy={"enabled": True, "days": 7},
        properties__containerDeleteRetentionPolicy={"enabled": True, "days": 7},
    ),
    *of(
        POLICY,
        "storage/blobs/lifecycle-management-policy-structure",
        properties__policy__rules__0__enabled=True,
        properties__policy__rules__0__definition={
            "filters": {"blobTypes": ["blockBlob"], "prefixMatch": ["azure-webjobs-hosts/blobreceipts/"]},
            "actions": {"baseBlob": {"delete": {"daysAfterModificationGreaterThan": 30}}},
        },
        properties__policy__rules__1__enabled=True,
        properties__policy__rules__1__definition={
            "filters": {"blobTypes": ["blockBlob"], "prefixMatch": ["runs/"]},
            "actions": {"baseBlob": {"tierToCool": {"daysAfterModificationGreaterThan": 90}}},
        },
    ),
    *of(
        SHARES_ACCOUNT,
        "storage/files/files-nfs-protocol",
        kind="FileStorage",
        sku={"name": "Premium_LRS"},
        properties__publicNetworkAccess="Enabled",
        properties__supportsHttpsTrafficOnly=False,
        properties__networkAcls={
            "defaultAction": "Deny",
            "bypass": "None",
            "virtualNetworkRules": [{"id": SUBNET, "action": "Allow"}],
        },
    ),
    *of(
        "Microsoft.Storage/storageAccounts/fileServices/shares datasets",
        "storage/files/nfs-root-squash",
        properties={"enabledProtocols": "NFS", "rootSquash": "NoRootSquash", "shareQuota": 100},
    ),
    *of(
        "Microsoft.Network/virtualNetworks vnet-{T}",
        "container-apps/custom-virtual-networks",
        properties__subnets__0__properties={
            "addressPrefix": "10.20.0.0/20",
            "delegations": [{"name": "environments", "properties": {"serviceName": "Microsoft.App/environments"}}],
            "serviceEndpoints": [{"service": "Microsoft.Storage"}],
        },
    ),
    *of(
        ENVIRONMENT,
        "container-apps/workload-profiles-overview",
        properties__appLogsConfiguration={"destination": "azure-monitor"},
        properties__vnetConfiguration={"infrastructureSubnetId": SUBNET, "internal": True},
        properties__workloadProfiles=[
            {"name": "Consumption", "workloadProfileType": "Consumption"},
            {"name": "Consumption-GPU-NC8as-T4", "workloadProfileType": "Consumption-GPU-NC8as-T4"},
            # The sum of two clusters, 7 and 9.
            {"name": "NC24-A100", "workloadProfileType": "NC24-A100", "minimumCount": 0, "maximumCount": 16},
        ],
    ),
    *of(
        "Microsoft.App/managedEnvironments/storages datasets-ro",
        "container-apps/storage-mounts-azure-files",
        properties__nfsAzureFile={
            "server": "nfs{T}.file.core.windows.net",
            "shareName": "/nfs{T}/datasets",
            "accessMode": "ReadOnly",
        },
    ),
    *of(
        "Microsoft.Insights/diagnosticSettings logs",
        "container-apps/log-options",
        scope="/Microsoft.App/managedEnvironments/cae-{T}",
        properties={
            "workspaceId": "/Microsoft.OperationalInsights/workspaces/log-{T}",
            "logs": [{"categoryGroup": "allLogs", "enabled": True}],
        },
    ),
    *of(
        "Microsoft.OperationalInsights/workspaces log-{T}",
        "azure-monitor/logs/daily-cap",
        properties={
            "sku": {"name": "PerGB2018"},
            "retentionInDays": 30,
            "workspaceCapping": {"dailyQuotaGb": 1},
            "features": {"disableLocalAuth": True},
        },
    ),
    *of(
        "Microsoft.Insights/components appi-{T}",
        "azure-monitor/app/azure-ad-authentication",
        properties={
            "Application_Type": "web",
            "WorkspaceResourceId": "/Microsoft.OperationalInsights/workspaces/log-{T}",
            "DisableLocalAuth": True,
        },
    ),
    *of(
        "Microsoft.ContainerRegistry/registries cr{T}",
        "container-registry/anonymous-pull-access",
        properties={"adminUserEnabled": False, "anonymousPullEnabled": False},
    ),
    *of(
        TOPIC,
        "event-grid/create-view-manage-system-topics",
        properties={"source": STORAGE, "topicType": "Microsoft.Storage.StorageAccounts"},
    ),
    *of(
        DROPS,
        "azure-functions/functions-event-grid-blob-trigger",
        properties__destination={
            "endpointType": "WebHook",
            "properties": {
                "endpointUrl": "https://</Microsoft.Web/sites/func properties.defaultHostName>/runtime/webhooks/blobs"
                "?functionName=Host.Functions.drop"
                "&code=<keys of /Microsoft.Web/sites/func/host/default.systemKeys.blobs_extension>"
            },
        },
        properties__eventDeliverySchema="EventGridSchema",
        properties__filter={
            "includedEventTypes": ["Microsoft.Storage.BlobCreated"],
            "subjectBeginsWith": "/blobServices/default/containers/jobs/blobs/",
        },
    ),
    # The most that there is of both.
    *of(
        DROPS,
        "event-grid/delivery-and-retry",
        properties__retryPolicy={"maxDeliveryAttempts": 30, "eventTimeToLiveInMinutes": 1440},
    ),
    *of(
        BUDGET,
        "cost-management-billing/costs/tutorial-acm-create-budgets",
        properties={
            "category": "Cost",
            "amount": 100,
            "timeGrain": "Monthly",
            "timePeriod": {"startDate": "2030-01-01"},
            "notifications": {
                "half": notification(50),
                "most": notification(80),
                "foreseen": notification(100, "Forecasted"),
            },
        },
    ),
    *of(
        JOB,
        "container-apps/jobs",
        identity={"type": "UserAssigned", "userAssignedIdentities": {TRAINERS: {}}},
        properties__environmentId="/Microsoft.App/managedEnvironments/cae",
        properties__configuration__triggerType="Event",
        properties__configuration__replicaTimeout=86400,
        properties__configuration__replicaRetryLimit=0,
        properties__configuration__eventTriggerConfig={
            "parallelism": 1,
            "replicaCompletionCount": 1,
            "scale": {
                "minExecutions": 0,
                "maxExecutions": 9,
                "pollingInterval": 10,
                "rules": [rule("trials-gpus-high"), rule("trials-gpus"), rule("trials-gpus-low")],
            },
        },
    ),
    *of(
        JOB,
        "container-apps/managed-identity-image-pull",
        properties__configuration__registries=[{"server": "registry.example", "identity": TRAINERS}],
    ),
]
SETTINGS = {
    "AzureWebJobsStorage__accountName": "st{T}",
    "AzureWebJobsStorage__credential": "managedidentity",
    "AzureWebJobsStorage__clientId": CLIENT,
    "DROPSWEEP_STORAGE__blobServiceUri": f"<{STORAGE} properties.primaryEndpoints.blob>",
    "DROPSWEEP_STORAGE__queueServiceUri": f"<{STORAGE} properties.primaryEndpoints.queue>",
    "DROPSWEEP_STORAGE__credential": "managedidentity",
    "DROPSWEEP_STORAGE__clientId": CLIENT,
    "APPLICATIONINSIGHTS_CONNECTION_STRING": "</Microsoft.Insights/components/appi-{T} properties.ConnectionString>",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": f"ClientId={CLIENT};Authorization=AAD",
    "PYTHON_THREADPOOL_THREAD_COUNT": "16",
}
"""https://learn.microsoft.com/azure/azure-functions/functions-reference#configure-an-identity-based-connection and
functions-app-settings#applicationinsights_authentication_string; the host takes these names and no others."""
OUTPUTS = {
    "AZURE_RESOURCE_GROUP": "rg-try",
    "AZURE_LOCATION": "westeurope",
    "DROPSWEEP_FUNCTION_APP": "func-{T}",
    "DROPSWEEP_URL": "https://</Microsoft.Web/sites/func-{T} properties.defaultHostName>/api",
    "DROPSWEEP_STORAGE_ACCOUNT": "st{T}",
    "DROPSWEEP_STORAGE__blobServiceUri": f"<{STORAGE} properties.primaryEndpoints.blob>",
    "DROPSWEEP_STORAGE__queueServiceUri": f"<{STORAGE} properties.primaryEndpoints.queue>",
    "DROPSWEEP_TOPIC": "evgt-{T}",
    "DROPSWEEP_REGISTRY": "cr{T}",
    "DROPSWEEP_REGISTRY_SERVER": "</Microsoft.ContainerRegistry/registries/cr{T} properties.loginServer>",
    "DROPSWEEP_TRAINERS_ENVIRONMENT": "cae-{T}",
    "DROPSWEEP_TRAINERS_IDENTITY": "id-trainers-{T}",
}
