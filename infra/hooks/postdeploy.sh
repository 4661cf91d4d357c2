#!/bin/sh
# Once the functions' code is there: has Event Grid tell the function `drop` of dropped files.
set -eu
cd "$(dirname "$0")/../.."

# The host makes the key when it first starts with this code. Only whether it is there is looked at here.
problem="$(mktemp)"
trap 'rm -f "$problem"' EXIT
tries=30
while [ "$(az functionapp keys list --subscription "$AZURE_SUBSCRIPTION_ID" --resource-group "$AZURE_RESOURCE_GROUP" \
  --name "$DROPSWEEP_FUNCTION_APP" --query 'systemKeys.blobs_extension != null' --output tsv 2>"$problem")" != true ]; do
  tries=$((tries - 1))
  if [ "$tries" -eq 0 ]; then
    echo "The functions did not start within five minutes: they have no key blobs_extension yet." >&2
    if [ -s "$problem" ]; then echo "What az said last: $(cat "$problem")" >&2; fi
    echo "Read their log (azd monitor --logs), mend what it says, and run: azd deploy" >&2
    exit 1
  fi
  sleep 10
done

az deployment group create --subscription "$AZURE_SUBSCRIPTION_ID" --resource-group "$AZURE_RESOURCE_GROUP" \
  --name events --template-file infra/events.bicep --output none --parameters \
  "topicName=$DROPSWEEP_TOPIC" \
  "functionAppName=$DROPSWEEP_FUNCTION_APP"
echo "Dropped files are announced to $DROPSWEEP_FUNCTION_APP"
