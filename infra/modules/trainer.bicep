// The trainers of one cluster: an event-driven job, which starts an execution when messages wait. An execution is a node;
// it runs many trials and ends by itself when there is no more work.
param cluster object
param clustersSetting string
param settings object
param image string
param environmentName string
param identityName string
param registryServer string
param storageName string
param timeoutS int
param queueLengthStrategy string
param location string
param tags object

// The platform kills a job's container 30 s after it asked it to stop, and offers no way to wait longer: the trials get 10
// of them to end, so that their last checkpoints can be uploaded in the rest.
var graceS = 10
// Names of jobs end at 32 characters, those of clusters at 40.
var jobName = length(cluster.name) <= 28 ? 'job-${cluster.name}' : 'job-${uniqueString(cluster.name)}'
// Container Apps writes half a Gi with a point; the cluster's list has no fractions.
var memoryMi = endsWith(cluster.memory_per_node, 'Mi') ? int(replace(cluster.memory_per_node, 'Mi', '')) : 0
var memory = memoryMi % 1024 == 512 ? '${memoryMi / 1024}.5Gi' : cluster.memory_per_node
var slots = cluster.slots_per_node ?? max(1, cluster.gpus_per_node)
var queues = [
  {
    rule: 'high'
    name: 'trials-${cluster.name}-high'
  }
  {
    rule: 'normal'
    name: 'trials-${cluster.name}'
  }
  {
    rule: 'low'
    name: 'trials-${cluster.name}-low'
  }
]

resource environment 'Microsoft.App/managedEnvironments@2026-07-01' existing = {
  name: environmentName
}

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: identityName
}

resource storage 'Microsoft.Storage/storageAccounts@2026-09-01' existing = {
  name: storageName
}

resource job 'Microsoft.App/jobs@2026-07-01' = {
  name: jobName
  location: location
  tags: tags
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identity.id}': {}
    }
  }
  properties: {
    environmentId: environment.id
    workloadProfileName: empty(cluster.workload_profile) ? 'Consumption' : cluster.workload_profile
    configuration: {
      triggerType: 'Event'
      replicaTimeout: timeoutS
      // A trainer that dies is not started again for its own sake: the messages of its trials come back by themselves.
      replicaRetryLimit: 0
      registries: [
        {
          server: registryServer
          identity: identity.id
        }
      ]
      eventTriggerConfig: {
        // One container an execution, which is done when that one is.
        parallelism: 1
        replicaCompletionCount: 1
        scale: {
          minExecutions: cluster.min_instances
          maxExecutions: cluster.max_instances
          pollingInterval: 10
          rules: [for queue in queues: {
            name: queue.rule
            type: 'azure-queue'
            identity: identity.id
            metadata: {
              accountName: storageName
              queueName: queue.name
              // A trainer takes as many messages as it has slots.
              queueLength: string(slots)
              // Of visibleonly and all: a message in work is hidden. trainers.bicep tells what each of them means.
              queueLengthStrategy: queueLengthStrategy
            }
          }]
        }
      }
    }
    template: {
      volumes: [for mount in cluster.mounts: {
        name: mount.name
        storageType: 'NfsAzureFile'
        storageName: '${mount.share}-${mount.read_only ? 'ro' : 'rw'}'
      }]
      containers: [
        {
          name: 'trainer'
          image: image
          // --scaled: a trainer that finds no message at its first look ends at once. --leave-after: it takes none after
          // half of its time, so that its last trials have the other half to end before the platform stops it.
          args: [
            '--cluster'
            cluster.name
            '--scaled'
            '--leave-after'
            string(timeoutS / 2)
          ]
          resources: {
            cpu: cluster.cpus_per_node
            memory: memory
          }
          env: concat([
            {
              name: 'DROPSWEEP_STORAGE__blobServiceUri'
              value: storage.properties.primaryEndpoints.blob
            }
            {
              name: 'DROPSWEEP_STORAGE__queueServiceUri'
              value: storage.properties.primaryEndpoints.queue
            }
            {
              name: 'DROPSWEEP_STORAGE__clientId'
              value: identity.properties.clientId
            }
            {
              name: 'DROPSWEEP_CLUSTERS'
              value: clustersSetting
            }
            {
              name: 'DROPSWEEP_GRACE_S'
              value: string(graceS)
            }
          ], map(items(settings), each => {
            name: each.key
            value: string(each.value)
          }))
          volumeMounts: [for mount in cluster.mounts: {
            volumeName: mount.name
            mountPath: mount.path
          }]
        }
      ]
    }
  }
}

output name string = job.name
