// Where the trainers run: a Container Apps environment with the workload profiles that the clusters name.
param token string
param location string
param tags object
param clusters array
param subnetId string
param filesAccount string
param filesServer string
param shares array
param workspaceId string

// Serverless profiles, with and without GPU, have no number of nodes; dedicated ones (D4, NC24-A100, ...) do.
var named = union([], filter(map(clusters, cluster => cluster.workload_profile), profile => !empty(profile) && profile != 'Consumption'))
var serverless = filter(named, profile => startsWith(profile, 'Consumption'))
var dedicated = filter(named, profile => !startsWith(profile, 'Consumption'))
var modes = [
  {
    suffix: 'rw'
    mode: 'ReadWrite'
  }
  {
    suffix: 'ro'
    mode: 'ReadOnly'
  }
]
var mounts = flatten(map(shares, share => map(modes, each => {
  name: '${share}-${each.suffix}'
  share: share
  mode: each.mode
})))

resource environment 'Microsoft.App/managedEnvironments@2026-07-01' = {
  name: 'cae-${token}'
  location: location
  tags: tags
  properties: {
    // Through a diagnostic setting, for the other way needs the workspace's key.
    appLogsConfiguration: {
      destination: 'azure-monitor'
    }
    vnetConfiguration: empty(subnetId) ? null : {
      infrastructureSubnetId: subnetId
      // Nothing in it listens: it needs no public address for what comes in.
      internal: true
    }
    workloadProfiles: concat([
      {
        name: 'Consumption'
        workloadProfileType: 'Consumption'
      }
    ], map(serverless, profile => {
      name: profile
      workloadProfileType: profile
    }), map(dedicated, profile => {
      name: profile
      workloadProfileType: profile
      minimumCount: 0
      // Clusters that share a profile share its machines, so there are as many as all of them may have together. The sum,
      // as the length of that many numbers.
      maximumCount: length(flatten(map(filter(clusters, cluster => cluster.workload_profile == profile), cluster => range(0, cluster.max_instances))))
    }))
  }
}

resource logs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'logs'
  scope: environment
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        categoryGroup: 'allLogs'
        enabled: true
      }
    ]
  }
}

resource storages 'Microsoft.App/managedEnvironments/storages@2026-07-01' = [for mount in mounts: {
  parent: environment
  name: mount.name
  properties: {
    nfsAzureFile: {
      server: filesServer
      shareName: '/${filesAccount}/${mount.share}'
      accessMode: mount.mode
    }
  }
}]

output name string = environment.name
