// Tells the function `drop` of each new file in `jobs`. Deployed by infra/hooks/postdeploy.sh, once the functions' code
// runs: its host makes the key then, and must answer Event Grid's question whether it wants the events. Wires modules and
// declares no resource itself.
targetScope = 'resourceGroup'

@description('Name of the system topic of the storage account.')
param topicName string

@description('Name of the function app.')
param functionAppName string

module subscription 'modules/subscription.bicep' = {
  name: 'subscription'
  params: {
    topicName: topicName
    functionAppName: functionAppName
  }
}
