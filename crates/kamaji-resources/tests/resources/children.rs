//! What must hold of every object, whatever the tenant.

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kamaji_api::{Child, labels};
use kamaji_pki::{Certificate, Usage};
use kamaji_resources::anchors::ANCHORS;
use kamaji_resources::{Kubeconfig, object};

use crate::scenario::{self, DAY, Ground, YEAR, clock, now};

/// The metadata of every child that this crate builds.
fn metadata(ground: &Ground) -> Vec<(Child, ObjectMeta)> {
    let built = ground.build(clock(now()));
    let mut all = vec![
        (Child::Service, built.service.metadata.clone()),
        (Child::KubeadmConfig, built.kubeadm_config.metadata.clone()),
        (Child::Deployment, built.deployment.metadata.clone()),
    ];
    all.extend(built.egress_selector.iter().map(|found| (Child::EgressSelector, found.metadata.clone())));
    all.extend(built.secrets().map(|(child, secret)| (child, secret.metadata.clone())));
    all.extend(ANCHORS.map(|child| (child, ground.held[&child].metadata.clone())));
    all
}

#[test]
fn every_child_has_its_name_its_labels_and_its_owner() {
    for scenario in scenario::all() {
        let ground = scenario.ground();
        let all = metadata(&ground);
        let tunnelled = ground.tenant.addons.konnectivity.is_some();
        assert_eq!(all.len(), if tunnelled { 18 } else { 14 }, "{}", scenario.name);
        let id = &ground.tenant.id;
        for (child, metadata) in all {
            let place = format!("{child:?} of {}", scenario.name);
            assert_eq!(metadata.name, Some(child.name(&id.name)), "{place}");
            assert_eq!(metadata.namespace.as_deref(), Some("teams"), "{place}");
            let found = metadata.labels.unwrap();
            for (name, value) in labels::of_child(&id.name, child) {
                assert_eq!(found.get(&name), Some(&value), "{place}");
            }
            assert_eq!(metadata.owner_references, Some(vec![object::owner_reference(id)]), "{place}");
        }
    }
}

/// Every certificate in a Secret that is renewed, and the file it is in.
fn leaves(secret: &Secret) -> Vec<(String, Certificate)> {
    let mut found = Vec::new();
    for (file, value) in secret.data.iter().flatten().filter(|(file, _)| *file != "ca.crt") {
        let pem = Kubeconfig::from_yaml(&value.0)
            .map_or_else(|| value.0.clone(), |file| file.certificate.into_bytes());
        if let Ok(certificate) = Certificate::from_pem(&pem) {
            found.push((file.clone(), certificate));
        }
    }
    found
}

#[test]
fn only_the_super_administrator_is_beyond_all_rules() {
    for scenario in scenario::all() {
        let built = scenario.ground().build(clock(now()));
        for (file, certificate) in built.secrets().flat_map(|(_, secret)| leaves(secret)) {
            let is_master = certificate.organizations().iter().any(|group| group == "system:masters");
            assert_eq!(is_master, file.starts_with("super-admin."), "{file} of {}", scenario.name);
        }
    }
}

#[test]
fn every_certificate_has_one_purpose_and_ends_within_a_year() {
    for scenario in scenario::all() {
        let ground = scenario.ground();
        let built = ground.build(clock(now()));
        let leaves: Vec<_> = built.secrets().flat_map(|(_, secret)| leaves(secret)).collect();
        let tunnelled = ground.tenant.addons.konnectivity.is_some();
        assert_eq!(leaves.len(), if tunnelled { 13 } else { 10 }, "{}", scenario.name);
        for (file, certificate) in leaves {
            let serves = ["apiserver.crt", "konnectivity-server.crt"].contains(&file.as_str());
            let purpose = if serves { Usage::Server } else { Usage::Client };
            assert!(certificate.serves_only(purpose), "{file}");
            assert!(!certificate.is_authority(), "{file}");
            assert!(certificate.not_after() <= now() + YEAR, "{file}");
            assert!(certificate.not_after() > now() + YEAR - DAY, "{file}");
        }
    }
}
