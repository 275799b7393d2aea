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
{{- else if .Values.logs.enabled -}}
export:
  otlp: {endpoint: "http://localhost:4317", interval: 30s, compression: zstd}
# The files of the node, as far as they are mounted.
inventory: {root: /host}
sources:
  conntrack: {via: netlink}
  containers: {enabled: true}
  # Files that containers have open would take SYS_PTRACE (docs/logs.md).
  logs: {enabled: true, docker: false, files: false}
{{ else if .Values.containers.enabled -}}
export:
  otlp: {endpoint: "http://localhost:4317", interval: 30s, compression: zstd}
# The files of the node, as far as they are mounted.
inventory: {root: /host}
sources:
  conntrack: {via: netlink}
  containers: {enabled: true}
{{ else -}}
# The Collector of the node; OTEL_EXPORTER_OTLP_ENDPOINT of the DaemonSet goes over this.
export:
  otlp: {endpoint: "http://localhost:4317", interval: 30s, compression: zstd}
sources:
  conntrack: {via: netlink}
{{ end }}
{{- end }}
