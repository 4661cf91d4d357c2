// Two identities, so that each holds only its own roles. They exist before what uses them, and so do their roles:
// a function app or a job that came with an identity of its own would start before it may do anything.
param token string
param location string
param tags object

resource functions 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-functions-${token}'
  location: location
  tags: tags
}

resource trainers 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-trainers-${token}'
  location: location
  tags: tags
}

output functionsId string = functions.id
output functionsClientId string = functions.properties.clientId
output functionsPrincipalId string = functions.properties.principalId
output trainersName string = trainers.name
output trainersPrincipalId string = trainers.properties.principalId
