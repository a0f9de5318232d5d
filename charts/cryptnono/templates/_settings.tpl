{{/* The settings file: docs/configuration.md. JSON, since it leaves no doubt
about what is text and what is a number. */}}
{{- define "cryptnono.settings" -}}
{{- $v := .Values -}}
{{- $e := $v.detectors.execwhacker -}}
{{- $m := $v.detectors.monero -}}
{{- $rules := include "cryptnono.rulePaths" . | fromJsonArray -}}
{{- if not $v.builtinRules -}}
{{- $rules = append $rules "/etc/cryptnono/settings/selftest.json" -}}
{{- end -}}
{{- $settings := dict
  "rules" $rules
  "builtinRules" $v.builtinRules
  "action" $v.action
  "scanInterval" $v.scanInterval
  "listen" (printf ":%s" (include "cryptnono.port" .))
  "logLevel" (ternary "debug" $v.logLevel $e.debug)
  "logEnv" $v.logEnv
  "exemptions" $v.exemptions
  "brake" $v.brake
  "execwhacker" (dict "enabled" $e.enabled)
  "monero" (dict "enabled" $m.enabled "action" $m.action "killUncorroborated" $m.killUncorroborated "thresholds" $m.thresholds)
-}}
{{- with include "cryptnono.sockets" . | fromJsonArray -}}
{{- $_ := set $settings "containers" (dict "sockets" .) -}}
{{- end -}}
{{- $settings | mustToPrettyJson -}}
{{- end -}}

{{/* Where the rule files are in the container. */}}
{{- define "cryptnono.rulePaths" -}}
{{- $e := .Values.detectors.execwhacker -}}
{{- $paths := list -}}
{{- if $e.configs -}}
{{- $paths = append $paths "/etc/cryptnono/rules/configs" -}}
{{- end -}}
{{- range $e.configMaps -}}
{{- $paths = append $paths (printf "/etc/cryptnono/rules/configmaps/%s" .) -}}
{{- end -}}
{{- range $e.secrets -}}
{{- $paths = append $paths (printf "/etc/cryptnono/rules/secrets/%s" .) -}}
{{- end -}}
{{- $paths | mustToJson -}}
{{- end -}}

{{/* The sockets to ask: those of the values, and the two of earlier versions. */}}
{{- define "cryptnono.sockets" -}}
{{- $e := .Values.detectors.execwhacker -}}
{{- concat .Values.containers.sockets (compact (list $e.containerdHostPath $e.dockerHostPath)) | uniq | mustToJson -}}
{{- end -}}
