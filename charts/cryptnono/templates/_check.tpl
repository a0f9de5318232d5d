{{/* Combinations of values that the schema cannot refuse. */}}
{{- define "cryptnono.check" -}}
{{- $e := .Values.detectors.execwhacker -}}
{{- $enabled := false -}}
{{- range include "cryptnono.detectors" . | fromJson -}}
{{- $enabled = or $enabled .enabled -}}
{{- end -}}
{{- if not $enabled -}}
{{- fail "detectors: none is enabled" -}}
{{- end -}}
{{- if and .Values.pins .Values.unpin -}}
{{- fail "pins and unpin: one keeps what the other removes" -}}
{{- end -}}
{{- $builtin := false -}}
{{- range include "cryptnono.builtinActions" . | fromJsonArray -}}
{{- $builtin = or $builtin (not (has (toString .) (list "off" "false"))) -}}
{{- end -}}
{{- if and $e.enabled (not $builtin) (not (or $e.configs $e.configMaps $e.secrets)) -}}
{{- fail "builtinRules are off, and detectors.execwhacker has no configs, configMaps or secrets: it has no rules" -}}
{{- end -}}
{{- range $name := list "podMonitor" "serviceMonitor" "prometheusRule" "grafanaDashboard" -}}
{{- if and (index $.Values.metrics $name).enabled (not $.Values.metrics.enabled) -}}
{{- fail (printf "metrics.%s.enabled needs metrics.enabled as well" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
