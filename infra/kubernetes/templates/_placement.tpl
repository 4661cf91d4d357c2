{{/* On which nodes the pods of one cluster may run; takes a list of the root and the cluster. */}}
{{- define "dropsweep.placement" -}}
{{- $root := index . 0 -}}
{{- $cluster := index . 1 -}}
{{- $spot := "kubernetes.azure.com/scalesetpriority" -}}
{{- $selector := deepCopy $root.Values.nodeSelector -}}
{{- $tolerations := $root.Values.tolerations -}}
{{- with $cluster.size -}}
{{- $_ := set $selector "node.kubernetes.io/instance-type" . -}}
{{- end -}}
{{- if eq $cluster.tier "low_priority" -}}
{{- $_ := set $selector $spot "spot" -}}
{{- $tolerations = append $tolerations (dict "key" $spot "operator" "Equal" "value" "spot" "effect" "NoSchedule") -}}
{{- end -}}
{{- if gt (int $cluster.gpus_per_node) 0 -}}
{{- $tolerations = append $tolerations (dict "key" "nvidia.com/gpu" "operator" "Exists" "effect" "NoSchedule") -}}
{{- $tolerations = append $tolerations (dict "key" "sku" "operator" "Equal" "value" "gpu" "effect" "NoSchedule") -}}
{{- end -}}
{{- with $selector -}}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
