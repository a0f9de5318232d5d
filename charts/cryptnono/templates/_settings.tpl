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
  "logLevel" (ternary "debug" $v.logLevel $e.debug)
  "logEnv" $v.logEnv
  "exemptions" $v.exemptions
  "brake" $v.brake
  "execwhacker" (dict "enabled" $e.enabled)
  "monero" (dict "enabled" $m.enabled "action" $m.action "killUncorroborated" $m.killUncorroborated "thresholds" $m.thresholds)
-}}
{{- merge $settings (include "cryptnono.fixedSettings" . | fromJson) | mustToPrettyJson -}}
{{- end -}}

{{/* Those that an agent cannot change while it runs. A sum of them is in the pod
template, so that new ones replace the pods. */}}
{{- define "cryptnono.fixedSettings" -}}
{{- dict
  "listen" (printf ":%s" (include "cryptnono.port" .))
  "containers" (include "cryptnono.containers" . | fromJson)
  | mustToJson -}}
{{- end -}}

{{/* The runtimes besides those that the agent knows: those of the values, and the
two of earlier versions. Docker was most often one in a pod, for BinderHub; to take
the host's for one of those costs nothing but the names of pods, and the reverse
would trust it with them. */}}
{{- define "cryptnono.containers" -}}
{{- $e := .Values.detectors.execwhacker -}}
{{- $c := .Values.containers -}}
{{- $ofHost := has $e.dockerHostPath (list "/var/run/docker.sock" "/run/docker.sock") -}}
{{- $containers := dict
  "sockets" (concat $c.sockets (compact (list $e.containerdHostPath (ternary $e.dockerHostPath "" $ofHost))) | uniq)
  "innerSockets" (concat $c.innerSockets (compact (list (ternary "" $e.dockerHostPath $ofHost))) | uniq)
-}}
{{- with $c.cgroupBase -}}
{{- $_ := set $containers "cgroupBase" . -}}
{{- end -}}
{{- $containers | mustToJson -}}
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
