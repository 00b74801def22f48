{{- /* What the definitions carry beside their names. They outlive the release: with them every tenant would go. */ -}}
{{- define "kamaji-crds.metadata" -}}
annotations:
  helm.sh/resource-policy: keep
labels:
  app.kubernetes.io/component: crds
  app.kubernetes.io/instance: {{ default .Release.Name .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
  app.kubernetes.io/managed-by: {{ .Release.Service }}
  app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
  app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
  helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}
