{{/* The settings file: docs/configuration.md. It is JSON, where strings and numbers
cannot be confused. */}}
{{- define "cryptnono.settings" -}}
{{- $v := .Values -}}
{{- $e := $v.detectors.execwhacker -}}
{{- $rules := include "cryptnono.rulePaths" . | fromJsonArray -}}
{{- if eq (include "cryptnono.selftestAction" .) "off" -}}
{{- $rules = append $rules "/etc/cryptnono/settings/selftest.json" -}}
{{- end -}}
{{- $settings := dict
  "rules" $rules
  "builtinRules" $v.builtinRules
  "action" $v.action
  "onBadRules" $v.onBadRules
  "scanInterval" $v.scanInterval
  "logLevel" (ternary "debug" $v.logLevel $e.debug)
  "logEnv" (concat $v.logEnv ($e.lookupEnvs | default list) ((($v.detectors.tcpflowkiller.config).FlowKiller).log_container_envs | default list) | uniq)
  "exemptions" $v.exemptions
  "killLimit" $v.killLimit
  "escalation" $v.escalation
  "evidence" $v.evidence
  "notify" $v.notify
  "notices" (include "cryptnono.notices" . | fromJsonArray)
-}}
{{- merge $settings (include "cryptnono.detectors" . | fromJson) (include "cryptnono.fixedSettings" . | fromJson) | mustToPrettyJson -}}
{{- end -}}

{{/* The settings of each detector: its values, without those that only the chart uses
and those of earlier versions. */}}
{{- define "cryptnono.detectors" -}}
{{- $notSettings := dict
  "execwhacker" (list "lookupEnvs" "configs" "configMaps" "secrets" "env" "debug" "metrics" "containerdHostPath" "dockerHostPath" "resources" "threadpoolSize")
  "monero" (list "resources")
  "tcpflowkiller" (list "bannedIpv4ConfigMaps" "config" "env" "resources" "metrics" "debug" "containerdHostPath" "dockerHostPath")
-}}
{{- $detectors := dict -}}
{{- range $name, $values := .Values.detectors -}}
{{- $settings := deepCopy $values -}}
{{- range get $notSettings $name | default list -}}
{{- $_ := unset $settings . -}}
{{- end -}}
{{- if eq $name "tcpflowkiller" -}}
{{- with (($values.config).FlowKiller).unique_destinations_threshold -}}
{{- $_ := set $settings "scan" (merge (dict "distinct" (ternary 0 (int .) (gt (int .) 250))) ($settings.scan | default dict)) -}}
{{- end -}}
{{- end -}}
{{- $_ := set $detectors $name $settings -}}
{{- end -}}
{{- $detectors | mustToJson -}}
{{- end -}}

{{/* Settings that a running agent cannot change. Their hash is in the pod template, so
that a change replaces the pods. */}}
{{- define "cryptnono.fixedSettings" -}}
{{- $token := dict -}}
{{- if .Values.metrics.tokenSecret -}}
{{- $_ := set $token "listenTokenFile" "/etc/cryptnono/token/token" -}}
{{- end -}}
{{- merge $token (dict
  "listen" (printf ":%s" (include "cryptnono.port" .))
  "pins" .Values.pins
  "containers" (include "cryptnono.containers" . | fromJson)
  "logAnnotations" .Values.logAnnotations
  ) | mustToJson -}}
{{- end -}}

{{/* Container runtimes in addition to the default ones: from the values, and from the
values of earlier versions. dockerHostPath was usually the Docker in a pod, for BinderHub,
and is treated so unless it is the host's own socket. If that is wrong, the log names no
pods; the opposite error would let a pod's runtime choose the names of pods. */}}
{{- define "cryptnono.containers" -}}
{{- $c := .Values.containers -}}
{{- $sockets := $c.sockets -}}
{{- $nested := $c.nestedSockets -}}
{{- range list .Values.detectors.execwhacker .Values.detectors.tcpflowkiller -}}
{{- $sockets = append $sockets .containerdHostPath -}}
{{- if has .dockerHostPath (list "/var/run/docker.sock" "/run/docker.sock") -}}
{{- $sockets = append $sockets .dockerHostPath -}}
{{- else -}}
{{- $nested = append $nested .dockerHostPath -}}
{{- end -}}
{{- end -}}
{{- $containers := dict "sockets" (compact $sockets | uniq) "nestedSockets" (compact $nested | uniq) -}}
{{- with $c.cgroupRoot -}}
{{- $_ := set $containers "cgroupRoot" . -}}
{{- end -}}
{{- $containers | mustToJson -}}
{{- end -}}

{{/* Directories of the rule files in the container. */}}
{{- define "cryptnono.rulePaths" -}}
{{- $e := .Values.detectors.execwhacker -}}
{{- $paths := list -}}
{{- if $e.configs -}}
{{- $paths = append $paths "/etc/cryptnono/rules/configs" -}}
{{- end -}}
{{- range $e.configMaps -}}
{{- $paths = append $paths (printf "/etc/cryptnono/rules/configmaps/%s" .) -}}
{{- end -}}
{{- range $name, $key := .Values.detectors.tcpflowkiller.bannedIpv4ConfigMaps -}}
{{- $paths = append $paths (printf "/etc/cryptnono/rules/addresses/%s" $name) -}}
{{- end -}}
{{- range $e.secrets -}}
{{- $paths = append $paths (printf "/etc/cryptnono/rules/secrets/%s" .) -}}
{{- end -}}
{{- $paths | mustToJson -}}
{{- end -}}
