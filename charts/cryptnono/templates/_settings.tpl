{{/* The settings file: docs/configuration.md. JSON, since it leaves no doubt
about what is text and what is a number. */}}
{{- define "cryptnono.settings" -}}
{{- $v := .Values -}}
{{- $e := $v.detectors.execwhacker -}}
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
  "killLimit" $v.killLimit
-}}
{{- merge $settings (include "cryptnono.detectors" . | fromJson) (include "cryptnono.fixedSettings" . | fromJson) | mustToPrettyJson -}}
{{- end -}}

{{/* The settings of each detector: all of its values, except those that only the chart
has or that are of earlier versions. */}}
{{- define "cryptnono.detectors" -}}
{{- $notSettings := dict
  "execwhacker" (list "configs" "configMaps" "secrets" "env" "debug" "metrics" "containerdHostPath" "dockerHostPath" "resources" "threadpoolSize")
  "monero" (list "resources")
-}}
{{- $detectors := dict -}}
{{- range $name, $values := omit .Values.detectors "tcpflowkiller" -}}
{{- $settings := deepCopy $values -}}
{{- range get $notSettings $name | default list -}}
{{- $_ := unset $settings . -}}
{{- end -}}
{{- $_ := set $detectors $name $settings -}}
{{- end -}}
{{- $detectors | mustToJson -}}
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
  "nestedSockets" (concat $c.nestedSockets (compact (list (ternary "" $e.dockerHostPath $ofHost))) | uniq)
-}}
{{- with $c.cgroupRoot -}}
{{- $_ := set $containers "cgroupRoot" . -}}
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
