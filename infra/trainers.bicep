// One job of Container Apps for each cluster. Deployed by infra/hooks/postprovision.sh, once the trainer's image is in the
// registry: a job whose image cannot be found is refused. Wires modules and declares no resource itself.
targetScope = 'resourceGroup'

@description('Image of the trainers whose cluster names none.')
@minLength(1)
param image string

@description('Name of the Container Apps environment.')
param environmentName string

@description('Name of the trainers\' identity.')
param identityName string

@description('Registry that the identity may pull from.')
param registryServer string

@description('Name of the storage account.')
param storageName string

@description('Longest that one trainer runs, in seconds. It takes no trial after half of it; those that still run at its end go on from their checkpoints elsewhere.')
@minValue(600)
param trainerTimeoutS int = 86400

// The platform has no scaling strategy to choose. What people report of it fits KEDA's `default`, which subtracts the
// executions that run from the messages that count:
// https://github.com/microsoft/azure-container-apps/issues/1107 and /1498. With visibleonly a trial that comes while long
// ones run then waits for one of their trainers; with all those in work count too, and so do those that wait to be tried
// again, for which trainers start and leave at once.
@description('Which messages start trainers: `visibleonly`, or `all`, with those in work.')
@allowed([
  'visibleonly'
  'all'
])
param queueLengthStrategy string = 'visibleonly'

@description('Name that azd gave this environment.')
param azdEnvironment string

// any: the compiler would infer each cluster's type from the file, and an empty list has no type.
var clusters = any(loadJsonContent('clusters.json'))
// What functions and trainers must agree on, such as the claim timeout, comes to both from one file.
var settings = any(loadJsonContent('settings.json'))
// The platform would read $(NAME) and $$ in a variable's value as its own; JSON has another way to write the sign.
var clustersSetting = replace(string(clusters), '$', '\\u0024')

module trainers 'modules/trainer.bicep' = [for cluster in clusters: {
  name: 'trainer-${cluster.name}'
  params: {
    cluster: cluster
    clustersSetting: clustersSetting
    settings: settings
    image: empty(cluster.image) ? image : cluster.image
    environmentName: environmentName
    identityName: identityName
    registryServer: registryServer
    storageName: storageName
    timeoutS: trainerTimeoutS
    queueLengthStrategy: queueLengthStrategy
    location: resourceGroup().location
    tags: {
      'azd-env-name': azdEnvironment
      // preprovision.sh knows by it the jobs of clusters that are gone.
      'dropsweep-cluster': cluster.name
    }
  }
}]

output jobs array = [for (cluster, index) in clusters: trainers[index].outputs.name]
