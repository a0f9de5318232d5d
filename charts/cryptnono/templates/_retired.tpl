{{/* Values of earlier versions that no longer have an effect, one line each. */}}
{{- define "cryptnono.retired" -}}
{{- $retired := dict
  "fetchKernelHeaders" "The agent needs no kernel headers. Remove it."
  "image.name" "The image is image.repository."
  "containerSecurityContext.privileged" "The agent runs with the few capabilities that it needs. Remove it."
  "containerSecurityContext.capabilities" "To add some, set extraCapabilities."
  "detectors.execwhacker.threadpoolSize" "The kernel makes the verdicts. Remove it."
  "detectors.execwhacker.resources" "One container has all detectors. Set resources."
  "detectors.execwhacker.metrics.enabled" "Set metrics.enabled."
  "detectors.monero.resources" "One container has all detectors. Set resources."
  "metrics.collector.image" "There is no collector. Remove it."
  "metrics.collector.resources" "There is no collector. Remove it."
  "metrics.collector.port" (printf "There is no collector: the agent serves its metrics on port %s. Remove it, and scrape the new port." (include "cryptnono.port" .))
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
  - detectors.tcpflowkiller: It is not part of this version. Connections are not watched.
{{- end }}
{{- end -}}
