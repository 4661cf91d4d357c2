// The storage account: all state of the system, its queues, and what the Functions host keeps for itself.
param token string
param location string
param tags object
param sku string
param clusterNames array
param dataContainers array
param softDeleteDays int
param coolAfterDays int

var packageContainer = 'function-package'
var containers = [
  'jobs'
  'schedules'
  'code'
  'workspaces'
  'runs'
]
// A message that fails too often goes to the queue of the same name with -poison, which a function reads.
var queues = [
  'submissions'
  'submissions-poison'
  'advance'
  'advance-poison'
  'webjobs-blobtrigger-poison'
]
var trialsQueues = flatten(map(clusterNames, name => [
  'trials-${name}-high'
  'trials-${name}'
  'trials-${name}-low'
]))

resource account 'Microsoft.Storage/storageAccounts@2026-09-01' = {
  name: 'st${token}'
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: sku
  }
  properties: {
    accessTier: 'Hot'
    // Identities only: no account key and no connection string opens this account.
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    // Reached through its public endpoint with a token: clients on people's machines need that too.
    publicNetworkAccess: 'Enabled'
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2026-09-01' = {
  parent: account
  name: 'default'
  properties: {
    deleteRetentionPolicy: {
      enabled: true
      days: softDeleteDays
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: softDeleteDays
    }
  }
}

resource blobContainers 'Microsoft.Storage/storageAccounts/blobServices/containers@2026-09-01' = [for name in union(containers, dataContainers, [
  packageContainer
]): {
  parent: blobs
  name: name
  properties: {
    publicAccess: 'None'
  }
}]

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2026-09-01' = {
  parent: account
  name: 'default'
}

resource storageQueues 'Microsoft.Storage/storageAccounts/queueServices/queues@2026-09-01' = [for name in union(queues, trialsQueues): {
  parent: queueService
  name: name
}]

// What users made is deleted by policies of their workspaces alone, never by this.
resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2026-09-01' = {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          // The host leaves one receipt for each dropped file. An event comes back within a day; a job's id follows from
          // the file's version, so that even a later one would make no second job.
          name: 'receipts-of-dropped-files'
          type: 'Lifecycle'
          enabled: true
          definition: {
            filters: {
              blobTypes: [
                'blockBlob'
              ]
              prefixMatch: [
                'azure-webjobs-hosts/blobreceipts/'
              ]
            }
            actions: {
              baseBlob: {
                delete: {
                  daysAfterModificationGreaterThan: 30
                }
              }
            }
          }
        }
        {
          // Checkpoints and outputs of old jobs are most of what is stored, and are hardly read. Append blobs, which logs
          // are, cannot be moved.
          name: 'old-runs-to-cool'
          type: 'Lifecycle'
          enabled: true
          definition: {
            filters: {
              blobTypes: [
                'blockBlob'
              ]
              prefixMatch: [
                'runs/'
              ]
            }
            actions: {
              baseBlob: {
                tierToCool: {
                  daysAfterModificationGreaterThan: coolAfterDays
                }
              }
            }
          }
        }
      ]
    }
  }
}

output id string = account.id
output name string = account.name
output blobUri string = account.properties.primaryEndpoints.blob
output queueUri string = account.properties.primaryEndpoints.queue
output packageContainer string = packageContainer
