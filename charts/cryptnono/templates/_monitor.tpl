{{/* The endpoint of PodMonitor and ServiceMonitor: (list $ .Values.metrics.X). Both discover
pods, so both can set the label of the node. */}}
{{- define "cryptnono.endpoint" -}}
port: http
path: /metrics
{{- with (first .).Values.metrics.tokenSecret }}
authorization:
  credentials: {name: {{ . | quote }}, key: token}
{{- end }}
{{- with last . }}
{{- with .interval }}
interval: {{ . | quote }}
{{- end }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . | quote }}
{{- end }}
relabelings:
  - sourceLabels: [__meta_kubernetes_pod_node_name]
    targetLabel: node
  {{- with .relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Metadata of an object whose values have labels and annotations:
(list $ .Values.metrics.X). */}}
{{- define "cryptnono.metadata" -}}
{{- $root := first . -}}
{{- $own := last . -}}
name: {{ include "cryptnono.fullname" $root | quote }}
labels:
  {{- include "cryptnono.labels" $root | nindent 2 }}
  {{- with $own.labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $own.annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
