//! How everything looks. Accept with `INSTA_UPDATE=always`, and read the difference.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kamaji_api::v1alpha1::TenantControlPlaneStatus;
use kamaji_api::{Child, labels};
use kamaji_pki::{Certificate, Usage};
use kamaji_resources::anchors::ANCHORS;
use kamaji_resources::conditions::{Concern, Finding};
use kamaji_resources::status::{self, Facts};
use kamaji_resources::{Claim, Kubeconfig, checksum, konnectivity, overrides};
use serde_json::{Value, json};

use crate::scenario::{self, Built, Ground, clock, now};

#[test]
fn every_object_of_every_scenario() {
    for scenario in scenario::all() {
        let ground = scenario.ground();
        let built = ground.build(clock(now()));
        let snapshot = |builder: &str, value: Value| {
            insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
                insta::assert_yaml_snapshot!(format!("{}-{builder}", scenario.name), value);
            });
        };
        let anchors: Vec<Value> = ANCHORS.iter().map(|child| shown(&ground.held[child])).collect();
        snapshot("anchors", json!(anchors));
        snapshot("service", json!(built.service));
        snapshot("kubeadm_config", config_map(&built.kubeadm_config));
        if let Some(found) = &built.egress_selector {
            snapshot("egress_selector", without_checksums(json!(found)));
        }
        snapshot("credentials", json!(built.credentials.secrets.values().map(shown).collect::<Vec<_>>()));
        let storage = &built.storage_credentials;
        snapshot("storage", json!([shown(&storage.config), shown(&storage.certificate)]));
        snapshot("deployment", without_checksums(json!(built.deployment)));
        snapshot("status", without_checksums(json!(reported(&ground, &built, None))));
    }
}

/// The status once everything holds and every Pod runs.
pub(crate) fn reported(
    ground: &Ground,
    built: &Built,
    known: Option<&TenantControlPlaneStatus>,
) -> TenantControlPlaneStatus {
    let mut deployment = built.deployment.clone();
    let replicas = deployment.spec.replicas;
    deployment.metadata.generation = Some(3);
    deployment.status = Some(
        serde_json::from_value(json!({
            "observedGeneration": 3, "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": replicas,
            "availableReplicas": replicas,
        }))
        .unwrap(),
    );
    let mut service = built.service.clone();
    service.status = serde_json::from_value(json!({
        "loadBalancer": { "ingress": [{ "ip": "198.51.100.9", "ports": [{ "port": 1, "protocol": "TCP" }] }] },
    }))
    .unwrap();
    let storage = &ground.storage;
    let secrets = ground.held.iter().map(|(child, secret)| (*child, secret.as_ref())).chain(built.secrets());
    let mut checksums: BTreeMap<Child, String> =
        secrets.map(|(child, secret)| (child, checksum::of_secret(secret))).collect();
    if built.egress_selector.is_some() {
        checksums.insert(Child::EgressSelector, konnectivity::egress_selector_checksum());
    }
    let claim = Claim {
        data_store: storage.data_store.clone(),
        driver: storage.driver,
        schema: storage.schema.clone(),
        user: storage.user.clone(),
    };
    let wanted = overrides::wanted(&ground.tenant, &claim.data_store);
    let facts = Facts {
        overrides: Some(overrides::claims(&[], &wanted, &claim)),
        claim: Some(claim),
        endpoint: Some(ground.endpoint.clone()),
        service: Some(service),
        deployment: Some(deployment),
        checksums,
        findings: Concern::VITAL.map(|concern| (concern, Finding::holds("Fine", "fine"))).into(),
        ..Facts::default()
    };
    status::compute(&ground.tenant, known, &facts, now())
}

/// The configurations are JSON inside of strings: shown as what they say.
pub(crate) fn config_map(found: &ConfigMap) -> Value {
    let mut shown = without_checksums(json!(found));
    for text in shown["data"].as_object_mut().unwrap().values_mut() {
        *text = serde_json::from_str(text.as_str().unwrap()).unwrap();
    }
    shown
}

/// A Secret, with what differs from run to run described instead of shown.
pub(crate) fn shown(secret: &Secret) -> Value {
    let mut shown = without_checksums(json!(secret));
    for (key, value) in secret.data.iter().flatten() {
        shown["data"][key] = described(&value.0);
    }
    shown
}

fn described(value: &[u8]) -> Value {
    if let Some(file) = Kubeconfig::from_yaml(value) {
        return json!({
            "server": file.server,
            "cluster": file.cluster,
            "user": file.user,
            "authority": described(file.authority.as_bytes()),
            "certificate": described(file.certificate.as_bytes()),
            "key": described(file.key.as_bytes()),
        });
    }
    let text = std::str::from_utf8(value).unwrap();
    let certificates: Vec<&str> = text.split_inclusive("-----END CERTIFICATE-----\n").collect();
    if certificates.len() > 1 {
        return certificates.iter().map(|certificate| described(certificate.as_bytes())).collect();
    }
    if let Ok(certificate) = Certificate::from_pem(value) {
        return certificate_shown(&certificate);
    }
    let is_random = text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    match text {
        "" => json!(""),
        _ if text.starts_with("-----BEGIN PUBLIC KEY-----") => json!("<public key>"),
        _ if text.contains("PRIVATE KEY-----") => json!("<private key>"),
        _ if is_random => json!("<64 hexadecimal digits>"),
        _ => json!(text),
    }
}

fn certificate_shown(certificate: &Certificate) -> Value {
    let lasts = |time: Timestamp| now().duration_until(time).as_secs();
    let usages: Vec<&str> = [(Usage::Server, "server"), (Usage::Client, "client")]
        .into_iter()
        .filter_map(|(usage, name)| certificate.serves(usage).then_some(name))
        .collect();
    json!({
        "commonName": certificate.common_name(),
        "organizations": certificate.organizations(),
        "names": certificate.dns_names(),
        "addresses": certificate.ip_addresses(),
        "usages": if certificate.is_authority() { vec!["authority"] } else { usages },
        "seconds": [lasts(certificate.not_before()), lasts(certificate.not_after())],
    })
}

/// Checksums of random data say nothing: wherever there is one, its name is shown instead.
pub(crate) fn without_checksums(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                let is_checksum = name == "checksum"
                    || name == labels::CHECKSUM
                    || name.starts_with(labels::COMPONENT_CHECKSUM_PREFIX)
                    || [labels::STORAGE_CONFIG, labels::STORAGE_CERTIFICATE].contains(&name.as_str());
                *field = match field.take() {
                    Value::String(text)
                        if is_checksum && (text.len() == checksum::DIGITS || checksum::is_of_go(&text)) =>
                    {
                        json!("<checksum>")
                    }
                    other => without_checksums(other),
                };
            }
        }
        Value::Array(items) => {
            for item in items.iter_mut() {
                *item = without_checksums(item.take());
            }
        }
        _ => {}
    }
    value
}
