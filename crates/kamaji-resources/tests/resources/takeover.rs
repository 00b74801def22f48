//! What the Go operator made stays as it is: its Secrets, and with them every node, token and kubeconfig of the tenant.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Secret, Service};
use kamaji_api::tenant::Settings;
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_api::{Child, Tenant, labels};
use kamaji_pki::Authority;
use kamaji_pki::verdict::Reissue;
use kamaji_resources::anchors::{self, ANCHORS, Birth};
use kamaji_resources::{Endpoint, HeldSecrets, Memory, Storage};
use serde_json::Value;

use crate::scenario::{DAY, Ground, clock};

const INSTALLATION: &str = include_str!("../fixtures/go-plain.yaml");
const ETCD_CA: &[u8] = include_bytes!("../fixtures/etcd-ca.crt");
const ETCD_CA_KEY: &[u8] = include_bytes!("../fixtures/etcd-ca.key");

/// Two hours after the Go operator had made the tenant.
fn moment() -> Timestamp {
    "2026-11-23T03:30:00Z".parse().unwrap()
}

fn items(kind: &str) -> Vec<Value> {
    let list: Value = serde_saphyr::from_str(INSTALLATION).unwrap();
    list["items"].as_array().unwrap().iter().filter(|item| item["kind"] == kind).cloned().collect()
}

fn tcp() -> TenantControlPlane {
    serde_json::from_value(items("TenantControlPlane").remove(0)).unwrap()
}

fn memory() -> Memory {
    Memory::of(tcp().status.as_ref())
}

fn secrets() -> HeldSecrets {
    let all: Vec<Secret> =
        items("Secret").into_iter().map(|item| serde_json::from_value(item).unwrap()).collect();
    let of = |child: Child| {
        let name = Some(child.name("plain"));
        all.iter().find(|secret| secret.metadata.name == name).map(|secret| (child, Arc::new(secret.clone())))
    };
    let held: HeldSecrets = Child::ALL.into_iter().filter_map(of).collect();
    assert_eq!((all.len(), held.len()), (11, 11));
    held
}

fn ground() -> Ground {
    let tenant = Tenant::resolve(&tcp(), &Settings::default()).unwrap();
    let service: Service = serde_json::from_value(items("Service").remove(0)).unwrap();
    let claim = memory().claim.unwrap();
    Ground {
        endpoint: Endpoint::assigned(&tenant, &service).unwrap(),
        overrides: Vec::new(),
        storage: Storage {
            driver: claim.driver,
            data_store: claim.data_store,
            endpoints: vec!["10.99.0.1:12379".into()],
            schema: claim.schema,
            user: claim.user,
        },
        issuer: Authority::from_pem(ETCD_CA, ETCD_CA_KEY).unwrap(),
        held: secrets(),
        tenant,
    }
}

#[test]
fn the_anchors_are_the_ones_that_the_status_remembers() {
    let (memory, held) = (memory(), secrets());
    for child in ANCHORS {
        assert_eq!(anchors::birth(&held, child, memory.anchor(child)), Birth::Held);
    }
    kamaji_resources::Anchors::read(&held, |child| memory.anchor(child)).unwrap();
}

#[test]
fn anchors_stay_to_the_byte_and_are_recognised_before_and_after_they_are_applied() {
    let (memory, tenant) = (memory(), ground().tenant);
    let mut held = secrets();
    for child in ANCHORS {
        let kept = anchors::kept(&tenant.id, child, &held[&child]);
        assert_eq!(kept.data, held[&child].data, "{child:?}");
        assert_eq!(kept.type_, held[&child].type_, "{child:?}");
        held.insert(child, Arc::new(kept));
    }
    // The operator may die here, with the Secrets applied and the status as the Go operator left it.
    kamaji_resources::Anchors::read(&held, |child| memory.anchor(child)).unwrap();
}

#[test]
fn nothing_is_reissued_and_every_byte_stays_for_good() {
    let mut ground = ground();
    for days in [0, 1, 100, 360] {
        let built = ground.build(clock(moment() + DAY * days));
        assert_eq!(built.credentials.reissued, [], "day {days}");
        assert_eq!(built.storage_credentials.reissued, None, "day {days}");
        let mut seen = 0;
        for (child, secret) in built.secrets() {
            assert_eq!(secret.data, ground.held[&child].data, "{child:?} on day {days}");
            assert_eq!(secret.type_, ground.held[&child].type_, "{child:?} on day {days}");
            seen += 1;
        }
        assert_eq!(seen, 8);
        // The next pass reads what this one wrote, and must not forget who made it.
        ground = ground.holding(&built);
    }
}

#[test]
fn what_go_made_is_renewed_when_its_time_has_come() {
    let ground = ground();
    let built = ground.build(clock("2027-11-22T01:30:00Z".parse().unwrap()));
    let renewed: Vec<Child> = built.credentials.reissued.iter().map(|(child, _)| *child).collect();
    assert_eq!(renewed.len(), 6);
    assert!(built.credentials.reissued.iter().all(|(_, reason)| *reason == Reissue::NearExpiry));
    assert_eq!(built.storage_credentials.reissued, None, "Go's lasts ten years");
    // From then on the checksum is ours, and the certificate is judged strictly.
    let sum = &built.credentials.secrets[&Child::ApiServer].metadata.annotations.as_ref().unwrap()
        [labels::CHECKSUM];
    assert_eq!(sum.len(), kamaji_resources::checksum::DIGITS);
}
