{{/* What the operator should know about the values, as a list of texts: values of earlier
versions that have no effect, and values that alone do nothing. The agent logs them, since
Helm shows the notes of a chart only if no other chart includes it. */}}
{{- define "cryptnono.notices" -}}
{{- $notices := list -}}
{{- $resources := "Set resources, but no CPU limit: it delays the start, reloads and kills. One container has all detectors." -}}
{{- $retired := dict
  "fetchKernelHeaders" "Remove it. The agent needs no kernel headers."
  "image.name" "Set image.repository."
  "containerSecurityContext.privileged" "Remove it. The agent runs with a few capabilities instead."
  "containerSecurityContext.capabilities" "Set extraCapabilities to add capabilities."
  "detectors.execwhacker.threadpoolSize" "Remove it. The kernel checks each exec."
  "detectors.execwhacker.resources" $resources
  "detectors.execwhacker.metrics.enabled" "Set metrics.enabled."
  "detectors.execwhacker.env.CRYPTNONO_METRICS_PREFIX" "Remove it. The names of metrics have a fixed prefix."
  "detectors.tcpflowkiller.resources" $resources
  "detectors.tcpflowkiller.metrics" "Set metrics.enabled, and detectors.execwhacker.metrics.port. One port has the metrics of all detectors."
  "detectors.tcpflowkiller.env" "Remove it."
  "detectors.tcpflowkiller.debug" "Set logLevel."
  "detectors.monero.resources" $resources
  "metrics.collector.image" "Remove it. There is no collector."
  "metrics.collector.resources" "Remove it. There is no collector."
  "metrics.collector.port" (printf "Remove it, and scrape port %s of the agent. There is no collector." (include "cryptnono.port" .))
-}}
{{- range $path, $what := $retired -}}
{{- $at := $.Values -}}
{{- $found := true -}}
{{- range splitList "." $path -}}
{{- if and $found (kindIs "map" $at) (hasKey $at .) -}}
{{- $at = get $at . -}}
{{- else -}}
{{- $found = false -}}
{{- end -}}
{{- end -}}
{{- if $found -}}
{{- $notices = append $notices (printf "%s has no effect: %s" $path $what) -}}
{{- end -}}
{{- end -}}
{{- /* The configuration of the older tcpflowkiller had options of any name. */ -}}
{{- $options := dict
  "FlowKiller.banned_ipv4_file_globs" "Remove it. bannedIpv4ConfigMaps is enough."
  "FlowKiller.lookback_duration_seconds" "Set detectors.tcpflowkiller.scan.window. Earlier versions ignored it."
  "FlowKiller.log_connects" "Remove it. Connects are counted, and not logged."
  "FlowKiller.log_container_info" "Remove it. The log always names the container."
-}}
{{- range $class, $own := .Values.detectors.tcpflowkiller.config -}}
{{- range $option, $_ := $own -}}
{{- $name := printf "%s.%s" $class $option -}}
{{- if not (has $name (list "FlowKiller.log_container_envs" "FlowKiller.unique_destinations_threshold")) -}}
{{- $notices = append $notices (printf "detectors.tcpflowkiller.config.%s has no effect: %s" $name (get $options $name | default "Remove it.")) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $m := .Values.metrics -}}
{{- if and $m.enabled (not (or $m.collector.enabled $m.podMonitor.enabled $m.serviceMonitor.enabled $m.prometheusRule.enabled $m.grafanaDashboard.enabled)) -}}
{{- $notices = append $notices "only metrics.enabled has no effect: enable metrics.podMonitor, serviceMonitor or collector as well, so that Prometheus finds the agents" -}}
{{- end -}}
{{- with .Values.exemptions.namespaces -}}
{{- if not (has "kube-system" .) -}}
{{- $notices = append $notices "exemptions.namespaces replaces its default, which is kube-system: add it if the pods there are to be exempt" -}}
{{- end -}}
{{- end -}}
{{- $notices | mustToJson -}}
{{- end -}}
