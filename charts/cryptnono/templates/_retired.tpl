{{/* Values of earlier versions that no longer have an effect, one line each. */}}
{{- define "cryptnono.retired" -}}
{{- $retired := dict
  "fetchKernelHeaders" "Remove it. The agent needs no kernel headers."
  "image.name" "Set image.repository."
  "containerSecurityContext.privileged" "Remove it. The agent runs with a few capabilities instead."
  "containerSecurityContext.capabilities" "Set extraCapabilities to add capabilities."
  "detectors.execwhacker.threadpoolSize" "Remove it. The kernel checks each exec."
  "detectors.execwhacker.resources" "Set resources. All detectors run in one container."
  "detectors.execwhacker.metrics.enabled" "Set metrics.enabled."
  "detectors.monero.resources" "Set resources. All detectors run in one container."
  "metrics.collector.image" "Remove it. There is no collector."
  "metrics.collector.resources" "Remove it. There is no collector."
  "metrics.collector.port" (printf "Remove it, and scrape port %s of the agent. There is no collector." (include "cryptnono.port" .))
-}}
{{- range $path, $what := $retired }}
{{- $at := $.Values }}
{{- $found := true }}
{{- range splitList "." $path }}
{{- if and $found (kindIs "map" $at) (hasKey $at .) }}
{{- $at = get $at . }}
{{- else }}
{{- $found = false }}
{{- end }}
{{- end }}
{{- if $found }}
  - {{ $path }}: {{ $what }}
{{- end }}
{{- end }}
{{- if (.Values.detectors.tcpflowkiller).enabled }}
  - detectors.tcpflowkiller: Remove it. This version has no such detector, and does not check connections.
{{- end }}
{{- end -}}
