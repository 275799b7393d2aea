{{- define "connscope.labels" -}}
app.kubernetes.io/name: connscope
app.kubernetes.io/part-of: connscope
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "connscope.config" -}}
{{- if .Values.config }}
{{- .Values.config }}
{{- else if not (or .Values.containers.enabled .Values.drops.enabled) -}}
# The Collector of the node; OTEL_EXPORTER_OTLP_ENDPOINT of the DaemonSet goes over this.
export:
  otlp: {endpoint: "http://localhost:4317", interval: 30s, compression: zstd}
sources:
  conntrack: {via: netlink}
{{ else -}}
export:
  otlp: {endpoint: "http://localhost:4317", interval: 30s, compression: zstd}
{{- if .Values.containers.enabled }}
# The files of the node, as far as they are mounted.
inventory: {root: /host}
{{- end }}
sources:
  conntrack: {via: netlink}
{{- if .Values.drops.enabled }}
  network: {drops: true}
{{- end }}
{{- if .Values.containers.enabled }}
  containers: {enabled: true}
{{- end }}
{{- if .Values.logs.enabled }}
  # Files that containers have open would take SYS_PTRACE (docs/logs.md).
  logs: {enabled: true, docker: false, files: false}
{{- end }}
{{ end }}
{{- end }}
