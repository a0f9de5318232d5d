{{/* The container's security context: the minimum that the agent needs, merged with the
values. `privileged` and `capabilities` of the values are ignored, because earlier
versions had `privileged: true` by default; NOTES.txt reports that. */}}
{{- define "cryptnono.securityContext" -}}
{{- $own := dict
  "runAsUser" 0
  "runAsGroup" 0
  "runAsNonRoot" false
  "allowPrivilegeEscalation" false
  "readOnlyRootFilesystem" true
  "seccompProfile" (dict "type" "RuntimeDefault")
-}}
{{- /* AppArmor's default profile blocks reading /proc of other programs. Before
Kubernetes 1.30, an annotation sets the profile. */ -}}
{{- if include "cryptnono.hasAppArmorField" . -}}
{{- $_ := set $own "appArmorProfile" (dict "type" "Unconfined") -}}
{{- end -}}
{{- toYaml (mergeOverwrite $own (omit .Values.containerSecurityContext "privileged" "capabilities")) }}
# Kubernetes gives added capabilities only to user 0.
capabilities:
  drop:
    - ALL
  add:
    # Load BPF programs and maps.
    - BPF
    # Attach them to tracepoints, and let them read kernel memory.
    - PERFMON
    # Kill running processes, and those whose verdict the kernel left to the agent.
    - KILL
    # Read the program, arguments and root directory of any process: for scans, for
    # monero, and to reach the sockets of container runtimes.
    - SYS_PTRACE
    # Open sockets and files there that belong to other users.
    - DAC_READ_SEARCH
    {{- if .Values.detectors.tcpflowkiller.enabled }}
    # Attach programs to the root cgroup that refuse connections.
    - NET_ADMIN
    {{- end }}
    {{- if .Values.detectors.hashwork.enabled }}
    # Open the files that processes execute, also if they were deleted.
    - CHECKPOINT_RESTORE
    {{- end }}
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

{{/* The directory of the host with the BPF file system, if it is needed. */}}
{{- define "cryptnono.bpffs" -}}
{{- with .Values.pins }}{{ dir . }}{{ else }}{{ if .Values.unpin }}/sys/fs/bpf{{ end }}{{ end -}}
{{- end -}}

{{/* Two agents cannot use the same pins, and the pins protect while there is none: so the old pod
ends before the new one starts. */}}
{{- define "cryptnono.updateStrategy" -}}
{{- $s := .Values.updateStrategy -}}
{{- with $s.rollingUpdate -}}
{{- if and (or $.Values.pins $.Values.unpin) (not (has (toString .maxSurge) (list "" "0" "0%" "<nil>"))) -}}
{{- $s = dict "type" $s.type "rollingUpdate" (dict "maxSurge" 0 "maxUnavailable" .maxSurge) -}}
{{- end -}}
{{- end -}}
{{- toYaml $s -}}
{{- end -}}

{{/* Rules are mounted as directories: a file that is mounted by subPath is never
updated. */}}
{{- define "cryptnono.volumeMounts" -}}
- name: settings
  mountPath: /etc/cryptnono/settings
  readOnly: true
{{- if .Values.detectors.hashwork.enabled }}
# For the socket of `cryptnono learned`.
- name: run
  mountPath: /run/cryptnono
{{- end }}
{{- with include "cryptnono.bpffs" . }}
- name: bpffs
  mountPath: {{ . | quote }}
{{- end }}
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
{{- range $name, $key := .Values.detectors.tcpflowkiller.bannedIpv4ConfigMaps }}
- name: addresses-{{ include "cryptnono.dnsName" $name }}
  mountPath: /etc/cryptnono/rules/addresses/{{ $name }}
  readOnly: true
{{- end }}
{{- if .Values.metrics.tokenSecret }}
- name: token
  mountPath: /etc/cryptnono/token
  readOnly: true
{{- end }}
{{- range .Values.notifySecrets }}
- name: notify-{{ include "cryptnono.dnsName" . }}
  mountPath: /etc/cryptnono/notify/{{ . }}
  readOnly: true
{{- end }}
{{- range $e.secrets }}
- name: secret-{{ include "cryptnono.dnsName" . }}
  mountPath: /etc/cryptnono/rules/secrets/{{ . }}
  readOnly: true
{{- end }}
{{- end -}}

{{/* Rules, and the token of clients, are optional: a node whose agent cannot start because one is missing would be open.
The agent reports a directory without rules. */}}
{{- define "cryptnono.volumes" -}}
{{- $full := include "cryptnono.fullname" . -}}
- name: settings
  configMap:
    name: {{ $full | quote }}
{{- if .Values.detectors.hashwork.enabled }}
- name: run
  emptyDir:
    medium: Memory
    sizeLimit: 1Mi
{{- end }}
{{- with include "cryptnono.bpffs" . }}
- name: bpffs
  hostPath:
    path: {{ . | quote }}
    type: Directory
{{- end }}
{{- $e := .Values.detectors.execwhacker }}
{{- with $e.configs }}
- name: configs
  projected:
    sources:
      {{- range $name, $rules := . }}
      - configMap:
          name: {{ $full }}-rules-{{ include "cryptnono.dnsName" $name }}
          optional: true
      {{- end }}
{{- end }}
{{- range $e.configMaps }}
- name: configmap-{{ include "cryptnono.dnsName" . }}
  configMap:
    name: {{ . | quote }}
    optional: true
{{- end }}
{{- range $name, $key := .Values.detectors.tcpflowkiller.bannedIpv4ConfigMaps }}
- name: addresses-{{ include "cryptnono.dnsName" $name }}
  configMap:
    name: {{ $name | quote }}
    optional: true
    items:
      - key: {{ $key | quote }}
        path: {{ printf "%s.addresses" $key | quote }}
{{- end }}
{{- with .Values.metrics.tokenSecret }}
- name: token
  secret:
    secretName: {{ . | quote }}
    optional: true
    defaultMode: 0400
{{- end }}
{{- range .Values.notifySecrets }}
- name: notify-{{ include "cryptnono.dnsName" . }}
  secret:
    secretName: {{ . | quote }}
    defaultMode: 0400
{{- end }}
{{- range $e.secrets }}
- name: secret-{{ include "cryptnono.dnsName" . }}
  secret:
    secretName: {{ . | quote }}
    optional: true
    defaultMode: 0400
{{- end }}
{{- end -}}
