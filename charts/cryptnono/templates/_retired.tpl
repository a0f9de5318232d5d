{{/* Values of earlier versions that have no effect any more, a line each. */}}
{{- define "cryptnono.retired" -}}
{{- $retired := dict
  "fetchKernelHeaders" "no kernel headers are needed any more. Remove it."
  "image.name" "has no effect. The image is image.repository."
  "containerSecurityContext.privileged" "has no effect: the agent runs with the few capabilities that it needs. Remove it."
  "containerSecurityContext.capabilities" "has no effect. To add some, set extraCapabilities."
  "detectors.execwhacker.threadpoolSize" "has no effect: verdicts are made in the kernel. Remove it."
  "detectors.execwhacker.resources" "has no effect: one container has all detectors. Set resources."
  "detectors.execwhacker.metrics.enabled" "has no effect. Set metrics.enabled."
  "detectors.monero.resources" "has no effect: one container has all detectors. Set resources."
  "metrics.collector.image" "has no effect: there is no collector any more. Remove it."
  "metrics.collector.resources" "has no effect: there is no collector any more. Remove it."
  "metrics.collector.port" (printf "has no effect: there is no collector any more, the agent serves its metrics on port %s. Remove it, and change what scrapes the port." (include "cryptnono.port" .))
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
  - {{ $path }} {{ $what }}
{{- end }}
{{- end }}
{{- if (.Values.detectors.tcpflowkiller).enabled }}
  - detectors.tcpflowkiller is not part of this version: connections are not watched. Its values have no effect.
{{- end }}
{{- end -}}
