// NFS shares that clusters mount, made only when one does. They need premium storage, billed by size while it exists.
param token string
param location string
param tags object
param shares array
param shareGiB int
param subnetId string

resource account 'Microsoft.Storage/storageAccounts@2026-09-01' = {
  name: 'nfs${token}'
  location: location
  tags: tags
  kind: 'FileStorage'
  sku: {
    name: 'Premium_LRS'
  }
  properties: {
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    minimumTlsVersion: 'TLS1_2'
    // NFS has no transport encryption of its own that Container Apps could ask for; the network rule below is what
    // keeps others out.
    supportsHttpsTrafficOnly: false
    publicNetworkAccess: 'Enabled'
    networkAcls: {
      defaultAction: 'Deny'
      bypass: 'None'
      virtualNetworkRules: [
        {
          id: subnetId
          action: 'Allow'
        }
      ]
    }
  }
}

resource service 'Microsoft.Storage/storageAccounts/fileServices@2026-09-01' = {
  parent: account
  name: 'default'
}

resource fileShares 'Microsoft.Storage/storageAccounts/fileServices/shares@2026-09-01' = [for name in shares: {
  parent: service
  name: name
  properties: {
    enabledProtocols: 'NFS'
    // The folder of a new share belongs to root. Somebody has to give it to the trials' users once, as root of a machine
    // in this network. Trainers are not root, whatever stands here.
    rootSquash: 'NoRootSquash'
    shareQuota: shareGiB
  }
}]

output account string = account.name
output server string = '${account.name}.file.${environment().suffixes.storage}'
