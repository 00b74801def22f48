//! What the Go operator made stays as it is: its Secrets, and with them every node, token and kubeconfig of the tenant.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Secret, Service};
use kamaji_api::tenant::Settings;
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_api::{Child, Tenant, labels};
use kamaji_pki::Authority;
use kamaji_pki::verdict::Reissue;
use kamaji_resources::anchors::{self, ANCHORS, Birth};
use kamaji_resources::takeover::{Course, Forecast, Hands, Progress, Seen, Since, View, course, forecast};
use kamaji_resources::{Endpoint, HeldSecrets, Memory, Storage, checksum};
use serde_json::Value;

use crate::scenario::{Built, DAY, Ground, clock};

const INSTALLATION: &str = include_str!("../fixtures/go-plain.yaml");
const WITH_DEPLOYMENT: &str = include_str!("../../../../e2e/tests/fixtures/go-installation/plain.yaml");
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

/// The Deployment of the same tenant, which has read the certificate that is ours.
fn deployment(ground: &Ground) -> Deployment {
    let list: Value = serde_saphyr::from_str(WITH_DEPLOYMENT).unwrap();
    let found = list["items"].as_array().unwrap().iter().find(|item| item["kind"] == "Deployment");
    let mut deployment: Deployment = serde_json::from_value(found.unwrap().clone()).unwrap();
    let certificate = ground.held[&Child::DatastoreCertificate].data.as_ref().unwrap();
    let metadata = deployment.spec.template.metadata.as_mut().unwrap();
    let annotations = metadata.annotations.as_mut().unwrap();
    annotations.insert(labels::STORAGE_CERTIFICATE.into(), checksum::of_go(certificate));
    deployment
}

/// What becomes of a Deployment of the Go operator's.
fn judged(ground: &Ground, built: &Built, live: &Deployment, (hands, progress): (Hands, Progress)) -> Course {
    let mut secrets: std::collections::BTreeMap<Child, &Secret> =
        ground.held.iter().map(|(child, secret)| (*child, secret.as_ref())).collect();
    secrets.extend(built.secrets());
    course(&View { live: Some(live), desired: &built.deployment, hands, progress, secrets: &secrets })
}

const QUIET: (Hands, Progress) = (Hands::Go, Progress::Done);

/// The Deployment after it was taken over.
fn taken_over(ground: &Ground) -> Deployment {
    let mut live = deployment(ground);
    let Course::Keep { said, since } = judged(ground, &ground.build(clock(moment())), &live, QUIET) else {
        panic!("it is kept")
    };
    assert_eq!(since, Since::Now);
    assert!(said.data["spec"].get("template").is_none(), "of the Pods nothing is said");
    live.metadata.labels = said.metadata.labels;
    live
}

fn is_kept(course: &Course, expected: Since) -> bool {
    matches!(course, Course::Keep { since, .. } if *since == expected)
}

fn replaced(course: Course) -> String {
    match course {
        Course::Replace(reason) => reason,
        other => panic!("not replaced: {other:?}"),
    }
}

#[test]
fn pods_that_go_made_stay_until_something_that_they_are_made_from_changes() {
    let mut ground = ground();
    let live = taken_over(&ground);
    let label = &live.metadata.labels.as_ref().unwrap()[labels::TAKEN_OVER];
    assert!(label.len() <= 63, "{label}");
    let again = |ground: &Ground, now| judged(ground, &ground.build(clock(now)), &live, QUIET);
    assert!(is_kept(&again(&ground, moment()), Since::Before));
    ground.tenant.replicas = 3;
    assert!(is_kept(&again(&ground, moment()), Since::Before), "more of them are no others");
    ground.tenant.replicas = 0;
    assert!(replaced(again(&ground, moment())).contains("sleeps"));
    ground.tenant.replicas = 1;
    let expiring = moment() + DAY * 365;
    assert!(replaced(again(&ground, expiring)).contains("has changed"), "a certificate is renewed");
    ground.tenant.images.scheduler = "registry.k8s.io/kube-scheduler:v1.34.5".into();
    assert!(replaced(again(&ground, moment())).contains("has changed"));
}

