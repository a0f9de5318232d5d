{{/* Names and labels. The labels of the DaemonSet's selector are those of earlier
versions, because an upgrade cannot change them. */}}
{{- define "cryptnono.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "cryptnono.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $full | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "cryptnono.selectorLabels" -}}
app.kubernetes.io/name: {{ include "cryptnono.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "cryptnono.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "cryptnono.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: cryptnono
{{- end -}}

{{- define "cryptnono.serviceAccountName" -}}
{{- $made := ternary (include "cryptnono.fullname" .) "default" .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default $made -}}
{{- end -}}

{{/* The class of the pods: one that exists, or the chart's own. It has the release's namespace in
its name, because classes have no namespace. */}}
{{- define "cryptnono.priorityClassName" -}}
{{- $own := ternary (printf "%s-%s" .Release.Namespace (include "cryptnono.fullname" .)) "" .Values.priorityClass.create -}}
{{- .Values.priorityClassName | default $own -}}
{{- end -}}

{{- define "cryptnono.image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion -}}
{{- printf "%s%s%s" .Values.image.repository (ternary "@" ":" (hasPrefix "sha256:" $tag)) $tag -}}
{{- end -}}

{{/* A text as part of the name of a Kubernetes object. If the text has to be changed
for that, its hash is appended, so that different texts give different names. */}}
{{- define "cryptnono.dnsName" -}}
{{- $name := regexReplaceAll "[^a-z0-9-]" (lower .) "-" | trunc 40 | trimAll "-" -}}
{{- if ne $name . -}}
{{- $name = printf "%s-%s" $name (sha256sum . | trunc 8) | trimPrefix "-" -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{- define "cryptnono.port" -}}
{{- int .Values.detectors.execwhacker.metrics.port -}}
{{- end -}}

{{/* The actions of the built-in rules: those of the groups, or true or false for all. */}}
{{- define "cryptnono.builtinActions" -}}
{{- $b := .Values.builtinRules -}}
{{- if kindIs "map" $b -}}
{{- values $b | mustToJson -}}
{{- else -}}
{{- list $b | mustToJson -}}
{{- end -}}
{{- end -}}

{{/* The action of the self-test's rule, which the chart has itself if the built-in one is
off, because helm test needs it. */}}
{{- define "cryptnono.selftestAction" -}}
{{- $b := .Values.builtinRules -}}
{{- $action := $b -}}
{{- if kindIs "map" $b -}}
{{- $action = get $b "selftest" -}}
{{- end -}}
{{- get (dict "false" "off" "observe" "observe" "off" "off") (toString $action) | default "kill" -}}
{{- end -}}

{{- define "cryptnono.selftestName" -}}
{{- include "cryptnono.fullname" . | trunc 54 | trimSuffix "-" }}-selftest
{{- end -}}

{{/* The label app.kubernetes.io/name of its pod. */}}
{{- define "cryptnono.selftestLabel" -}}
{{- include "cryptnono.name" . | trunc 54 | trimSuffix "-" }}-selftest
{{- end -}}

{{/* The metadata of the objects that give the self-test its rights. */}}
{{- define "cryptnono.selftestRights" }}
metadata:
  name: {{ include "cryptnono.selftestName" . }}
  labels:
    app.kubernetes.io/instance: {{ .Release.Name | quote }}
    app.kubernetes.io/managed-by: {{ .Release.Service }}
  annotations:
    helm.sh/hook: test
    helm.sh/hook-weight: "-1"
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{/* The result that the self-test expects for its process. */}}
{{- define "cryptnono.selftestExpects" -}}
{{- $observes := or (eq .Values.action "observe") (eq (include "cryptnono.selftestAction" .) "observe") -}}
{{- $exempt := has .Release.Namespace .Values.exemptions.namespaces -}}
{{- ternary "alive" "killed" (or $observes $exempt) -}}
{{- end -}}
