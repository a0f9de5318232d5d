{{/* Values of earlier versions that have no effect any more, a line each. */}}
{{- define "cryptnono.retired" -}}
{{- $retired := dict
  "fetchKernelHeaders" "No kernel headers are needed any more. Remove it."
  "image.name" "The image is image.repository."
  "containerSecurityContext.privileged" "The agent runs with the few capabilities that it needs. Remove it."
  "containerSecurityContext.capabilities" "To add some, set extraCapabilities."
  "detectors.execwhacker.threadpoolSize" "Verdicts are made in the kernel. Remove it."
  "detectors.execwhacker.resources" "One container has all detectors. Set resources."
  "detectors.execwhacker.metrics.enabled" "Set metrics.enabled."
  "detectors.monero.resources" "One container has all detectors. Set resources."
  "metrics.collector.image" "There is no collector any more. Remove it."
  "metrics.collector.resources" "There is no collector any more. Remove it."
  "metrics.collector.port" (printf "There is no collector any more: the agent serves its metrics on port %s. Remove it, and change what scrapes the port." (include "cryptnono.port" .))
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