#[test]
fn what_go_had_not_carried_out_is_seen_at_the_take_over() {
    let mut ground = ground();
    let live = deployment(&ground);
    let first = |ground: &Ground, now, progress| {
        judged(ground, &ground.build(clock(now)), &live, (Hands::Go, progress))
    };
    assert!(replaced(first(&ground, moment(), Progress::Behind)).contains("newest spec"));
    let renewed = replaced(first(&ground, moment() + DAY * 365, Progress::Done));
    assert!(renewed.starts_with("Secret plain-"), "{renewed}");
    ground.storage.endpoints = vec!["etcd-1.etcd:2379".into()];
    let moved = replaced(first(&ground, moment(), Progress::Done));
    assert_eq!(moved, "the argument --etcd-servers of kube-apiserver is another");
    ground.tenant.images.api_server = "registry.k8s.io/kube-apiserver:v1.34.5".into();
    let upgraded = replaced(first(&ground, moment(), Progress::Done));
    assert_eq!(upgraded, "the image of kube-apiserver is another");
}

#[test]
fn an_edit_is_told_from_a_restart_from_the_go_operator_and_from_the_server() {
    let ground = ground();
    let built = ground.build(clock(moment()));
    let others = (Hands::Others, Progress::Done);
    let mut restarted = taken_over(&ground);
    let annotations = restarted.spec.template.metadata.as_mut().unwrap().annotations.as_mut().unwrap();
    annotations.insert("kubectl.kubernetes.io/restartedAt".into(), "2026-11-23T04:00:00Z".into());
    assert!(is_kept(&judged(&ground, &built, &restarted, others), Since::Before));

    let mut edited = taken_over(&ground);
    edited.spec.template.spec.as_mut().unwrap().host_network = Some(true);
    assert!(replaced(judged(&ground, &built, &edited, others)).contains("edited"));
    // The server fills in more than before, or the Go operator was back.
    assert!(is_kept(&judged(&ground, &built, &edited, QUIET), Since::Now));
    edited.spec.template.spec.as_mut().unwrap().containers[0].image = Some("another".into());
    assert!(replaced(judged(&ground, &built, &edited, QUIET)).contains("the image of kube-apiserver"));
}

#[test]
fn pods_of_ours_are_placed_whole() {
    let ground = ground();
    let built = ground.build(clock(moment()));
    assert_eq!(judged(&ground, &built, &built.deployment, QUIET), Course::Place);
    let both = (Hands::Ours, Progress::Done);
    replaced(judged(&ground, &built, &deployment(&ground), both));
}

#[test]
fn what_would_become_of_a_tenant_is_foretold() {
    let ground = ground();
    let live = deployment(&ground);
    let service: Service = serde_json::from_value(items("Service").remove(0)).unwrap();
    let settings = Settings::default();
    let stores = [("default".to_owned(), vec!["10.99.0.1:12379".to_owned()])].into();
    let told = |tcp: &TenantControlPlane, held: &HeldSecrets, live: Option<&Deployment>| {
        forecast(&Seen {
            tcp,
            settings: &settings,
            held,
            service: Some(&service),
            deployment: live,
            hands: Hands::Go,
            stores: &stores,
            clock: clock(moment()),
        })
    };
    let tcp = tcp();
    assert_eq!(told(&tcp, &ground.held, Some(&live)), Forecast::Stays);
    let mut upgraded = tcp.clone();
    upgraded.spec.kubernetes.version = "v1.34.5".into();
    assert!(
        matches!(told(&upgraded, &ground.held, Some(&live)), Forecast::Rolls(why) if why.contains("image"))
    );
    let mut paused = upgraded;
    paused.metadata.annotations = Some([(labels::PAUSED.into(), String::new())].into());
    assert_eq!(told(&paused, &ground.held, Some(&live)), Forecast::Paused);
    let ours = ground.build(clock(moment())).deployment;
    assert_eq!(told(&tcp, &ground.held, Some(&ours)), Forecast::Ours);
    assert!(matches!(told(&tcp, &ground.held, None), Forecast::Rolls(_)));

    let mut lost = ground.held.clone();
    lost.remove(&Child::Ca);
    assert!(
        matches!(told(&tcp, &lost, Some(&live)), Forecast::Stuck(why) if why.contains("plain-ca is gone"))
    );
    let mut foreign = ground.held.clone();
    let config = Arc::make_mut(foreign.get_mut(&Child::DatastoreConfig).unwrap());
    config.metadata.owner_references = None;
    let refused = told(&tcp, &foreign, Some(&live));
    assert!(matches!(refused, Forecast::Stuck(why) if why.contains("belongs to somebody else")));
}
