{{- define "kamaji.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* The release's name, with the chart's in it. */ -}}
{{- define "kamaji.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "kamaji.serviceAccountName" -}}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}

{{- define "kamaji.image" -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}

{{- /* The number in an address such as ":8080". */ -}}
{{- define "kamaji.port" -}}
{{- splitList ":" . | last }}
{{- end }}

{{- /* Labels that never change, for selectors. Takes a list: the root and the component. */ -}}
{{- define "kamaji.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/name: {{ include "kamaji.name" $root }}
{{- end }}

{{- /* Labels of every object. Takes a list: the root and the component. */ -}}
{{- define "kamaji.labels" -}}
{{- $root := index . 0 -}}
{{ include "kamaji.selectorLabels" . }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* The embedded etcd. */ -}}
{{- define "kamaji.etcd.fullname" -}}
{{- (index .Values "kamaji-etcd").fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "kamaji.etcd.domain" -}}
{{- printf "%s.%s.svc.%s" (include "kamaji.etcd.fullname" .) .Release.Namespace (index .Values "kamaji-etcd").clusterDomain }}
{{- end }}

{{- /* Addresses of the members, host:port, one a line. */ -}}
{{- define "kamaji.etcd.endpoints" -}}
{{- $root := . -}}
{{- range $member := until (int (index .Values "kamaji-etcd").replicas) }}
{{ printf "%s-%d.%s:2379" (include "kamaji.etcd.fullname" $root) $member (include "kamaji.etcd.domain" $root) }}
{{- end }}
{{- end }}

{{- /* "true" if etcd keeps its data in a claim. What was installed stays; without a cluster to ask, "auto" means a claim. */ -}}
{{- define "kamaji.etcd.claimed" -}}
{{- $persistence := (index .Values "kamaji-etcd").persistence }}
{{- if kindIs "bool" $persistence.enabled }}
{{- if $persistence.enabled }}true{{ end }}
{{- else }}
{{- $installed := lookup "apps/v1" "StatefulSet" .Release.Namespace (include "kamaji.etcd.fullname" .) }}
{{- if $installed }}
{{- if $installed.spec.volumeClaimTemplates }}true{{ end }}
{{- else if or $persistence.storageClassName (not (lookup "v1" "Namespace" "" "kube-system")) }}true
{{- else }}
{{- range (lookup "storage.k8s.io/v1" "StorageClass" "" "").items }}
{{- if eq "true" (index (.metadata.annotations | default dict) "storageclass.kubernetes.io/is-default-class" | default "") }}true{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
