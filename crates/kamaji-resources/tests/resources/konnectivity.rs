//! The tunnel's end in the management cluster: who it is, when its certificates change, and that it leaves nothing behind.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use kamaji_api::tenant::Settings;
use kamaji_api::v1alpha1::{KonnectivityStatus, TenantControlPlane};
use kamaji_api::{Child, Tenant, labels};
use kamaji_pki::verdict::Reissue;
use kamaji_pki::{Authority, Certificate};
use kamaji_resources::anchors::ANCHORS;
use kamaji_resources::konnectivity::CHILDREN;
use kamaji_resources::{Endpoint, HeldSecrets, Kubeconfig, Memory, Storage};
use serde_json::Value;

use crate::golden::reported;
use crate::renewal::{CORRUPTIONS, Pem, Reasons, changed, pem, reasons, replace};
use crate::scenario::{self, Built, DAY, Ground, YEAR, clock, now};

const GO_INSTALLATION: &str = include_str!("../fixtures/go-konnectivity.yaml");
const CONF: &str = "konnectivity-server.conf";
const CLIENT: (Child, &str, &str) = (Child::KonnectivityCertificate, "tls.crt", "tls.key");
const SERVER: (Child, &str, &str) =
    (Child::KonnectivityServer, "konnectivity-server.crt", "konnectivity-server.key");

fn settled() -> Ground {
    Ground::settled(&scenario::named("konnectivity"))
}

fn kubeconfig(secret: &Secret) -> Kubeconfig {
    Kubeconfig::from_yaml(&secret.data.as_ref().unwrap()[CONF].0).unwrap()
}

fn agrees(built: &Built) -> bool {
    let (certificate, key) =
        pem(&built.credentials.secrets[&Child::KonnectivityCertificate], "tls.crt", "tls.key");
    let file = kubeconfig(&built.credentials.secrets[&Child::KonnectivityKubeconfig]);
    (file.certificate.into_bytes(), file.key.into_bytes()) == (certificate, key)
}

/// Builds, and builds again from what was built: that must change nothing any more.
fn repaired(ground: Ground, place: &str) -> (Reasons, BTreeSet<Child>) {
    let built = ground.build(clock(now()));
    assert!(agrees(&built), "{place}");
    let found = (reasons(&built), changed(&ground, &built));
    let ground = ground.holding(&built);
    let again = ground.build(clock(now() + DAY));
    assert_eq!((reasons(&again), changed(&ground, &again)), (vec![], BTreeSet::new()), "{place}");
    found
}

#[test]
fn the_server_is_a_user_without_groups_and_speaks_only_for_what_agents_dial() {
    let built = scenario::named("konnectivity_load_balancer").ground().build(clock(now()));
    let secret = |child: Child| &built.credentials.secrets[&child];
    let file = kubeconfig(secret(Child::KonnectivityKubeconfig));
    assert_eq!((file.server.as_str(), file.cluster.as_str()), ("https://localhost:6443", "kubernetes"));
    assert_eq!(file.user, "system:konnectivity-server");
    let client = Certificate::from_pem(file.certificate.as_bytes()).unwrap();
    assert_eq!(client.common_name(), "system:konnectivity-server");
    assert!(client.organizations().is_empty());
    assert!(agrees(&built));

    let server = Certificate::from_pem(&pem(secret(SERVER.0), SERVER.1, SERVER.2).0).unwrap();
    let addresses: Vec<String> = server.ip_addresses().iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["198.51.100.9", "2001:db8::4"]);
    assert_eq!(server.dns_names().iter().collect::<Vec<_>>(), ["blue.example.com"]);
}

#[test]
fn every_corruption_is_repaired_once_and_touches_nothing_else() {
    let (ground, stranger) = (settled(), settled());
    let both = BTreeSet::from([Child::KonnectivityCertificate, Child::KonnectivityKubeconfig]);
    for (leaf, neighbour, touched) in [(CLIENT, SERVER, both), (SERVER, CLIENT, [SERVER.0].into())] {
        for (name, corrupt, reason) in CORRUPTIONS {
            let place = format!("{name} in {:?}", leaf.0);
            let of = |held: &HeldSecrets, leaf: (Child, &str, &str)| -> Pem {
                pem(&held[&leaf.0], leaf.1, leaf.2)
            };
            let bad = corrupt(of(&ground.held, leaf), of(&ground.held, neighbour), of(&stranger.held, leaf));
            let mut broken = settled_like(&ground);
            replace(&mut broken.held, leaf, bad);
            let (found, changed) = repaired(broken, &place);
            let expected: Reasons = reason.map(|reason| (leaf.0, reason)).into_iter().collect();
            assert_eq!(found, expected, "{place}");
            // What may stay is at most written in another way.
            let kept = reason.is_none() && changed.is_subset(&[leaf.0].into());
            assert!(changed == touched || kept, "{place}: {changed:?}");
        }
    }
}

