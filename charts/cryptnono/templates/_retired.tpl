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
  "detectors.tcpflowkiller.resources" "Set resources. All detectors run in one container."
  "detectors.tcpflowkiller.metrics.enabled" "Set metrics.enabled."
  "detectors.tcpflowkiller.env" "Remove it."
  "detectors.tcpflowkiller.config.FlowKiller.banned_ipv4_file_globs" "Set bannedIpv4ConfigMaps, or bannedAddresses in a rule file."
  "detectors.tcpflowkiller.config.FlowKiller.lookback_duration_seconds" "Set detectors.tcpflowkiller.scan.window. Earlier versions ignored it."
  "detectors.tcpflowkiller.config.FlowKiller.log_connects" "Remove it. Connects are counted, and not logged."
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
{{- end -}}
