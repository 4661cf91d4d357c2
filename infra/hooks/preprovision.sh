#!/bin/sh
# Before anything is made: the clusters are put together and checked, and the budget gets its first month.
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

# A budget keeps the month that it began with, so it is chosen once.
if [ -z "${DROPSWEEP_BUDGET_START:-}" ]; then
  azd env set DROPSWEEP_BUDGET_START "$(date -u +%Y-%m-01)"
fi
