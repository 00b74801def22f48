//! What each field of a spec does to the Deployment, one by one.
//!
//! A Pod template that changes without a change of the spec restarts every tenant when the operator is replaced by a newer
//! one. Nothing here may therefore change unless that is meant, and then the changelog says so.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::golden::without_checksums;
use crate::scenario::{clock, now, within};

#[test]
fn what_each_field_changes() {
    let deployment =
        |spec| without_checksums(json!(within("pinned", spec).ground().build(clock(now())).deployment));
    let (smallest, tunnelled) =
        (deployment(json!({})), deployment(json!({ "addons": { "konnectivity": {} } })));
    let changes: BTreeMap<&str, Vec<String>> = specs()
        .into_iter()
        .map(|(name, spec)| {
            let is_of_tunnel = spec.pointer("/addons/konnectivity").is_some_and(|wish| *wish != json!({}));
            let before = if is_of_tunnel { &tunnelled } else { &smallest };
            let mut found = Vec::new();
            differences("", before, &deployment(spec), &mut found);
            (name, found)
        })
        .collect();
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_yaml_snapshot!("pins", changes);
    });
}

/// One line for each value that is only on one side: items of a list are told apart by their names, or by their text.
fn differences(path: &str, before: &Value, after: &Value, found: &mut Vec<String>) {
    if before == after {
        return;
    }
    let (Some(old), Some(new)) = (parts(before), parts(after)) else {
        found.extend((!before.is_null()).then(|| format!("- {path}: {before}")));
        found.extend((!after.is_null()).then(|| format!("+ {path}: {after}")));
        return;
    };
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let part = |of: &BTreeMap<String, Value>| of.get(name).cloned().unwrap_or_default();
        differences(&format!("{path}/{name}"), &part(&old), &part(&new), found);
    }
}

fn parts(value: &Value) -> Option<BTreeMap<String, Value>> {
    let named = |item: &Value| item["name"].as_str().or_else(|| item.as_str()).map(str::to_owned);
    match value {
        Value::Object(fields) => Some(fields.clone().into_iter().collect()),
        Value::Array(items) => items.iter().map(|item| Some((named(item)?, item.clone()))).collect(),
        _ => None,
    }
}

