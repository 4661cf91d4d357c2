// The functions, on Flex Consumption: nothing runs and nothing is billed while nothing happens, timers apart.
param token string
param location string
param tags object
param storageName string
param packageContainer string
param identityId string
param identityClientId string
param applicationInsightsConnection string
param clustersSetting string
param settings object
param pythonVersion string
param memoryMiB int
param maxInstances int

resource storage 'Microsoft.Storage/storageAccounts@2026-09-01' existing = {
  name: storageName
}

resource plan 'Microsoft.Web/serverfarms@2025-05-01' = {
  name: 'plan-${token}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    // Linux.
    reserved: true
  }
}

resource app 'Microsoft.Web/sites@2025-05-01' = {
  name: 'func-${token}'
  location: location
  // azd finds by this tag where the service `functions` of azure.yaml goes.
  tags: union(tags, {
    'azd-service-name': 'functions'
  })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${storage.properties.primaryEndpoints.blob}${packageContainer}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: {
        name: 'python'
        version: pythonVersion
      }
      scaleAndConcurrency: {
        instanceMemoryMB: memoryMiB
        maximumInstanceCount: maxInstances
      }
    }
    siteConfig: {
      minTlsVersion: '1.2'
      // The host's own connection, that of the triggers, and the clusters. Each with the identity, none with a key. This list
      // replaces the one that is there, so what people set besides comes in as `settings`.
      appSettings: concat([
        {
          name: 'AzureWebJobsStorage__accountName'
          value: storage.name
        }
        {
          name: 'AzureWebJobsStorage__credential'
          value: 'managedidentity'
        }
        {
          name: 'AzureWebJobsStorage__clientId'
          value: identityClientId
        }
        {
          name: 'DROPSWEEP_STORAGE__blobServiceUri'
          value: storage.properties.primaryEndpoints.blob
        }
        {
          name: 'DROPSWEEP_STORAGE__queueServiceUri'
          value: storage.properties.primaryEndpoints.queue
        }
        {
          name: 'DROPSWEEP_STORAGE__credential'
          value: 'managedidentity'
        }
        {
          name: 'DROPSWEEP_STORAGE__clientId'
          value: identityClientId
        }
        {
          name: 'DROPSWEEP_CLUSTERS'
          value: clustersSetting
        }
        {
          name: 'APPLICATIONINSIGHTS_CONNECTION_STRING'
          value: applicationInsightsConnection
        }
        {
          name: 'APPLICATIONINSIGHTS_AUTHENTICATION_STRING'
          value: 'ClientId=${identityClientId};Authorization=AAD'
        }
        {
          // A thread runs one function at a time, most of it waiting for storage. On one core there would be five.
          name: 'PYTHON_THREADPOOL_THREAD_COUNT'
          value: '16'
        }
      ], map(items(settings), each => {
        name: each.key
        value: string(each.value)
      }))
    }
  }
}

output name string = app.name
output url string = 'https://${app.properties.defaultHostName}'
