#!/bin/sh
# Before anything is made: the clusters are put together and checked, jobs of clusters that are gone are deleted, and the
# budget gets its first month.
set -eu
cd "$(dirname "$0")/../.."

dropsweep=.venv/bin/dropsweep
if [ ! -x "$dropsweep" ] && ! dropsweep="$(command -v dropsweep)"; then
  echo "The command dropsweep is not here: it reads the files in clusters/. Install it with: make install" >&2
  exit 1
fi
# Where the trainers run on Kubernetes, clusters may ask for what Container Apps has not.
set -- --container-apps
if [ "${DROPSWEEP_TRAINERS:-}" = kubernetes ]; then set --; fi
trap 'rm -f infra/clusters.json.new' EXIT
"$dropsweep" cluster bundle clusters "$@" >infra/clusters.json.new
mv infra/clusters.json.new infra/clusters.json

if own="$(grep -Eo '"(DROPSWEEP_(STORAGE|CLUSTERS|GRACE_S)|AzureWebJobsStorage|APPLICATIONINSIGHTS_|PYTHON_THREADPOOL_)[^"]*"' infra/settings.json)"; then
  echo "infra/settings.json sets $own, which the templates set themselves. Remove it from the file" >&2
  exit 1
fi

# A deployment deletes nothing, and a job goes on starting trainers. It goes before its workload profile does.
if [ -n "${AZURE_RESOURCE_GROUP:-}" ]; then
  exists="$(az group exists --subscription "$AZURE_SUBSCRIPTION_ID" --name "$AZURE_RESOURCE_GROUP")"
  if [ "$exists" = true ]; then
    kept="$(sed -n 's/^    "name": "\(.*\)",$/\1/p' infra/clusters.json)"
    if [ "${DROPSWEEP_TRAINERS:-}" = kubernetes ]; then kept=; fi
    jobs="$(az resource list --subscription "$AZURE_SUBSCRIPTION_ID" --resource-group "$AZURE_RESOURCE_GROUP" \
      --resource-type Microsoft.App/jobs --output tsv \
      --query "[?tags.\"azd-env-name\"=='$AZURE_ENV_NAME' && tags.\"dropsweep-cluster\"].[tags.\"dropsweep-cluster\", id]")"
    printf '%s\n' "$jobs" | while read -r cluster id; do
      if [ -n "$id" ] && ! printf '%s\n' "$kept" | grep -Fqx -e "$cluster"; then
        az resource delete --subscription "$AZURE_SUBSCRIPTION_ID" --ids "$id" --output none </dev/null
        echo "Deleted the job of $cluster, which is no cluster of Container Apps any more"
      fi
    done
  fi
fi

# A budget keeps the month that it began with, so it is chosen once.
if [ -z "${DROPSWEEP_BUDGET_START:-}" ]; then
  azd env set DROPSWEEP_BUDGET_START "$(date -u +%Y-%m-01)"
fi
