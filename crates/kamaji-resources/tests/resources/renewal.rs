//! What is renewed, for which reason, and what stays to the byte.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kamaji_api::{Child, labels};
use kamaji_pki::verdict::{self, Reissue};
use kamaji_pki::{Authority, Certificate};
use kamaji_resources::anchors::{ANCHORS, Unusable};
use kamaji_resources::{Anchors, HeldSecrets, Kubeconfig, checksum};

use crate::scenario::{self, Built, DAY, Ground, YEAR, clock, now};

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// Where every certificate stands: child, certificate, key. In a kubeconfig both are in the same file.
const LEAVES: &[(Child, &str, &str)] = &[
    (Child::ApiServer, "apiserver.crt", "apiserver.key"),
    (Child::KubeletClient, "apiserver-kubelet-client.crt", "apiserver-kubelet-client.key"),
    (Child::FrontProxyClient, "front-proxy-client.crt", "front-proxy-client.key"),
    (Child::DatastoreCertificate, "server.crt", "server.key"),
    (Child::AdminKubeconfig, "admin.conf", "admin.conf"),
    (Child::AdminKubeconfig, "admin.svc", "admin.svc"),
    (Child::AdminKubeconfig, "super-admin.conf", "super-admin.conf"),
    (Child::AdminKubeconfig, "super-admin.svc", "super-admin.svc"),
    (Child::ControllerManagerKubeconfig, "controller-manager.conf", "controller-manager.conf"),
    (Child::SchedulerKubeconfig, "scheduler.conf", "scheduler.conf"),
];

pub(crate) type Reasons = Vec<(Child, Reissue)>;

/// Everything that was issued anew, the datastore's certificate included.
pub(crate) fn reasons(built: &Built) -> Reasons {
    let mut all = built.credentials.reissued.clone();
    all.extend(built.storage_credentials.reissued.map(|reason| (Child::DatastoreCertificate, reason)));
    all
}

/// The renewed Secrets that differ from the held ones.
pub(crate) fn changed(ground: &Ground, built: &Built) -> BTreeSet<Child> {
    built
        .secrets()
        .filter(|(child, secret)| ground.held.get(child).map(Arc::as_ref) != Some(*secret))
        .map(|(child, _)| child)
        .collect()
}

fn settled() -> Ground {
    Ground::settled(&scenario::named("minimal"))
}

pub(crate) fn pem(secret: &Secret, certificate: &str, key: &str) -> (Vec<u8>, Vec<u8>) {
    let data = secret.data.as_ref().unwrap();
    match Kubeconfig::from_yaml(&data[certificate].0) {
        Some(file) => (file.certificate.into_bytes(), file.key.into_bytes()),
        None => (data[certificate].0.clone(), data[key].0.clone()),
    }
}

/// Puts another certificate and key where these stand.
pub(crate) fn replace(held: &mut HeldSecrets, leaf: (Child, &str, &str), pem: (Vec<u8>, Vec<u8>)) {
    let (child, certificate, key) = leaf;
    let data = Arc::make_mut(held.get_mut(&child).unwrap()).data.as_mut().unwrap();
    if let Some(file) = Kubeconfig::from_yaml(&data[certificate].0) {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let file = Kubeconfig { certificate: text(pem.0), key: text(pem.1), ..file };
        data.insert(certificate.into(), ByteString(file.to_yaml().unwrap().into_bytes()));
    } else {
        data.insert(certificate.into(), ByteString(pem.0));
        data.insert(key.into(), ByteString(pem.1));
    }
}

pub(crate) type Pem = (Vec<u8>, Vec<u8>);
/// What the corrupted pair looks like, made from the good one, one made out to another name, and one of another tenant.
pub(crate) type Corrupt = fn(good: Pem, neighbour: Pem, stranger: Pem) -> Pem;

fn chopped(text: &[u8]) -> Vec<u8> {
    text[..text.len() / 2].to_vec()
}

fn with_carriage_returns(text: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(text).replace('\n', "\r\n").into_bytes()
}

