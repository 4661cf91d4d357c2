// A virtual network for the trainers, made only when a cluster has mounts: NFS lets machines in by their network.
param token string
param location string
param tags object

resource network 'Microsoft.Network/virtualNetworks@2026-03-01' = {
  name: 'vnet-${token}'
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [
        '10.20.0.0/16'
      ]
    }
    subnets: [
      {
        name: 'trainers'
        properties: {
          // A dozen addresses are the platform's own; this leaves room for thousands of nodes.
          addressPrefix: '10.20.0.0/20'
          delegations: [
            {
              name: 'environments'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
          // A service endpoint costs nothing, unlike a private one.
          serviceEndpoints: [
            {
              service: 'Microsoft.Storage'
            }
          ]
        }
      }
    ]
  }
}

output subnetId string = network.properties.subnets[0].id
