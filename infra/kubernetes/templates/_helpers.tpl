{{/* Labels of everything that the chart makes. */}}
{{- define "dropsweep.labels" -}}
app.kubernetes.io/part-of: dropsweep
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* Which pods are trainers of this release. */}}
{{- define "dropsweep.selector" -}}
dropsweep/role: trainer
dropsweep/release: {{ .Release.Name }}
{{- end }}

{{/* All clusters, as JSON on one line. */}}
{{- define "dropsweep.clusters" -}}
{{- $remedy := "give what `dropsweep cluster bundle` prints, with --set-file clusters=infra/clusters.json" -}}
{{- $text := required (printf "clusters is empty: %s" $remedy) .Values.clusters -}}
{{- $clusters := fromJsonArray $text -}}
{{- if not $clusters -}}
{{- fail (printf "clusters is an empty list: %s" $remedy) -}}
{{- end -}}
{{- range $clusters -}}
{{- if not (kindIs "map" .) -}}
{{- fail (printf "clusters is no list of clusters (%v): %s" . $remedy) -}}
{{- end -}}
{{- end -}}
{{- $clusters | toJson -}}
{{- end }}

{{/* The clusters whose trainers run here, as JSON. */}}
{{- define "dropsweep.here" -}}
{{- $all := include "dropsweep.clusters" . | fromJsonArray -}}
{{- $names := list -}}
{{- range $all -}}{{- $names = append $names .name -}}{{- end -}}
{{- range .Values.only -}}
{{- if not (has . $names) -}}
{{- fail (printf "only names %q: it is none of the clusters (%s). Correct it, or bundle its file" . (join ", " $names)) -}}
{{- end -}}
{{- end -}}
{{- $here := list -}}
{{- range $all -}}
{{- if or (not $.Values.only) (has .name $.Values.only) -}}
{{- $here = append $here . -}}
{{- end -}}
{{- end -}}
{{- $here | toJson -}}
{{- end }}

{{/* The image of one cluster; takes a list of the root and the cluster. */}}
{{- define "dropsweep.image" -}}
{{- $root := index . 0 -}}
{{- $cluster := index . 1 -}}
{{- $remedy := "name the trainer's image with --set image=REGISTRY/dropsweep-trainer:TAG, or one in its cluster file" -}}
{{- $cluster.image | default $root.Values.image | required (printf "cluster %s has no image: %s" $cluster.name $remedy) -}}
{{- end }}

{{/* The name of one cluster's scaled job; takes a list of the root and the cluster. */}}
{{- define "dropsweep.fullname" -}}
{{- $name := printf "%s-%s" (index . 0).Release.Name (index . 1).name -}}
{{- if gt (len $name) 57 -}}
{{- fail (printf "%s is too long: 57 characters are the most, for six more follow in the names of its jobs. Shorten the release's name or the cluster's" $name) -}}
{{- end -}}
{{- $name -}}
{{- end }}

{{/* How the host names of the account's services end. */}}
{{- define "dropsweep.storageSuffix" -}}
{{- $suffixes := dict "AzurePublicCloud" "core.windows.net" "AzureUSGovernmentCloud" "core.usgovcloudapi.net" "AzureChinaCloud" "core.chinacloudapi.cn" -}}
{{- get $suffixes .Values.storage.cloud -}}
{{- end }}

{{/* The name of the storage account. */}}
{{- define "dropsweep.account" -}}
{{- required "storage.account is empty: name the storage account with --set storage.account=NAME" .Values.storage.account -}}
{{- end }}

{{/* The client id of the trainers' identity. */}}
{{- define "dropsweep.clientId" -}}
{{- required "identity.clientId is empty: give the client id of the trainers' managed identity with --set identity.clientId=ID" .Values.identity.clientId -}}
{{- end }}
