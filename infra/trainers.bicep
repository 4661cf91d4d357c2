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

@description('Longest that one trainer runs, in seconds. It gives its trials back then, and they go on from their checkpoints elsewhere.')
@minValue(600)
param trainerTimeoutS int = 86400

@description('Name that azd gave this environment.')
param azdEnvironment string

// any: the compiler would infer each cluster's type from the file, and an empty list has no type.
var clusters = any(loadJsonContent('clusters.json'))
// The platform would read $(NAME) and $$ in a variable's value as its own; JSON has another way to write the sign.
var clustersSetting = replace(string(clusters), '$', '\\u0024')

module trainers 'modules/trainer.bicep' = [for cluster in clusters: {
  name: 'trainer-${cluster.name}'
  params: {
    cluster: cluster
    clustersSetting: clustersSetting
    image: empty(cluster.image) ? image : cluster.image
    environmentName: environmentName
    identityName: identityName
    registryServer: registryServer
    storageName: storageName
    timeoutS: trainerTimeoutS
    location: resourceGroup().location
    tags: {
      'azd-env-name': azdEnvironment
    }
  }
}]

output jobs array = [for (cluster, index) in clusters: trainers[index].outputs.name]