pub(crate) const CORRUPTIONS: &[(&str, Corrupt, Option<Reissue>)] = &[
    ("empty certificate", |good, _, _| (Vec::new(), good.1), Some(Reissue::Missing)),
    ("empty key", |good, _, _| (good.0, Vec::new()), Some(Reissue::Missing)),
    ("random bytes", |good, _, _| (b"\x00\xff\x13random".to_vec(), good.1), Some(Reissue::Unreadable)),
    ("random key", |good, _, _| (good.0, b"\x00\xff\x13random".to_vec()), Some(Reissue::Unreadable)),
    ("truncated certificate", |good, _, _| (chopped(&good.0), good.1), Some(Reissue::Unreadable)),
    ("truncated key", |good, _, _| (good.0, chopped(&good.1)), Some(Reissue::Unreadable)),
    ("900 KiB", |good, _, _| (vec![b'A'; 900 << 10], good.1), Some(Reissue::Unreadable)),
    ("halves exchanged", |good, _, _| (good.1, good.0), Some(Reissue::Unreadable)),
    ("key of another certificate", |good, other, _| (good.0, other.1), Some(Reissue::KeyMismatch)),
    ("certificate of another key", |good, other, _| (other.0, good.1), Some(Reissue::KeyMismatch)),
    ("another certificate behind it", |good, other, _| ([good.0, other.0].concat(), good.1), None),
    ("a trailing NUL", |good, _, _| ([&good.0[..], b"\0"].concat(), good.1), None),
    ("carriage returns", |good, _, _| (with_carriage_returns(&good.0), with_carriage_returns(&good.1)), None),
    ("DER", |good, _, _| (vec![0x30, 0x82, 1, 0], good.1), Some(Reissue::Unreadable)),
    ("another tenant's", |_, _, stranger| stranger, Some(Reissue::ForeignIssuer)),
];

#[test]
fn every_corruption_of_every_leaf_is_repaired_once_and_touches_nothing_else() {
    let ground = settled();
    let stranger = settled();
    for (index, leaf) in LEAVES.iter().enumerate() {
        let (child, certificate, key) = *leaf;
        let neighbour = LEAVES[(index + 1) % LEAVES.len()];
        for (name, corrupt, reason) in CORRUPTIONS {
            let place = format!("{name} in {certificate} of {child:?}");
            let good = |held: &HeldSecrets, leaf: (Child, &str, &str)| pem(&held[&leaf.0], leaf.1, leaf.2);
            let bad = corrupt(
                good(&ground.held, *leaf),
                good(&ground.held, neighbour),
                good(&stranger.held, (child, certificate, key)),
            );
            let mut broken = Ground { held: ground.held.clone(), ..settled_like(&ground) };
            replace(&mut broken.held, *leaf, bad);
            let repaired = broken.build(clock(now()));
            assert_eq!(
                reasons(&repaired),
                reason.map(|reason| (child, reason)).into_iter().collect::<Reasons>(),
                "{place}"
            );
            let touched = changed(&broken, &repaired);
            // What may stay is at most written in another way.
            assert!(
                touched == [child].into() || reason.is_none() && touched.is_empty(),
                "{place}: {touched:?}"
            );
            let again = broken.holding(&repaired);
            let second = again.build(clock(now()));
            assert_eq!((reasons(&second), changed(&again, &second)), (vec![], BTreeSet::new()), "{place}");
        }
    }
}

/// The same tenant in the same place.
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
fn a_secret_without_data_or_without_a_key_is_missing_and_made_whole() {
    for (child, certificate, _) in LEAVES {
        for whole in [true, false] {
            let mut ground = settled();
            let secret = Arc::make_mut(ground.held.get_mut(child).unwrap());
            if whole {
                secret.data = None;
            } else {
                secret.data.as_mut().unwrap().remove(*certificate);
            }
            let repaired = ground.build(clock(now()));
            assert_eq!(reasons(&repaired), [(*child, Reissue::Missing)], "{child:?}");
            assert_eq!(changed(&ground, &repaired), [*child].into(), "{child:?}");
        }
    }
}

