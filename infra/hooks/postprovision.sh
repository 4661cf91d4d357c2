#!/bin/sh
# Once the registry is there: builds the trainer's image in it, unless it holds just that one, and makes the jobs.
#
# DROPSWEEP_PACKAGES and DROPSWEEP_BASE_IMAGE (`azd env set`) are arguments of trainer_image/Dockerfile;
# DROPSWEEP_TRAINER_IMAGE names an image that is built elsewhere; DROPSWEEP_TRAINERS=kubernetes leaves the jobs out;
# DROPSWEEP_TRAINER_TIMEOUT_S and DROPSWEEP_QUEUE_LENGTH_STRATEGY are parameters of trainers.bicep.
set -eu
cd "$(dirname "$0")/../.."

image="${DROPSWEEP_TRAINER_IMAGE:-}"
if [ -z "$image" ]; then
  base="${DROPSWEEP_BASE_IMAGE:-}"
  packages="${DROPSWEEP_PACKAGES:-}"
  # The tag says what is in it: the same sources and arguments are not built twice.
  tag="$({
    printf '%s\n%s\n' "$base" "$packages"
    find trainer_image shared/dropsweep pyproject.toml constraints.txt README.md -type f ! -name '*.pyc' |
      LC_ALL=C sort | while IFS= read -r file; do
        printf '%s\n' "$file"
        cat "$file"
      done
  } | git hash-object --stdin | cut -c1-12)"
  image="$DROPSWEEP_REGISTRY_SERVER/dropsweep-trainer:$tag"
  if ! az acr repository show --subscription "$AZURE_SUBSCRIPTION_ID" --name "$DROPSWEEP_REGISTRY" \
    --image "dropsweep-trainer:$tag" --output none 2>/dev/null; then
    set -- --build-arg "PACKAGES=$packages"
    if [ -n "$base" ]; then set -- "$@" --build-arg "BASE_IMAGE=$base"; fi
    az acr build --subscription "$AZURE_SUBSCRIPTION_ID" --registry "$DROPSWEEP_REGISTRY" \
      --image "dropsweep-trainer:$tag" --file trainer_image/Dockerfile "$@" .
  fi
fi

if [ "${DROPSWEEP_TRAINERS:-}" = kubernetes ]; then
  echo "The trainers' image is $image; they run on Kubernetes, so no jobs are made here"
  exit 0
fi
az deployment group create --subscription "$AZURE_SUBSCRIPTION_ID" --resource-group "$AZURE_RESOURCE_GROUP" \
  --name trainers --template-file infra/trainers.bicep --output none --parameters \
  "image=$image" \
  "environmentName=$DROPSWEEP_TRAINERS_ENVIRONMENT" \
  "identityName=$DROPSWEEP_TRAINERS_IDENTITY" \
  "registryServer=$DROPSWEEP_REGISTRY_SERVER" \
  "storageName=$DROPSWEEP_STORAGE_ACCOUNT" \
  "trainerTimeoutS=${DROPSWEEP_TRAINER_TIMEOUT_S:-86400}" \
  "queueLengthStrategy=${DROPSWEEP_QUEUE_LENGTH_STRATEGY:-visibleonly}" \
  "azdEnvironment=$AZURE_ENV_NAME"
echo "Trainers run $image"