/// Specs as merge patches (RFC 7386) of the smallest one.
fn specs() -> Vec<(&'static str, Value)> {
    let deployment = |wish: Value| json!({ "controlPlane": { "deployment": wish } });
    let kubernetes = |wish: Value| json!({ "kubernetes": wish });
    let network = |wish: Value| json!({ "networkProfile": wish });
    let konnectivity = |wish: Value| json!({ "addons": { "konnectivity": wish } });
    let resources = json!({ "requests": { "cpu": "250m" }, "limits": { "memory": "1Gi" } });
    let container = json!([{ "name": "beside", "image": "busybox:1" }]);
    let mount = json!([{ "name": "own", "mountPath": "/own" }]);
    let probe = json!({ "periodSeconds": 7, "failureThreshold": 9 });
    vec![
        // The version decides which flags the programs know.
        ("1.30", kubernetes(json!({ "version": "v1.30.14" }))),
        ("1.31", kubernetes(json!({ "version": "v1.31.13" }))),
        ("1.32", kubernetes(json!({ "version": "v1.32.9" }))),
        ("1.33", kubernetes(json!({ "version": "v1.33.5" }))),
        ("1.35", kubernetes(json!({ "version": "v1.35.4" }))),
        ("1.35 as 1.34", kubernetes(json!({ "version": "v1.35.4", "emulatedVersion": "v1.34.4" }))),
        ("1.36", kubernetes(json!({ "version": "v1.36.0" }))),
        ("no admission plugins of its own", kubernetes(json!({ "admissionControllers": [] }))),
        ("one admission plugin", kubernetes(json!({ "admissionControllers": ["PodSecurity"] }))),
        (
            "address types of kubelets",
            kubernetes(json!({ "kubelet": { "preferredAddressTypes": ["InternalIP"] } })),
        ),
        ("cgroupfs", kubernetes(json!({ "kubelet": { "cgroupfs": "cgroupfs" } }))),
        ("asleep", deployment(json!({ "replicas": 0 }))),
        ("two replicas", deployment(json!({ "replicas": 2 }))),
        ("five replicas", deployment(json!({ "replicas": 5 }))),
        ("registry", deployment(json!({ "registrySettings": { "registry": "example.com/k8s" } }))),
        ("suffix of tags", deployment(json!({ "registrySettings": { "tagSuffix": "-fips" } }))),
        ("image of the API server", deployment(json!({ "registrySettings": { "apiServerImage": "mine" } }))),
        (
            "image of the controller manager",
            deployment(json!({ "registrySettings": { "controllerManagerImage": "mine" } })),
        ),
        ("image of the scheduler", deployment(json!({ "registrySettings": { "schedulerImage": "mine" } }))),
        ("node selector", deployment(json!({ "nodeSelector": { "pool": "planes" } }))),
        ("toleration", deployment(json!({ "tolerations": [{ "key": "planes", "operator": "Exists" }] }))),
        ("affinity", deployment(json!({ "affinity": { "podAntiAffinity": {} } }))),
        (
            "spread",
            deployment(json!({ "topologySpreadConstraints": [
                { "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule" }
            ] })),
        ),
        ("runtime class", deployment(json!({ "runtimeClassName": "gvisor" }))),
        ("recreate", deployment(json!({ "strategy": { "type": "Recreate" } }))),
        (
            "rolling update",
            deployment(
                json!({ "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1 } } }),
            ),
        ),
        ("resources of the API server", deployment(json!({ "resources": { "apiServer": resources } }))),
        (
            "resources of the controller manager",
            deployment(json!({ "resources": { "controllerManager": resources } })),
        ),
        ("resources of the scheduler", deployment(json!({ "resources": { "scheduler": resources } }))),
        (
            "arguments of the API server",
            deployment(json!({ "extraArgs": { "apiServer": ["--v=4", "--audit-log-path=-"] } })),
        ),
        (
            "arguments of the controller manager",
            deployment(json!({ "extraArgs": { "controllerManager": ["--v=4"] } })),
        ),
        ("arguments of the scheduler", deployment(json!({ "extraArgs": { "scheduler": ["--v=4"] } }))),
        (
            "metadata of the Deployment",
            deployment(
                json!({ "additionalMetadata": { "labels": { "a": "b" }, "annotations": { "c": "d" } } }),
            ),
        ),
        (
            "metadata of Pods",
            deployment(
                json!({ "podAdditionalMetadata": { "labels": { "a": "b" }, "annotations": { "c": "d" } } }),
            ),
        ),
        ("init container", deployment(json!({ "additionalInitContainers": container }))),
        ("container", deployment(json!({ "additionalContainers": container }))),
        ("volume", deployment(json!({ "additionalVolumes": [{ "name": "own", "emptyDir": {} }] }))),
        ("mount of the API server", deployment(json!({ "additionalVolumeMounts": { "apiServer": mount } }))),
        (
            "mount of the controller manager",
            deployment(json!({ "additionalVolumeMounts": { "controllerManager": mount } })),
        ),
        ("mount of the scheduler", deployment(json!({ "additionalVolumeMounts": { "scheduler": mount } }))),
        ("liveness of all", deployment(json!({ "probes": { "liveness": probe } }))),
        ("readiness of all", deployment(json!({ "probes": { "readiness": probe } }))),
        ("startup of all", deployment(json!({ "probes": { "startup": probe } }))),
        (
            "liveness of the API server",
            deployment(json!({ "probes": { "apiServer": { "liveness": probe } } })),
        ),
        (
            "readiness of the scheduler",
            deployment(json!({ "probes": { "scheduler": { "readiness": probe } } })),
        ),
        (
            "startup of the controller manager",
            deployment(json!({ "probes": { "controllerManager": { "startup": probe } } })),
        ),
        ("service account", deployment(json!({ "serviceAccountName": "planes" }))),
        ("token", deployment(json!({ "automountServiceAccountToken": true }))),
        (
            "security of the API server",
            deployment(json!({ "containerSecurityContexts": { "apiServer": { "runAsUser": 7 } } })),
        ),
        (
            "security of the controller manager",
            deployment(json!({ "containerSecurityContexts": { "controllerManager": { "runAsUser": 7 } } })),
        ),
        (
            "security of the scheduler",
            deployment(json!({ "containerSecurityContexts": { "scheduler": { "runAsUser": 7 } } })),
        ),
        ("security of Pods", deployment(json!({ "podSecurityContext": { "fsGroup": 7 } }))),
        ("port", network(json!({ "port": 8443 }))),
        ("address", network(json!({ "address": "192.0.2.7" }))),
        ("advertised address", network(json!({ "advertiseAddress": "203.0.113.4" }))),
        ("cluster domain", network(json!({ "clusterDomain": "blue.example.org" }))),
        ("names in the certificate", network(json!({ "certSANs": ["blue.example.com"] }))),
        ("range of services", network(json!({ "serviceCidr": "10.32.0.0/16" }))),
        ("range of Pods", network(json!({ "podCidr": "10.33.0.0/16" }))),
        ("IPv6", network(json!({ "serviceCidr": "fd00:96::/108", "podCidr": "fd00:244::/56" }))),
        (
            "dual stack",
            network(json!({
                "serviceCidrs": ["10.96.0.0/16", "fd00:96::/108"], "podCidrs": ["10.244.0.0/16", "fd00:244::/56"],
            })),
        ),
        (
            "node port",
            json!({ "controlPlane": { "service": { "serviceType": "NodePort" } }, "networkProfile": { "address": "192.0.2.7", "port": 30443 } }),
        ),
        ("account", json!({ "dataStoreSchema": "blue_data", "dataStoreUsername": "blue-user" })),
        ("limited writes", json!({ "writePermissions": { "blockCreation": true } })),
        ("DNS", json!({ "addons": { "coreDNS": {}, "kubeProxy": {} } })),
        ("overrides", json!({ "dataStoreOverrides": [{ "resource": "/events", "dataStore": "events" }] })),
        ("konnectivity", konnectivity(json!({}))),
        ("port of konnectivity", konnectivity(json!({ "server": { "port": 8443 } }))),
        (
            "version of konnectivity",
            konnectivity(json!({ "server": { "port": 8132, "version": "v0.33.0" } })),
        ),
        (
            "image of konnectivity",
            konnectivity(json!({ "server": { "port": 8132, "image": "example.com/proxy" } })),
        ),
        (
            "resources of konnectivity",
            konnectivity(json!({ "server": { "port": 8132, "resources": resources } })),
        ),
        (
            "arguments of konnectivity",
            konnectivity(json!({ "server": { "port": 8132, "extraArgs": ["--v=4"] } })),
        ),
        (
            "security of konnectivity",
            konnectivity(json!({ "server": { "port": 8132, "securityContext": { "runAsUser": 7 } } })),
        ),
        ("agents of konnectivity", konnectivity(json!({ "agent": { "mode": "Deployment", "replicas": 2 } }))),
    ]
}