fn settled_like(ground: &Ground) -> Ground {
    Ground {
        tenant: ground.tenant.clone(),
        endpoint: ground.endpoint.clone(),
        storage: ground.storage.clone(),
        issuer: ground.issuer.clone(),
        overrides: ground.overrides.clone(),
        held: ground.held.clone(),
    }
}

#[test]
fn whatever_is_deleted_comes_back_and_a_kubeconfig_with_the_same_certificate() {
    let both = BTreeSet::from([Child::KonnectivityCertificate, Child::KonnectivityKubeconfig]);
    let table: [(Child, Reasons, BTreeSet<Child>); 3] = [
        (Child::KonnectivityCertificate, vec![(Child::KonnectivityCertificate, Reissue::Missing)], both),
        (Child::KonnectivityKubeconfig, vec![], [Child::KonnectivityKubeconfig].into()),
        (SERVER.0, vec![(SERVER.0, Reissue::Missing)], [SERVER.0].into()),
    ];
    for (child, reasons, touched) in table {
        let mut ground = settled();
        ground.held.remove(&child);
        assert_eq!(repaired(ground, "deleted"), (reasons, touched), "{child:?}");
    }
}

#[test]
fn an_edited_kubeconfig_is_rewritten_with_the_same_certificate() {
    let good = kubeconfig(&settled().held[&Child::KonnectivityKubeconfig]).to_yaml().unwrap();
    for text in [
        String::new(),
        "garbage".into(),
        good.replace("localhost", "192.0.2.66"),
        good.replace("    server:", "    proxy-url: http://192.0.2.66\n    server:"),
    ] {
        let mut ground = settled();
        let secret = Arc::make_mut(ground.held.get_mut(&Child::KonnectivityKubeconfig).unwrap());
        secret.data.as_mut().unwrap().insert(CONF.into(), ByteString(text.clone().into_bytes()));
        assert_eq!(repaired(ground, &text), (vec![], [Child::KonnectivityKubeconfig].into()), "{text:?}");
    }
}

#[test]
fn a_rotation_of_either_secret_is_one_of_the_pair_and_happens_once() {
    let both = BTreeSet::from([Child::KonnectivityCertificate, Child::KonnectivityKubeconfig]);
    for (child, reissued, touched) in [
        (Child::KonnectivityCertificate, Child::KonnectivityCertificate, both.clone()),
        (Child::KonnectivityKubeconfig, Child::KonnectivityCertificate, both),
        (SERVER.0, SERVER.0, [SERVER.0].into()),
    ] {
        let mut ground = settled();
        let secret = Arc::make_mut(ground.held.get_mut(&child).unwrap());
        secret.metadata.annotations.as_mut().unwrap().insert(labels::ROTATE.into(), String::new());
        let expected = (vec![(reissued, Reissue::Requested)], touched);
        assert_eq!(repaired(ground, "rotated"), expected, "{child:?}");
    }
}

#[test]
fn its_certificates_are_renewed_at_their_threshold_and_not_before() {
    let ground = settled();
    let second = SignedDuration::from_secs(1);
    let end = now() + YEAR;
    for (moment, due) in [(end - DAY - second, false), (end - DAY + second, true), (end + second, true)] {
        let built = ground.build(clock(moment));
        let renewed: BTreeSet<Child> = reasons(&built).into_iter().map(|(child, _)| child).collect();
        let changed = changed(&ground, &built);
        for child in [Child::KonnectivityCertificate, SERVER.0] {
            assert_eq!(renewed.contains(&child), due, "{child:?} at {moment}");
            assert_eq!(changed.contains(&child), due, "{child:?} at {moment}");
        }
        assert_eq!(changed.contains(&Child::KonnectivityKubeconfig), due, "{moment}");
        assert!(agrees(&built));
    }
}

/// What the Pods' template says of the checksums of konnectivity.
fn labels_of(built: &Built) -> Vec<(String, String)> {
    let labels = built.deployment.spec.template.metadata.as_ref().unwrap().labels.clone().unwrap();
    labels.into_iter().filter(|(name, _)| name.contains("konnectivity")).collect()
}

#[test]
fn pods_are_replaced_when_what_they_read_at_their_start_changes() {
    let ground = settled();
    let before = labels_of(&ground.build(clock(now())));
    assert_eq!(before.len(), 3);
    assert_eq!(labels_of(&ground.build(clock(now() + DAY))), before);
    let later = labels_of(&ground.build(clock(now() + YEAR)));
    let differing: Vec<&str> = before
        .iter()
        .zip(&later)
        .filter(|(before, later)| before != later)
        .map(|((name, _), _)| name.rsplit('/').next().unwrap())
        .collect();
    assert_eq!(differing, ["konnectivity-kubeconfig", "konnectivity-server-certificate"]);
}

