{{- /* The Pod that adds the user and role root and turns authentication on. It may run any number of times. */ -}}
{{- define "kamaji.etcd.initPod" -}}
metadata:
  labels:
    {{- include "kamaji.selectorLabels" (list . "etcd-init") | nindent 4 }}
spec:
  automountServiceAccountToken: false
  restartPolicy: OnFailure
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    seccompProfile:
      type: RuntimeDefault
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
  - name: etcd-init
    image: {{ include "kamaji.image" . | quote }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    args:
    - etcd-init
    - --endpoints={{ include "kamaji.etcd.endpoints" . | trim | splitList "\n" | join "," }}
    - --ca-file=/certs/ca.crt
    - --cert-file=/certs/tls.crt
    - --key-file=/certs/tls.key
    resources:
      requests:
        cpu: 10m
        memory: 16Mi
      limits:
        memory: 128Mi
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities:
        drop: [ALL]
    volumeMounts:
    - name: certs
      mountPath: /certs
      readOnly: true
  volumes:
  - name: certs
    secret:
      secretName: {{ include "kamaji.etcd.fullname" . }}-root-client-certs
      defaultMode: 288 # 0440
  {{- with (index .Values "kamaji-etcd").nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with (index .Values "kamaji-etcd").tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