#[test]
fn what_is_no_kubeconfig_is_unreadable() {
    for (child, file, _) in LEAVES.iter().filter(|(_, certificate, key)| certificate == key) {
        for text in ["garbage", "{}", "\u{0}", "clusters: []", "- a"] {
            let mut ground = settled();
            let secret = Arc::make_mut(ground.held.get_mut(child).unwrap());
            secret.data.as_mut().unwrap().insert((*file).into(), ByteString(text.as_bytes().to_vec()));
            assert_eq!(
                reasons(&ground.build(clock(now()))),
                [(*child, Reissue::Unreadable)],
                "{file}: {text:?}"
            );
        }
    }
}

type Edit = fn(&str) -> String;

#[test]
fn a_kubeconfig_that_says_more_or_something_else_is_rewritten_with_the_same_certificate() {
    let edits: [(&str, Edit); 4] = [
        ("another server", |text| text.replace("https://10.97.11.12:6443", "https://192.0.2.66:6443")),
        ("a proxy", |text| text.replace("    server:", "    proxy-url: http://192.0.2.66\n    server:")),
        ("another context", |text| text.replace("current-context: ", "current-context: x")),
        ("a command", |text| format!("{text}\nextensions:\n  - name: x\n    extension: {{}}\n")),
    ];
    for (name, edit) in edits {
        let mut ground = settled();
        let before = pem(&ground.held[&Child::AdminKubeconfig], "admin.conf", "admin.conf");
        let secret = Arc::make_mut(ground.held.get_mut(&Child::AdminKubeconfig).unwrap());
        let data = secret.data.as_mut().unwrap();
        let text = String::from_utf8(data["admin.conf"].0.clone()).unwrap();
        let edited = edit(&text);
        assert_ne!(edited, text, "{name}");
        data.insert("admin.conf".into(), ByteString(edited.into_bytes()));
        let built = ground.build(clock(now()));
        assert_eq!(
            (reasons(&built), changed(&ground, &built)),
            (vec![], [Child::AdminKubeconfig].into()),
            "{name}"
        );
        let renewed = &built.credentials.secrets[&Child::AdminKubeconfig];
        assert_eq!(renewed.data.as_ref().unwrap()["admin.conf"].0, text.into_bytes(), "{name}");
        assert_eq!(pem(renewed, "admin.conf", "admin.conf"), before, "{name}");
    }
}

#[test]
fn every_corruption_of_an_anchor_is_named_and_nothing_is_made() {
    let files = [
        (Child::Ca, "ca.crt"),
        (Child::Ca, "ca.key"),
        (Child::FrontProxyCa, "front-proxy-ca.crt"),
        (Child::FrontProxyCa, "front-proxy-ca.key"),
        (Child::ServiceAccountKey, "sa.key"),
    ];
    let ground = settled();
    for (child, file) in files {
        let good = ground.held[&child].data.as_ref().unwrap()[file].0.clone();
        for bad in [Vec::new(), b"garbage".to_vec(), chopped(&good), vec![0; 900 << 10]] {
            let mut held = ground.held.clone();
            let secret = Arc::make_mut(held.get_mut(&child).unwrap());
            secret.data.as_mut().unwrap().insert(file.into(), ByteString(bad));
            let found = Anchors::read(&held, |_| None).unwrap_err();
            assert!(matches!(&found, Unusable::Broken(broken, _) if *broken == child), "{file}: {found:?}");
            let sum = checksum::of_secret(&ground.held[&child]);
            let found = Anchors::read(&held, |asked| (asked == child).then_some(sum.as_str())).unwrap_err();
            assert_eq!(found, Unusable::Replaced(child), "{file}");
        }
        let mut held = ground.held.clone();
        held.remove(&child);
        assert_eq!(Anchors::read(&held, |_| None).unwrap_err(), Unusable::Lost(child), "{file}");
    }
}

