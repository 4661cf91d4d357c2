// From the storage account's events to the webhook of the Functions host's blob extension.
param topicName string
param functionAppName string

resource app 'Microsoft.Web/sites@2025-05-01' existing = {
  name: functionAppName
}

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: topicName
}

resource drops 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {
  parent: topic
  name: 'drops'
  properties: {
    destination: {
      endpointType: 'WebHook'
      properties: {
        // The host checks the key. It is read here and never leaves the deployment.
        endpointUrl: 'https://${app.properties.defaultHostName}/runtime/webhooks/blobs?functionName=Host.Functions.drop&code=${listKeys('${app.id}/host/default', '2025-05-01').systemKeys.blobs_extension}'
      }
    }
    eventDeliverySchema: 'EventGridSchema'
    filter: {
      includedEventTypes: [
        'Microsoft.Storage.BlobCreated'
      ]
      subjectBeginsWith: '/blobServices/default/containers/jobs/blobs/'
    }
    // What is not delivered within a day is given up without a dead letter: the timer finds each dropped file anyway.
    retryPolicy: {
      maxDeliveryAttempts: 30
      eventTimeToLiveInMinutes: 1440
    }
  }
}
