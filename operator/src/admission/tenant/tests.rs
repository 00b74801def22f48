use kamaji_api::labels;
use kamaji_api::tenant::fixtures;
use serde_json::{Value, json};

use super::*;

/// The smallest sound tenant with a change merged into it.
fn tcp(change: Value) -> TenantControlPlane {
    let mut tcp = serde_json::to_value(fixtures::tcp()).unwrap();
    merge(&mut tcp, change);
    serde_json::from_value(tcp).unwrap()
}

fn merge(target: &mut Value, patch: Value) {
    match patch {
        Value::Object(fields) if target.is_object() => {
            for (name, value) in fields {
                merge(&mut target[name], value);
            }
        }
        other => *target = other,
    }
}

fn migration(image: Option<&str>) -> migration::Settings {
    migration::Settings {
        namespace: "kamaji-system".into(),
        image: image.map(str::to_owned),
        service_account: "default".into(),
        retention: std::time::Duration::from_secs(1),
    }
}

fn judged(new: &TenantControlPlane, old: Option<&TenantControlPlane>) -> Judgement {
    let stores = Stores::from([
        ("default".to_owned(), Store::There(Driver::Etcd)),
        ("etcd".to_owned(), Store::There(Driver::Etcd)),
        ("mysql".to_owned(), Store::There(Driver::MySql)),
        ("postgres".to_owned(), Store::There(Driver::PostgreSql)),
        ("leaving".to_owned(), Store::Leaving(Driver::Etcd)),
        ("absent".to_owned(), Store::Absent),
        ("slow".to_owned(), Store::Unknown),
    ]);
    judge(&Seen {
        new,
        old,
        settings: &tenant::Settings::default(),
        migration: &migration(Some("kamaji:test")),
        stores: &stores,
        now: "2026-11-23T00:00:00Z".parse().unwrap(),
    })
}

fn refusal(new: &TenantControlPlane, old: Option<&TenantControlPlane>) -> String {
    judged(new, old).answer.complaints.to_string()
}

fn spec(spec: &Value) -> TenantControlPlane {
    tcp(json!({ "spec": spec }))
}

#[test]
fn what_is_sound_is_admitted_without_a_word() {
    for new in [
        json!({}),
        json!({ "dataStore": "postgres", "dataStoreSchema": "blue", "dataStoreUsername": "blue" }),
        json!({ "dataStore": "mysql" }),
        json!({ "dataStoreOverrides": [{ "resource": "/events", "dataStore": "etcd" }] }),
        json!({ "addons": { "coreDNS": {}, "kubeProxy": {}, "konnectivity": {} } }),
        json!({ "controlPlane": { "deployment": { "extraArgs": { "apiServer": ["--v=4", "--audit-log-path", "-"] } } } }),
    ] {
        assert_eq!(judged(&spec(&new), None).answer, Answer::allowed(), "{new}");
    }
    // The API server gives UIDs after admission.
    let mut new = tcp(json!({}));
    new.metadata.uid = None;
    assert_eq!(judged(&new, None).answer, Answer::allowed());
}

#[test]
fn every_complaint_names_its_field_and_the_way_out() {
    let arguments =
        |arguments: Value| json!({ "controlPlane": { "deployment": { "extraArgs": arguments } } });
    let long = "a".repeat(64);
    for (new, words) in [
        (
            json!({ "dataStore": "absent" }),
            "spec.dataStore: DataStore \"absent\" does not exist: create it first",
        ),
        (
            json!({ "dataStore": "leaving" }),
            "spec.dataStore: DataStore \"leaving\" is being deleted: name another",
        ),
        (json!({ "dataStore": "" }), "spec.dataStore: names no DataStore and the operator has no default"),
        (
            json!({ "dataStoreOverrides": [{ "resource": "/events", "dataStore": "absent" }] }),
            "spec.dataStoreOverrides[0].dataStore: DataStore \"absent\" does not exist",
        ),
        (
            json!({ "dataStoreOverrides": [{ "resource": "/events", "dataStore": "postgres" }] }),
            "spec.dataStoreOverrides[0].dataStore: DataStore \"postgres\" has the driver PostgreSQL",
        ),
        (
            json!({ "dataStore": "postgres", "dataStoreOverrides": [{ "resource": "/events", "dataStore": "etcd" }] }),
            "spec.dataStoreOverrides: single kinds can be kept elsewhere beside etcd only",
        ),
        (json!({ "dataStore": "postgres", "dataStoreSchema": long }), "is longer than the 63 characters"),
        (json!({ "dataStoreUsername": "a".repeat(65) }), "spec.dataStoreUsername: "),
        (json!({ "dataStoreSchema": "none" }), "spec.dataStoreSchema: "),
        (json!({ "kubernetes": { "version": "latest" } }), "spec.kubernetes.version: "),
        (json!({ "networkProfile": { "certSANs": ["Upper"] } }), "spec.networkProfile.certSANs: "),
        (
            json!({ "networkProfile": { "dnsServiceIPs": ["192.0.2.1"] } }),
            "spec.networkProfile.dnsServiceIPs: ",
        ),
        (json!({ "networkProfile": { "address": "example.com" } }), "spec.networkProfile.address: "),
        (
            json!({ "kubernetes": { "kubelet": { "configurationJSONPatches": [{ "op": "remove", "path": "/nothing" }] } } }),
            "spec.kubernetes.kubelet: ",
        ),
        (
            arguments(json!({ "apiServer": ["--v=2", "--secure-port=1"] })),
            "spec.controlPlane.deployment.extraArgs.apiServer[1]: --secure-port is set by Kamaji",
        ),
    ] {
        let text = refusal(&spec(&new), None);
        assert!(text.contains(words), "expected {words:?}, got {text:?}");
    }
}

