// Everything of a deployment that exists before its code does. Wires modules and declares no resource itself.
//
// Two things can only follow, for each needs what is not there yet, and `azd up` deploys them from its hooks:
// trainers.bicep needs the trainer's image, which the registry made here holds; events.bicep needs a key that the
// Functions host makes once the functions' code runs.
targetScope = 'subscription'

@description('Name of the environment. The resource group is rg-{this}; other names end in a digest of it.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('Azure region of everything. Must offer Flex Consumption and the workload profiles that the clusters name.')
@minLength(1)
param location string

@description('Object id of the person or pipeline that may submit jobs and read results; empty: nobody is given access.')
param principalId string = ''

@description('What principalId is: a person, a service principal, or a group.')
@allowed([
  'User'
  'ServicePrincipal'
  'Group'
])
param principalType string = 'User'

@description('Version of Python that the functions run on.')
@allowed([
  '3.11'
  '3.12'
  '3.13'
])
param pythonVersion string = '3.11'

@description('Memory in MiB of an instance of the functions.')
@allowed([
  512
  2048
  4096
])
param functionsMemoryMiB int = 2048

@description('Most instances of the functions at once.')
@minValue(40)
@maxValue(1000)
param functionsMaxInstances int = 40

@description('How the storage account keeps its data: in one data centre, or in three of the region.')
@allowed([
  'Standard_LRS'
  'Standard_ZRS'
])
param storageSku string = 'Standard_LRS'

@description('Days for which a deleted or overwritten blob and a deleted container can be brought back.')
@minValue(1)
@maxValue(365)
param softDeleteDays int = 7

@description('Days without a change after which what lies in `runs` moves to the cool tier.')
@minValue(1)
@maxValue(36500)
param coolAfterDays int = 90

@description('Further containers, for data that jobs name as inputs. Trainers may read them.')
param dataContainers array = [
  'data'
]

@description('Size in GiB of each NFS share that a cluster mounts; billed as long as the share exists.')
@minValue(100)
@maxValue(102400)
param shareGiB int = 100

@description('Days for which logs are kept.')
@minValue(30)
@maxValue(730)
param logDays int = 30

@description('GB of logs that are taken in on one day at most; what comes after is lost. -1: no limit.')
@minValue(-1)
param logDailyGB int = 1

@description('Costs in a month, in the currency of the bill, of which the budget warns at 50, 80 and 100 percent. It stops nothing.')
@minValue(1)
param monthlyBudget int = 100

@description('First day of a month from which the budget counts, as 2030-01-01. It must not change once the budget exists.')
param budgetStart string

@description('Addresses that the budget writes to, beside the owners of the resource group.')
param budgetEmails array = []

// any: the compiler would infer each cluster's type from the file, and an empty list has no type.
var clusters = any(loadJsonContent('clusters.json'))
// What functions and trainers must agree on, such as the claim timeout, comes to both from one file.
var settings = any(loadJsonContent('settings.json'))
var groupName = 'rg-${environmentName}'
var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = {
  'azd-env-name': environmentName
}
// Shares of all clusters, each once. A share costs money when idle, and so may a network, so there are none of either
// unless a cluster mounts something.
var shares = union([], flatten(map(clusters, cluster => map(cluster.mounts, mount => mount.share))))

module group 'modules/group.bicep' = {
  // Deployments to a subscription share their names, and one name cannot be in two regions.
  name: 'dropsweep-${token}'
  params: {
    name: groupName
    location: location
    tags: tags
  }
}

module identities 'modules/identities.bicep' = {
  name: 'identities'
  scope: resourceGroup(groupName)
  dependsOn: [
    group
  ]
  params: {
    token: token
    location: location
    tags: tags
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: resourceGroup(groupName)
  dependsOn: [
    group
  ]
  params: {
    token: token
    location: location
    tags: tags
    logDays: logDays
    logDailyGB: logDailyGB
  }
}

module storage 'modules/storage.bicep' = {
  name: 'storage'
  scope: resourceGroup(groupName)
  dependsOn: [
    group
  ]
  params: {
    token: token
    location: location
    tags: tags
    sku: storageSku
    clusterNames: map(clusters, cluster => cluster.name)
    dataContainers: dataContainers
    softDeleteDays: softDeleteDays
    coolAfterDays: coolAfterDays
  }
}

module registry 'modules/registry.bicep' = {
  name: 'registry'
  scope: resourceGroup(groupName)
  dependsOn: [
    group
  ]
  params: {
    token: token
    location: location
    tags: tags
  }
}

module network 'modules/network.bicep' = if (!empty(shares)) {
  name: 'network'
  scope: resourceGroup(groupName)
  dependsOn: [
    group
  ]
  params: {
    token: token
    location: location
    tags: tags
  }
}

module files 'modules/files.bicep' = if (!empty(shares)) {
  name: 'files'
  scope: resourceGroup(groupName)
  params: {
    token: token
    location: location
    tags: tags
    shares: shares
    shareGiB: shareGiB
    subnetId: network.?outputs.?subnetId ?? ''
  }
}

module environment 'modules/environment.bicep' = {
  name: 'environment'
  scope: resourceGroup(groupName)
  params: {
    token: token
    location: location
    tags: tags
    clusters: clusters
    subnetId: network.?outputs.?subnetId ?? ''
    filesAccount: files.?outputs.?account ?? ''
    filesServer: files.?outputs.?server ?? ''
    shares: shares
    workspaceId: monitoring.outputs.workspaceId
  }
}

module roles 'modules/roles.bicep' = {
  name: 'roles'
  scope: resourceGroup(groupName)
  params: {
    storageName: storage.outputs.name
    registryName: registry.outputs.name
    applicationInsightsName: monitoring.outputs.applicationInsightsName
    functionsPrincipalId: identities.outputs.functionsPrincipalId
    trainersPrincipalId: identities.outputs.trainersPrincipalId
    personPrincipalId: principalId
    personPrincipalType: principalType
    clusterNames: map(clusters, cluster => cluster.name)
    dataContainers: dataContainers
  }
}

module functions 'modules/functions.bicep' = {
  name: 'functions'
  scope: resourceGroup(groupName)
  // Without its roles the host can read neither its package nor its queues.
  dependsOn: [
    roles
  ]
  params: {
    token: token
    location: location
    tags: tags
    storageName: storage.outputs.name
    packageContainer: storage.outputs.packageContainer
    identityId: identities.outputs.functionsId
    identityClientId: identities.outputs.functionsClientId
    applicationInsightsConnection: monitoring.outputs.applicationInsightsConnection
    clustersSetting: string(clusters)
    settings: settings
    pythonVersion: pythonVersion
    memoryMiB: functionsMemoryMiB
    maxInstances: functionsMaxInstances
  }
}

module topic 'modules/topic.bicep' = {
  name: 'topic'
  scope: resourceGroup(groupName)
  params: {
    token: token
    location: location
    tags: tags
    storageId: storage.outputs.id
  }
}

module budget 'modules/budget.bicep' = {
  name: 'budget'
  scope: resourceGroup(groupName)
  dependsOn: [
    group
  ]
  params: {
    token: token
    amount: monthlyBudget
    start: budgetStart
    emails: budgetEmails
  }
}

// azd keeps these as its environment's variables: the hooks, and people, take them from there. None is a secret.
output AZURE_RESOURCE_GROUP string = groupName
output AZURE_LOCATION string = location
output DROPSWEEP_FUNCTION_APP string = functions.outputs.name
output DROPSWEEP_URL string = '${functions.outputs.url}/api'
output DROPSWEEP_STORAGE_ACCOUNT string = storage.outputs.name
output DROPSWEEP_STORAGE__blobServiceUri string = storage.outputs.blobUri
output DROPSWEEP_STORAGE__queueServiceUri string = storage.outputs.queueUri
output DROPSWEEP_TOPIC string = topic.outputs.name
output DROPSWEEP_REGISTRY string = registry.outputs.name
output DROPSWEEP_REGISTRY_SERVER string = registry.outputs.server
output DROPSWEEP_TRAINERS_ENVIRONMENT string = environment.outputs.name
output DROPSWEEP_TRAINERS_IDENTITY string = identities.outputs.trainersName