#[test]
fn every_certificate_is_renewed_at_its_threshold_and_not_before() {
    let ground = settled();
    let all: BTreeSet<Child> = LEAVES.iter().map(|(child, ..)| *child).collect();
    let end = now() + YEAR;
    let table: [(Timestamp, bool); 4] =
        [(end - DAY - SECOND, false), (end - DAY + SECOND, true), (end - SECOND, true), (end + SECOND, true)];
    for (moment, due) in table {
        let built = ground.build(clock(moment));
        let renewed: BTreeMap<Child, Reissue> = reasons(&built).into_iter().collect();
        let expected: BTreeMap<Child, Reissue> =
            all.iter().filter(|_| due).map(|child| (*child, Reissue::NearExpiry)).collect();
        assert_eq!(renewed, expected, "{moment}");
        assert_eq!(changed(&ground, &built), if due { all.clone() } else { BTreeSet::new() }, "{moment}");
        let next = built.credentials.deadline.min(built.storage_credentials.deadline);
        assert_eq!(next, if due { moment + YEAR - DAY } else { end - DAY }, "{moment}");
    }
}

#[test]
fn a_certificate_from_the_future_is_not_waited_for() {
    let ground = settled();
    let built = ground.build(clock(now() - DAY));
    let all: BTreeSet<(Child, &str)> =
        reasons(&built).into_iter().map(|(child, why)| (child, why.as_str())).collect();
    assert_eq!(all, LEAVES.iter().map(|(child, ..)| (*child, Reissue::NotYetValid.as_str())).collect());
}

#[test]
fn a_younger_certificate_outlasts_its_neighbours() {
    for leaf in LEAVES {
        let (child, certificate, key) = *leaf;
        let mut ground = settled();
        let mut bare = settled_like(&ground);
        bare.held.retain(|child, _| ANCHORS.contains(child));
        let tomorrow = bare.build(clock(now() + DAY));
        let younger = pem(tomorrow.secrets().find(|(found, _)| *found == child).unwrap().1, certificate, key);
        replace(&mut ground.held, *leaf, younger.clone());
        let built = ground.build(clock(now() + YEAR - DAY + SECOND));
        let found = built.secrets().find(|(found, _)| *found == child).unwrap().1;
        assert_eq!(pem(found, certificate, key), younger, "{certificate} of {child:?}");
        // The administrator's kubeconfigs are four in one Secret, so three of them are renewed.
        let neighbours = LEAVES.iter().filter(|(other, ..)| *other == child).count() - 1;
        let renewed: BTreeSet<Child> = reasons(&built).into_iter().map(|(child, _)| child).collect();
        assert_eq!(renewed.contains(&child), neighbours > 0, "{child:?}");
        let deadline = verdict::deadline(&Certificate::from_pem(&younger.0).unwrap(), DAY);
        assert_eq!(built.credentials.deadline.min(built.storage_credentials.deadline), deadline, "{child:?}");
    }
}

#[test]
fn a_rotation_that_is_asked_for_happens_once() {
    for child in LEAVES.iter().map(|(child, ..)| *child).collect::<BTreeSet<_>>() {
        let mut ground = settled();
        let secret = Arc::make_mut(ground.held.get_mut(&child).unwrap());
        secret.metadata.annotations.as_mut().unwrap().insert(labels::ROTATE.into(), String::new());
        let built = ground.build(clock(now()));
        assert_eq!(reasons(&built), [(child, Reissue::Requested)]);
        assert_eq!(changed(&ground, &built), [child].into());
        let ground = ground.holding(&built);
        let rotated = &ground.held[&child].metadata.annotations.as_ref().unwrap()[labels::ROTATE];
        assert_eq!(rotated, "2026-11-23T02:00:00Z");
        let second = ground.build(clock(now() + DAY));
        assert_eq!((reasons(&second), changed(&ground, &second)), (vec![], BTreeSet::new()), "{child:?}");
    }
}

type NameChange = (&'static str, fn(&mut Ground), &'static [Child]);

