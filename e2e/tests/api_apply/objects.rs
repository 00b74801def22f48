//! One rich object of each kind that the tests apply.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service},
    rbac::v1::ClusterRoleBinding,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(crate) fn typed<K: DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).expect("the object fits its kind")
}

pub(crate) fn secret(namespace: &str) -> Secret {
    typed(json!({
        "metadata": { "name": "ca", "namespace": namespace, "labels": { "app": "blue" },
            "annotations": { "note": "1000m" },
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Namespace", "name": "blue", "uid": "a-b-c",
                "controller": true, "blockOwnerDeletion": true }] },
        "type": "Opaque",
        "data": { "ca.crt": "Q0VSVA==", "ca.key": "S0VZ", "empty": "" },
    }))
}

pub(crate) fn config_map(namespace: &str) -> ConfigMap {
    typed(json!({
        "metadata": { "name": "settings", "namespace": namespace, "finalizers": ["test.kamaji/one"] },
        "data": { "limits": "1000m", "sizeLimit": "1024Mi", "text": "a\nb\n" },
        "binaryData": { "bytes": "AAEC" },
    }))
}

pub(crate) fn service(namespace: &str) -> Service {
    typed(json!({
        "metadata": { "name": "blue", "namespace": namespace, "labels": {}, "annotations": { "a.b/c_d": "x" } },
        "spec": {
            "type": "LoadBalancer",
            "selector": { "app": "blue", "tier": "api" },
            "loadBalancerSourceRanges": ["10.0.0.0/8"],
            "ports": [
                { "name": "api", "port": 6443, "targetPort": 6443 },
                { "name": "dns", "port": 53, "targetPort": "dns", "protocol": "UDP" },
                { "name": "dns-tcp", "port": 53, "targetPort": "dns-tcp" },
            ],
        },
    }))
}

pub(crate) fn role_binding(name: &str) -> ClusterRoleBinding {
    typed(json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view" },
        "subjects": [
            { "kind": "ServiceAccount", "name": "blue", "namespace": "default" },
            { "kind": "Group", "name": "people" },
        ],
    }))
}

pub(crate) fn deployment(namespace: &str) -> Deployment {
    typed(json!({
        "metadata": { "name": "blue", "namespace": namespace, "labels": { "app": "blue", "tier": "api" } },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": { "app": "blue" } },
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "100%", "maxUnavailable": 0 } },
            "template": {
                "metadata": { "labels": { "app": "blue" }, "annotations": { "checksum": "0" } },
                "spec": pod(),
            },
        },
    }))
}

fn pod() -> Value {
    json!({
        "automountServiceAccountToken": false,
        "hostNetwork": false,
        "enableServiceLinks": false,
        "nodeSelector": { "disk": "fast" },
        "priorityClassName": "system-cluster-critical",
        "securityContext": { "runAsNonRoot": true, "fsGroup": 65532, "seccompProfile": { "type": "RuntimeDefault" } },
        "tolerations": [{ "key": "control-plane", "operator": "Exists", "effect": "NoSchedule" }],
        "topologySpreadConstraints": [{ "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": { "app": "blue" } } }],
        "affinity": { "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [{
            "weight": 100,
            "podAffinityTerm": { "topologyKey": "host", "labelSelector": { "matchLabels": { "app": "blue" } } },
        }] } },
        "hostAliases": [{ "ip": "10.0.0.1", "hostnames": ["a", "b"] }],
        "initContainers": [{ "name": "wait", "image": "pause:1", "args": [] }],
        "containers": [server(), { "name": "sidecar", "image": "pause:1", "resources": {} }],
        "volumes": [
            { "name": "scratch", "emptyDir": { "sizeLimit": "1024Mi" } },
            { "name": "plain", "emptyDir": {} },
            { "name": "pki", "projected": { "defaultMode": 288, "sources": [
                { "secret": { "name": "ca", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
                { "serviceAccountToken": { "path": "token" } },
                { "downwardAPI": { "items": [{ "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } }] } },
            ] } },
            { "name": "settings", "configMap": { "name": "settings", "optional": true } },
        ],
    })
}

fn server() -> Value {
    let probe = |path: &str| {
        json!({ "httpGet": { "path": path, "port": 6443, "scheme": "HTTPS",
            "httpHeaders": [{ "name": "Host", "value": "x" }] }, "periodSeconds": 1, "failureThreshold": 60 })
    };
    json!({
        "name": "server",
        "image": "kube-apiserver:v1.34.4",
        "imagePullPolicy": "IfNotPresent",
        "command": ["kube-apiserver"],
        "args": ["--secure-port=6443", "--v=1"],
        "env": [
            { "name": "A", "value": "1000m" },
            { "name": "B", "value": "" },
            { "name": "POD_IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } },
            { "name": "CPU", "valueFrom": { "resourceFieldRef": { "resource": "limits.cpu" } } },
            { "name": "PASSWORD", "valueFrom": { "secretKeyRef": { "name": "ca", "key": "ca.key" } } },
        ],
        "envFrom": [{ "configMapRef": { "name": "settings" } }],
        "ports": [
            { "containerPort": 6443 },
            { "containerPort": 53, "protocol": "UDP", "name": "dns" },
            { "containerPort": 53, "name": "dns-tcp" },
        ],
        "resources": { "requests": { "cpu": "0.5", "memory": "1024Mi" }, "limits": { "cpu": "1000m", "memory": "1.5Gi" } },
        "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
        "startupProbe": probe("/livez"),
        "readinessProbe": probe("/readyz"),
        "volumeMounts": [
            { "name": "pki", "mountPath": "/etc/kubernetes/pki", "readOnly": true },
            { "name": "scratch", "mountPath": "/tmp", "readOnly": false, "subPath": "" },
        ],
    })
}