#[test]
fn what_was_wrong_before_is_no_reason_to_refuse_something_else() {
    let old = spec(&json!({ "dataStore": "absent", "networkProfile": { "certSANs": ["Upper"] } }));
    let mut new = old.clone();
    new.spec.control_plane.deployment.replicas = Some(3);
    let answer = judged(&new, Some(&old)).answer;
    assert!(answer.complaints.is_empty(), "{}", answer.complaints);
    assert_eq!(answer.warnings.len(), 2, "{:?}", answer.warnings);
    new.spec.network_profile.cert_sans.push("Another".into());
    new.spec.network_profile.cert_sans.remove(0);
    assert!(refusal(&new, Some(&old)).contains("Another"));
}

#[test]
fn what_could_not_be_found_out_is_told() {
    let answer = judged(&spec(&json!({ "dataStore": "slow" })), None).answer;
    assert!(answer.complaints.is_empty());
    assert_eq!(answer.warnings, ["whether DataStore \"slow\" fits could not be found out in time"]);
}

/// A tenant that runs this version, with its data in `etcd`.
fn running(version: &str) -> TenantControlPlane {
    tcp(json!({
        "spec": { "dataStore": "etcd", "kubernetes": { "version": version } },
        "status": {
            "storage": {
                "driver": "etcd", "dataStoreName": "etcd",
                "setup": { "schema": "s", "user": "u", "checksum": "c" },
            },
            "kubernetesResources": { "version": { "version": "v1.34.4", "status": "Ready" } },
        },
    }))
}

#[test]
fn a_version_is_judged_by_what_runs() {
    let old = running("v1.35.0");
    let mut new = old.clone();
    new.spec.kubernetes.version = "v1.36.0".into();
    assert!(
        refusal(&new, Some(&old))
            .contains("spec.kubernetes.version: v1.36.0 is more than one minor version above v1.34.4")
    );
    new.spec.kubernetes.version = "v1.35.4".into();
    assert_eq!(refusal(&new, Some(&old)), "");
}

#[test]
fn data_is_moved_only_where_it_can_be() {
    let old = running("v1.34.4");
    let mut new = old.clone();
    new.spec.data_store = Some("postgres".into());
    assert_eq!(refusal(&new, Some(&old)), "");
    let with_override = json!([{ "resource": "/events", "dataStore": "default" }]);
    new.spec.data_store_overrides = serde_json::from_value(with_override).unwrap();
    let text = refusal(&new, Some(&old));
    assert!(text.contains("spec.dataStoreOverrides: single kinds"), "{text}");
    assert!(text.contains("spec.dataStore: the data cannot be moved to \"postgres\""), "{text}");
}

#[test]
fn without_an_image_no_data_is_moved() {
    let why = migration::obstacle(&migration(None), 0, Driver::Etcd).unwrap();
    assert!(why.contains("--migrate-image"), "{why}");
    assert_eq!(migration::obstacle(&migration(Some("i")), 1, Driver::Etcd), None);
}

#[test]
fn what_is_obeyed_but_unwise_is_told() {
    let annotated = tcp(json!({ "metadata": { "annotations": { labels::MIGRATION_TIMEOUT: "-1s" } } }));
    let node_port = spec(&json!({ "controlPlane": { "service": { "serviceType": "NodePort" } } }));
    let privileged = spec(&json!({ "networkProfile": { "port": 443 } }));
    let weak = spec(
        &json!({ "controlPlane": { "deployment": { "extraArgs": { "apiServer": ["--token_auth_file=/x"] } } } }),
    );
    for (new, words) in [
        (&annotated, labels::MIGRATION_TIMEOUT),
        (&node_port, "30000 to 32767"),
        (&privileged, "without privileges"),
        (&weak, "--token-auth-file weakens the API server"),
    ] {
        let answer = judged(new, None).answer;
        assert!(answer.complaints.is_empty(), "{}", answer.complaints);
        assert!(
            answer.warnings.iter().any(|warning| warning.contains(words)),
            "{words}: {:?}",
            answer.warnings
        );
    }
}

#[test]
fn a_server_is_asked_only_about_new_wishes_for_pods() {
    let plain = tcp(json!({}));
    let tuned = spec(&json!({ "controlPlane": { "deployment": { "nodeSelector": { "a": "b" } } } }));
    let mut scaled = tuned.clone();
    scaled.spec.control_plane.deployment.replicas = Some(5);
    for (new, old, asks) in [
        (&plain, None, false),
        (&tuned, None, true),
        (&tuned, Some(&plain), true),
        (&scaled, Some(&tuned), false),
        (&plain, Some(&tuned), true),
    ] {
        let made = judged(new, old).rehearsed;
        assert_eq!(made.is_some(), asks);
        if let Some(made) = made {
            assert_eq!(made.metadata.name.as_deref(), Some("blue"));
            assert_eq!(made.metadata.owner_references, None, "an owner may not exist yet");
        }
    }
}

#[test]
fn data_stores_are_looked_up_by_name() {
    let settings = tenant::Settings { default_data_store: Some("default".into()) };
    let overrides =
        json!([{ "resource": "/events", "dataStore": "etcd" }, { "resource": "/a", "dataStore": "etcd" }]);
    let names = stores_of(&spec(&json!({ "dataStore": "", "dataStoreOverrides": overrides })), &settings);
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["default", "etcd"]);
}