const NAME_CHANGES: &[NameChange] = &[
    (
        "the balancer's address changes",
        |ground| {
            ground.endpoint.address = "198.51.100.77".parse().unwrap();
            ground.endpoint.advertised = ground.endpoint.address;
        },
        &[Child::ApiServer, Child::AdminKubeconfig],
    ),
    (
        "sixty names are added",
        |ground| {
            ground.tenant.network.san_names.extend((0..60).map(|index| format!("name-{index}.example.com")));
        },
        &[Child::ApiServer],
    ),
    (
        "IPv6 is added",
        |ground| {
            ground.tenant.network.san_ips.insert("2001:db8::7".parse().unwrap());
        },
        &[Child::ApiServer],
    ),
    (
        "a wildcard is added",
        |ground| {
            ground.tenant.network.san_names.insert("*.example.com".into());
        },
        &[Child::ApiServer],
    ),
];

#[test]
fn names_of_the_api_server_are_exactly_those_that_are_wanted() {
    for (name, change, touched) in NAME_CHANGES {
        let before = settled();
        let first = pem(&before.held[&Child::ApiServer], "apiserver.crt", "apiserver.key");
        let mut ground = settled_like(&before);
        change(&mut ground);
        let built = ground.build(clock(now()));
        assert_eq!(reasons(&built), [(Child::ApiServer, Reissue::NamesDiffer)], "{name}");
        assert_eq!(changed(&ground, &built), touched.iter().copied().collect(), "{name}");
        // And back again: what was added goes.
        let back = Ground { held: ground.holding(&built).held, ..settled_like(&before) };
        let built = back.build(clock(now()));
        assert_eq!(reasons(&built), [(Child::ApiServer, Reissue::NamesDiffer)], "{name}, removed");
        let names = |pem: &[u8]| Certificate::from_pem(pem).unwrap().names().clone();
        let renewed = pem(&built.credentials.secrets[&Child::ApiServer], "apiserver.crt", "apiserver.key");
        assert_eq!(names(&renewed.0), names(&first.0), "{name}, removed");
    }
}

#[test]
fn nothing_differs_between_two_builds_from_the_same_secrets() {
    for scenario in scenario::all() {
        let ground = Ground::settled(&scenario);
        let (first, second) = (ground.build(clock(now())), ground.build(clock(now() + DAY)));
        assert_eq!(
            (reasons(&first), changed(&ground, &first)),
            (vec![], BTreeSet::new()),
            "{}",
            scenario.name
        );
        assert_eq!(first.service, second.service, "{}", scenario.name);
        assert_eq!(first.kubeadm_config, second.kubeadm_config, "{}", scenario.name);
        assert_eq!(first.credentials.secrets, second.credentials.secrets, "{}", scenario.name);
        assert_eq!(first.storage_credentials.config, second.storage_credentials.config, "{}", scenario.name);
        assert_eq!(
            first.storage_credentials.certificate, second.storage_credentials.certificate,
            "{}",
            scenario.name
        );
        assert_eq!(first.deployment, second.deployment, "{}", scenario.name);
    }
}

#[test]
fn a_renewed_leaf_changes_the_template_of_the_pods_that_read_it() {
    let ground = settled();
    let template = |ground: &Ground| ground.build(clock(now())).deployment.spec.template;
    let before = template(&ground);
    for child in LEAVES.iter().map(|(child, ..)| *child).filter(|child| *child != Child::AdminKubeconfig) {
        let mut lost = settled_like(&ground);
        lost.held.remove(&child);
        assert_ne!(template(&lost), before, "{child:?}");
    }
    let mut lost = settled_like(&ground);
    lost.held.remove(&Child::AdminKubeconfig);
    assert_eq!(template(&lost), before, "no Pod reads the administrator's kubeconfig");
}

#[test]
fn another_store_authority_reissues_the_datastore_certificate_alone() {
    let ground = settled();
    let moved =
        Ground { issuer: Authority::create("etcd-ca", now(), YEAR * 10).unwrap(), ..settled_like(&ground) };
    let built = moved.build(clock(now()));
    assert_eq!(reasons(&built), [(Child::DatastoreCertificate, Reissue::ForeignIssuer)]);
    assert_eq!(changed(&moved, &built), [Child::DatastoreCertificate].into());
}
