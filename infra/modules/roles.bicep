// Who may do what, each for one reason and as narrowly as it goes. Nothing here opens the account to a key.
param storageName string
param registryName string
param applicationInsightsName string
param functionsPrincipalId string
param trainersPrincipalId string
param personPrincipalId string
param personPrincipalType string
param clusterNames array
param dataContainers array

// The same in every tenant: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
var roles = {
  storageBlobDataOwner: 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
  storageBlobDataContributor: 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
  storageBlobDataReader: '2a2b9908-6ea1-4ae2-8e65-a410df84e7d1'
  storageQueueDataContributor: '974c5e8b-45b9-4653-ba55-5f855dd0fb88'
  storageQueueDataReader: '19e7f393-937e-4f77-808e-94535e297925'
  storageQueueDataMessageSender: 'c6a89b2d-59bc-44d0-9896-0f6e12d7b80a'
  storageTableDataContributor: '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
  monitoringMetricsPublisher: '3913510d-42f4-4e42-8a64-420c390055eb'
  acrPull: '7f951dda-4ed3-4680-a7ca-43fe172d538d'
}
var readContainers = union([
  'code'
], dataContainers)
// Not the host's two: azure-webjobs-secrets holds the functions' keys, and what lies in function-package runs as they do.
var personContainers = empty(personPrincipalId) ? [] : union([
  'jobs'
  'schedules'
  'code'
  'workspaces'
  'runs'
], dataContainers)
var trialsQueues = flatten(map(clusterNames, name => [
  'trials-${name}-high'
  'trials-${name}'
  'trials-${name}-low'
]))
var personQueues = empty(personPrincipalId) ? [] : concat([
  'submissions'
  'advance'
], trialsQueues)

resource storage 'Microsoft.Storage/storageAccounts@2026-09-01' existing = {
  name: storageName
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2026-09-01' existing = {
  parent: storage
  name: 'default'
}

resource runs 'Microsoft.Storage/storageAccounts/blobServices/containers@2026-09-01' existing = {
  parent: blobs
  name: 'runs'
}

resource read 'Microsoft.Storage/storageAccounts/blobServices/containers@2026-09-01' existing = [for name in readContainers: {
  parent: blobs
  name: name
}]

resource used 'Microsoft.Storage/storageAccounts/blobServices/containers@2026-09-01' existing = [for name in personContainers: {
  parent: blobs
  name: name
}]

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2026-09-01' existing = {
  parent: storage
  name: 'default'
}

resource advance 'Microsoft.Storage/storageAccounts/queueServices/queues@2026-09-01' existing = {
  parent: queueService
  name: 'advance'
}

resource trials 'Microsoft.Storage/storageAccounts/queueServices/queues@2026-09-01' existing = [for name in trialsQueues: {
  parent: queueService
  name: name
}]

resource sent 'Microsoft.Storage/storageAccounts/queueServices/queues@2026-09-01' existing = [for name in personQueues: {
  parent: queueService
  name: name
}]

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' existing = {
  name: registryName
}

resource applicationInsights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: applicationInsightsName
}

// Functions, blobs: the host keeps leases, keys and its package here and asks for Owner; the steps read and write all
// containers of ours, and read whatever container a job names as its input. For blob triggers its documentation also names
// Storage Account Contributor on the host's account: the trigger that polls reads the account's logs. Ours is told by Event
// Grid and polls none, so the role, which lets its holder change the account, is left out.
resource functionsBlobs 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(storage.id, functionsPrincipalId, roles.storageBlobDataOwner)
  scope: storage
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageBlobDataOwner)
    principalId: functionsPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Functions, queues: triggers read and delete messages, steps send them, the host makes queues of its own for dropped
// files and for poison, and answers go to whatever queue a submission names.
resource functionsQueues 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(storage.id, functionsPrincipalId, roles.storageQueueDataContributor)
  scope: storage
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageQueueDataContributor)
    principalId: functionsPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Functions, tables: the host writes its diagnostic events into one; it complains in each log without.
resource functionsTables 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(storage.id, functionsPrincipalId, roles.storageTableDataContributor)
  scope: storage
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageTableDataContributor)
    principalId: functionsPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Functions, telemetry: Application Insights takes it from identities with this role alone.
resource functionsTelemetry 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(applicationInsights.id, functionsPrincipalId, roles.monitoringMetricsPublisher)
  scope: applicationInsights
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.monitoringMetricsPublisher)
    principalId: functionsPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Trainers, `runs`: claims, logs, metrics, checkpoints, outputs and results are written there, and nowhere else.
resource trainersRuns 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(runs.id, trainersPrincipalId, roles.storageBlobDataContributor)
  scope: runs
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageBlobDataContributor)
    principalId: trainersPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Trainers, code and inputs: read only, and of no other container; so not the host's, which holds keys.
resource trainersRead 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (name, index) in readContainers: {
  name: guid(read[index].id, trainersPrincipalId, roles.storageBlobDataReader)
  scope: read[index]
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageBlobDataReader)
    principalId: trainersPrincipalId
    principalType: 'ServicePrincipal'
  }
}]

// Trainers, trials: receive, renew, send back and delete messages; renewing is an update, which the narrower role for
// processing lacks. The scaler looks at the same queues with the same identity.
resource trainersTrials 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (name, index) in trialsQueues: {
  name: guid(trials[index].id, trainersPrincipalId, roles.storageQueueDataContributor)
  scope: trials[index]
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageQueueDataContributor)
    principalId: trainersPrincipalId
    principalType: 'ServicePrincipal'
  }
}]

// Trainers, `advance`: hints are sent, never read.
resource trainersHints 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(advance.id, trainersPrincipalId, roles.storageQueueDataMessageSender)
  scope: advance
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageQueueDataMessageSender)
    principalId: trainersPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Trainers, image: pulled with the identity; the registry has no user and no password.
resource trainersPull 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(registry.id, trainersPrincipalId, roles.acrPull)
  scope: registry
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.acrPull)
    principalId: trainersPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// The person who deploys, blobs: drops files, uploads code and data, reads results, cancels. Container by container.
resource personBlobs 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (name, index) in personContainers: {
  name: guid(used[index].id, personPrincipalId, roles.storageBlobDataContributor)
  scope: used[index]
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageBlobDataContributor)
    principalId: personPrincipalId
    principalType: personPrincipalType
  }
}]

// The person who deploys, all queues: their names, how many messages they have, and a look at the first of them, for
// `dropsweep doctor` and `dropsweep cluster`.
resource personLooks 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(personPrincipalId)) {
  name: guid(storage.id, personPrincipalId, roles.storageQueueDataReader)
  scope: storage
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageQueueDataReader)
    principalId: personPrincipalId
    principalType: personPrincipalType
  }
}

// The person who deploys, queues: sends submissions and hints, and buried messages anew.
resource personSends 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (name, index) in personQueues: {
  name: guid(sent[index].id, personPrincipalId, roles.storageQueueDataMessageSender)
  scope: sent[index]
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageQueueDataMessageSender)
    principalId: personPrincipalId
    principalType: personPrincipalType
  }
}]
