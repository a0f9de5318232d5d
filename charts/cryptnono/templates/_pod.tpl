{{/* The container's security context: the least that the agent needs, with the
values laid over it. `privileged: true`, the default of earlier versions, and
other capabilities than those below are left out; NOTES.txt says so. */}}
{{- define "cryptnono.securityContext" -}}
{{- $own := dict
  "runAsUser" 0
  "runAsGroup" 0
  "runAsNonRoot" false
  "allowPrivilegeEscalation" false
  "readOnlyRootFilesystem" true
  "seccompProfile" (dict "type" "RuntimeDefault")
-}}
{{- /* AppArmor's default profile keeps the agent from reading what other
programs' /proc says. An annotation says this before Kubernetes 1.30. */ -}}
{{- if include "cryptnono.hasAppArmorField" . -}}
{{- $_ := set $own "appArmorProfile" (dict "type" "Unconfined") -}}
{{- end -}}
{{- toYaml (mergeOverwrite $own (omit .Values.containerSecurityContext "privileged" "capabilities")) }}
# Added capabilities reach only a program that runs as user 0.
capabilities:
  drop:
    - ALL
  add:
    # Loads the programs and their tables into the kernel.
    - BPF
    # Attaches them to tracepoints, and lets them read the kernel's memory.
    - PERFMON
    # Kills what the kernel left to the agent: what runs already, or needs a look.
    - KILL
    # Reads program, arguments and root of any process, for the scan, for monero,
    # and for the runtimes' sockets.
    - SYS_PTRACE
    # Opens the sockets and files in there that belong to other users.
    - DAC_READ_SEARCH
    {{- with .Values.extraCapabilities }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{- define "cryptnono.hasAppArmorField" -}}
{{- if semverCompare ">=1.30-0" .Capabilities.KubeVersion.Version }}yes{{ end -}}
{{- end -}}

{{- define "cryptnono.podAnnotations" -}}
checksum/fixed-settings: {{ include "cryptnono.fixedSettings" . | sha256sum }}
{{- if not (include "cryptnono.hasAppArmorField" .) }}
container.apparmor.security.beta.kubernetes.io/cryptnono: unconfined
{{- end }}
{{- $collector := .Values.metrics.collector }}
{{- if and .Values.metrics.enabled $collector.enabled $collector.prometheusScrapeAnnotation }}
prometheus.io/scrape: "true"
prometheus.io/port: {{ include "cryptnono.port" . | quote }}
prometheus.io/path: /metrics
{{- end }}
{{- with .Values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Rules come as whole directories: a file that is mounted by subPath never
changes. */}}
{{- define "cryptnono.volumeMounts" -}}
- name: settings
  mountPath: /etc/cryptnono/settings
  readOnly: true
{{- $e := .Values.detectors.execwhacker }}
{{- if $e.configs }}
- name: configs
  mountPath: /etc/cryptnono/rules/configs
  readOnly: true
{{- end }}
{{- range $e.configMaps }}
- name: configmap-{{ include "cryptnono.dnsName" . }}
  mountPath: /etc/cryptnono/rules/configmaps/{{ . }}
  readOnly: true
{{- end }}
{{- range $e.secrets }}
- name: secret-{{ include "cryptnono.dnsName" . }}
  mountPath: /etc/cryptnono/rules/secrets/{{ . }}
  readOnly: true
{{- end }}
{{- end -}}

{{- define "cryptnono.volumes" -}}
{{- $full := include "cryptnono.fullname" . -}}
- name: settings
  configMap:
    name: {{ $full | quote }}
{{- $e := .Values.detectors.execwhacker }}
{{- with $e.configs }}
- name: configs
  projected:
    sources:
      {{- range $name, $rules := . }}
      - configMap:
          name: {{ $full }}-rules-{{ include "cryptnono.dnsName" $name }}
      {{- end }}
{{- end }}
{{- range $e.configMaps }}
- name: configmap-{{ include "cryptnono.dnsName" . }}
  configMap:
    name: {{ . | quote }}
{{- end }}
{{- range $e.secrets }}
- name: secret-{{ include "cryptnono.dnsName" . }}
  secret:
    secretName: {{ . | quote }}
    defaultMode: 0400
{{- end }}
{{- end -}}
