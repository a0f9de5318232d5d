{{/* Values that the schema cannot refuse. */}}
{{- define "cryptnono.check" -}}
{{- $e := .Values.detectors.execwhacker -}}
{{- $enabled := false -}}
{{- range include "cryptnono.detectors" . | fromJson -}}
{{- $enabled = or $enabled .enabled -}}
{{- end -}}
{{- if not $enabled -}}
{{- fail "detectors: none is enabled" -}}
{{- end -}}
{{- if and .Values.pins .Values.unpin -}}
{{- fail "pins and unpin: one keeps what the other removes" -}}
{{- end -}}
{{- $builtin := false -}}
{{- range include "cryptnono.builtinActions" . | fromJsonArray -}}
{{- $builtin = or $builtin (not (has (toString .) (list "off" "false"))) -}}
{{- end -}}
{{- if and $e.enabled (not $builtin) (not (or $e.configs $e.configMaps $e.secrets)) -}}
{{- fail "builtinRules are off, and detectors.execwhacker has no configs, configMaps or secrets: it has no rules" -}}
{{- end -}}
{{- $names := dict -}}
{{- range .Values.notify.receivers -}}
{{- $name := required "notify.receivers: one has no name" .name -}}
{{- if eq (empty .url) (empty .urlFile) -}}
{{- fail (printf "notify.receivers: %s needs either url or urlFile" $name) -}}
{{- end -}}
{{- if hasKey $names $name -}}
{{- fail (printf "notify.receivers: two are named %s" $name) -}}
{{- end -}}
{{- $_ := set $names $name true -}}
{{- end -}}
{{- range $name, $rules := $e.configs -}}
{{- range $key := list "allowedCommandPatterns" "bannedCommandPatterns" "bannedCommandCombinations" -}}
{{- range $i, $one := get $rules $key | default list -}}
{{- range $expr := ternary (list $one) $one (kindIs "string" $one) -}}
{{- include "cryptnono.checkExpression" (dict "place" (printf "%s.%s[%d]" $name $key $i) "expr" $expr) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $part, $exprs := $rules.commandParts -}}
{{- range $i, $expr := $exprs -}}
{{- include "cryptnono.checkExpression" (dict "place" (printf "%s.commandParts.%s[%d]" $name $part $i) "expr" $expr) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- /* Protection that earlier versions had is not lost without a word. */ -}}
{{- $t := .Values.detectors.tcpflowkiller -}}
{{- $old := ($t.config).FlowKiller | default dict -}}
{{- if and $t.enabled $old.banned_ipv4_file_globs (not $t.bannedIpv4ConfigMaps) -}}
{{- fail "detectors.tcpflowkiller.config.FlowKiller.banned_ipv4_file_globs names files that this version does not read: list their ConfigMaps in bannedIpv4ConfigMaps, or write the addresses as bannedAddresses into a rule file" -}}
{{- end -}}
{{- if and $t.enabled (gt (int $old.unique_destinations_threshold) 250) -}}
{{- fail "detectors.tcpflowkiller.config.FlowKiller.unique_destinations_threshold can be at most 250: lower it, or remove it, if detectors.tcpflowkiller.scan is enough" -}}
{{- end -}}
{{- range $name := list "podMonitor" "serviceMonitor" "prometheusRule" "grafanaDashboard" -}}
{{- if and (index $.Values.metrics $name).enabled (not $.Values.metrics.enabled) -}}
{{- fail (printf "metrics.%s.enabled needs metrics.enabled as well" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Helm's expressions are those of the agent, RE2. The first alternative matches unless the
whole cannot be parsed. */}}
{{- define "cryptnono.checkExpression" -}}
{{- if not (regexMatch (printf "^|%s" .expr) "") -}}
{{- fail (printf "detectors.execwhacker.configs.%s: not a regular expression (RE2): %s" .place .expr) -}}
{{- end -}}
{{- end -}}

{{/* With --reuse-values, Helm takes the default values of the chart that was installed, so
those that this one adds are missing. The template that Helm renders first includes it. */}}
{{- define "cryptnono.checkDefaults" -}}
{{- range list "builtinRules" "checkRules" "containers" "escalation" "evidence" "exemptions" "image" "killLimit" "metrics" "networkPolicy" "notify" "priorityClass" "serviceAccount" -}}
{{- if not (hasKey $.Values .) -}}
{{- fail (printf "the value %s is missing, which this version of the chart adds: use --reset-then-reuse-values in place of --reuse-values, or -f with your values" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