#[test]
fn switched_off_everything_is_as_if_it_had_never_been() {
    let fresh = Ground::settled(&scenario::named("minimal"));
    let with = Ground { tenant: scenario::named("konnectivity").tenant(), ..settled_like(&fresh) };
    let on = with.build(clock(now()));
    let known = reported(&with, &on, None);
    let ground = Ground { tenant: fresh.tenant.clone(), ..with.holding(&on) };
    let (off, never) = (ground.build(clock(now())), fresh.build(clock(now())));
    assert_ne!(on.deployment, never.deployment);
    assert_eq!(off.deployment, never.deployment);
    assert_eq!(off.service, never.service);
    assert_eq!(off.credentials.secrets, never.credentials.secrets);
    let status = reported(&ground, &off, Some(&known));
    let tunnel = status.addons.clone().unwrap().konnectivity.unwrap();
    assert_eq!(tunnel, KonnectivityStatus::default());
    assert!(!tunnel.enabled);
    let clean = reported(&fresh, &never, None);
    assert_eq!(clean.addons, None, "a tenant that never had it says nothing of it");
    assert_eq!(kamaji_api::v1alpha1::TenantControlPlaneStatus { addons: None, ..status }, clean);
}

#[test]
fn the_status_tells_of_the_tunnel_only_when_the_pods_are_what_the_spec_says() {
    let ground = settled();
    let early = kamaji_resources::status::Facts::default();
    let status = kamaji_resources::status::compute(&ground.tenant, None, &early, now());
    assert_eq!(status.addons, None);
    let status = reported(&ground, &ground.build(clock(now())), None);
    let tunnel = status.addons.unwrap().konnectivity.unwrap();
    assert!(tunnel.enabled);
    assert_eq!(tunnel.service.unwrap().port, 8132);
    assert_eq!(
        tunnel.config_map.unwrap().name.as_deref(),
        Some("blue-konnectivity-egress-selector-configuration")
    );
}

#[test]
fn the_children_of_konnectivity_are_exactly_what_it_adds() {
    let of = |name: &str| -> BTreeSet<Child> {
        let built = scenario::named(name).ground().build(clock(now()));
        let egress = built.egress_selector.iter().map(|_| Child::EgressSelector);
        built.secrets().map(|(child, _)| child).chain(egress).collect()
    };
    let added: BTreeSet<Child> = of("konnectivity").difference(&of("minimal")).copied().collect();
    assert_eq!(added, CHILDREN.into());
}

fn items<K: serde::de::DeserializeOwned>(kind: &str) -> Vec<K> {
    let list: Value = serde_saphyr::from_str(GO_INSTALLATION).unwrap();
    let items = list["items"].as_array().unwrap().iter().filter(|item| item["kind"] == kind);
    items.map(|item| serde_json::from_value(item.clone()).unwrap()).collect()
}

/// A tenant as the Go operator left it, two hours later.
fn taken_over() -> Ground {
    let tcp: TenantControlPlane = items("TenantControlPlane").remove(0);
    let tenant = Tenant::resolve(&tcp, &Settings::default()).unwrap();
    let service: Service = items("Service").remove(0);
    let secrets: Vec<Secret> = items("Secret");
    let find = |child: Child| {
        let name = Some(child.name("full"));
        let found = secrets.iter().find(|secret| secret.metadata.name == name)?;
        Some((child, Arc::new(found.clone())))
    };
    let claim = Memory::of(tcp.status.as_ref()).claim.unwrap();
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
        issuer: Authority::create("etcd-ca", now(), YEAR * 10).unwrap(),
        held: Child::ALL.into_iter().filter_map(find).collect(),
        tenant,
    }
}

#[test]
fn what_go_made_stays_to_the_byte_and_only_the_serving_pair_is_added() {
    let mut ground = taken_over();
    assert!(ANCHORS.iter().all(|child| ground.held.contains_key(child)));
    let moment: Timestamp = "2026-11-23T03:30:00Z".parse().unwrap();
    for days in [0, 1, 100, 360] {
        let credentials = ground.credentials(clock(moment + DAY * days));
        let expected: Reasons = if days == 0 { vec![(SERVER.0, Reissue::Missing)] } else { vec![] };
        assert_eq!(credentials.reissued, expected, "day {days}");
        for (child, secret) in credentials.secrets.iter().filter(|(child, _)| **child != SERVER.0) {
            assert_eq!(secret.data, ground.held[child].data, "{child:?} on day {days}");
            assert_eq!(secret.type_, ground.held[child].type_, "{child:?} on day {days}");
        }
        ground
            .held
            .extend(credentials.secrets.iter().map(|(child, secret)| (*child, Arc::new(secret.clone()))));
    }
    let written: Vec<ConfigMap> = items("ConfigMap");
    let ours = kamaji_resources::konnectivity::egress_selector(&ground.tenant.id);
    let theirs = written.iter().find(|found| found.metadata.name == ours.metadata.name).unwrap();
    assert_eq!(theirs.data, ours.data);
}
