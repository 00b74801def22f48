//! What kubeadm's phases leave in a tenant, as it goes over the wire.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

use std::collections::BTreeSet;

use kamaji_addons::kubeadm::{self, kubelet};
use kamaji_addons::{Interior, Object};
use kamaji_api::labels;
use kamaji_api::tenant::{Settings, Tenant, fixtures};
use kamaji_api::v1alpha1::Driver;
use kamaji_resources::{Endpoint, Storage};
use serde_json::{Value, json};

/// A tenant of this version, with these parts of its spec (by JSON pointer) replaced.
fn interior(version: &str, change: &Value) -> Interior {
    let mut tcp = serde_json::to_value(fixtures::tcp()).unwrap();
    tcp["spec"]["kubernetes"]["version"] = version.into();
    for (field, value) in change.as_object().unwrap() {
        *tcp["spec"].pointer_mut(field).unwrap() = value.clone();
    }
    Interior {
        tenant: Tenant::resolve(&serde_json::from_value(tcp).unwrap(), &Settings::default()).unwrap(),
        endpoint: Endpoint {
            address: "10.97.11.12".parse().unwrap(),
            advertised: "192.0.2.7".parse().unwrap(),
            port: 6443,
        },
        storage: Storage {
            driver: Driver::Etcd,
            data_store: "default".to_owned(),
            endpoints: vec!["etcd-0.etcd:2379".to_owned(), "etcd-1.etcd:2379".to_owned()],
            schema: "teams_blue".to_owned(),
            user: "teams_blue".to_owned(),
        },
        authority: "-----BEGIN CERTIFICATE-----\nTUlJQg==\n-----END CERTIFICATE-----\n".to_owned(),
    }
}

fn named<'a>(objects: &'a [Object], name: &str) -> &'a Value {
    &objects.iter().find(|object| object.identity().name == name).unwrap().desired.data
}

#[test]
fn the_whole_inside_of_a_plain_tenant() {
    let objects = kubeadm::objects(&interior("v1.34.4", &json!({}))).unwrap();
    let desired: Vec<_> = objects.iter().map(|object| &object.desired).collect();
    insta::assert_yaml_snapshot!(desired);
}

/// What older minors are not told, because they do not know it.
#[test]
fn an_older_minor_is_told_what_it_knows() {
    let newest = kubeadm::objects(&interior("v1.36.3", &json!({}))).unwrap();
    let of_34 = kubeadm::objects(&interior("v1.34.4", &json!({}))).unwrap();
    assert_eq!(named(&newest, "kubelet-config"), named(&of_34, "kubelet-config"));
    let oldest = kubeadm::objects(&interior("v1.23.17", &json!({}))).unwrap();
    insta::assert_snapshot!(named(&oldest, "kubelet-config-1.23")["data"]["kubelet"].as_str().unwrap());
    insta::assert_snapshot!(
        named(&oldest, "kubeadm-config")["data"]["ClusterConfiguration"].as_str().unwrap()
    );
}

#[test]
fn every_field_comes_with_its_minor() {
    let fields = |version| {
        let configuration = kubelet::configuration(&interior(version, &json!({})).tenant).unwrap();
        let has = |pointer| configuration.pointer(pointer).is_some();
        let young =
            ["/crashLoopBackOff", "/logging/options/text", "/imageMaximumGCAge", "/containerRuntimeEndpoint"];
        young.map(has)
    };
    assert_eq!(fields("v1.32.0"), [true, true, true, true]);
    assert_eq!(fields("v1.31.0"), [false, true, true, true]);
    assert_eq!(fields("v1.29.0"), [false, false, true, true]);
    assert_eq!(fields("v1.28.0"), [false, false, false, true]);
    assert_eq!(fields("v1.26.0"), [false, false, false, false]);
}

#[test]
fn the_cluster_is_described_in_the_words_of_its_minor() {
    let text = |version| {
        let objects = kubeadm::objects(&interior(version, &json!({}))).unwrap();
        named(&objects, "kubeadm-config")["data"]["ClusterConfiguration"].as_str().unwrap().to_owned()
    };
    for (version, api, has_http_endpoints) in [
        ("v1.30.14", "v1beta3", false),
        ("v1.31.0", "v1beta4", false),
        ("v1.34.4", "v1beta4", false),
        ("v1.35.0", "v1beta4", true),
    ] {
        let text = text(version);
        assert!(text.contains(&format!("apiVersion: kubeadm.k8s.io/{api}\n")), "{text}");
        assert_eq!(text.contains("encryptionAlgorithm"), api == "v1beta4", "{text}");
        assert_eq!(text.contains("httpEndpoints"), has_http_endpoints, "{text}");
    }
}

#[test]
fn what_the_tenant_says_reaches_its_kubelets() {
    let spec = json!({
        "/networkProfile": {
            "clusterDomain": "blue.example",
            "serviceCidrs": ["fd00:10::/112", "10.97.0.0/16"],
            "podCidrs": ["fd00:11::/64", "10.245.0.0/16"],
        },
        "/kubernetes/kubelet": {
            "cgroupfs": "cgroupfs",
            "configurationJSONPatches": [
                { "op": "replace", "path": "/cgroupDriver", "value": "systemd" },
                { "op": "add", "path": "/featureGates", "value": { "KubeletSeparateDiskGC": true } },
                { "op": "add", "path": "/cpuManagerPolicyOptions", "value": { "full-pcpus-only": "true" } },
                { "op": "remove", "path": "/crashLoopBackOff" },
            ],
        },
    });
    let objects = kubeadm::objects(&interior("v1.35.4", &spec)).unwrap();
    insta::assert_snapshot!(named(&objects, "kubelet-config")["data"]["kubelet"].as_str().unwrap());
}

#[test]
fn patches_must_leave_a_kubelet_configuration() {
    for patch in [
        json!({ "op": "replace", "path": "", "value": "text" }),
        json!({ "op": "replace", "path": "", "value": [1] }),
        json!({ "op": "replace", "path": "/kind", "value": "Secret" }),
        json!({ "op": "remove", "path": "/apiVersion" }),
    ] {
        let spec = json!({ "/kubernetes/kubelet": { "configurationJSONPatches": [patch] } });
        let error = kubeadm::objects(&interior("v1.34.4", &spec)).unwrap_err();
        assert!(matches!(error, kubeadm::Error::Patches(kubeadm::PatchProblem::NotKubelet)), "{error}");
    }
}

#[test]
fn every_object_is_known_as_ours_and_there_is_one_of_each() {
    let objects = kubeadm::objects(&interior("v1.34.4", &json!({}))).unwrap();
    let identities: BTreeSet<_> = objects.iter().map(Object::identity).collect();
    assert_eq!(identities.len(), objects.len());
    for object in &objects {
        let labels = object.desired.metadata.labels.as_ref().unwrap();
        assert_eq!(labels[labels::PROJECT], labels::PROJECT_VALUE, "{:?}", object.identity());
    }
}
