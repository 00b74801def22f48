//! Every kind of certificate and kubeconfig that is issued is renewed before it ends.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use kamaji_api::Child;
use kamaji_pki::Certificate;
use kamaji_pki::verdict::Reissue;
use kamaji_resources::{Clock, Kubeconfig};

use crate::scenario::{self, Built, DAY, Ground, YEAR, clock, now};

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// Every kind, and the keys under which its certificates stand. What is issued in future must be added.
const KINDS: &[(Child, &[&str])] = &[
    (Child::ApiServer, &["apiserver.crt"]),
    (Child::KubeletClient, &["apiserver-kubelet-client.crt"]),
    (Child::FrontProxyClient, &["front-proxy-client.crt"]),
    (Child::AdminKubeconfig, &["admin.conf", "admin.svc", "super-admin.conf", "super-admin.svc"]),
    (Child::ControllerManagerKubeconfig, &["controller-manager.conf"]),
    (Child::SchedulerKubeconfig, &["scheduler.conf"]),
    (Child::DatastoreCertificate, &["server.crt"]),
    (Child::KonnectivityCertificate, &["tls.crt"]),
    (Child::KonnectivityKubeconfig, &["konnectivity-server.conf"]),
    (Child::KonnectivityServer, &["konnectivity-server.crt"]),
];

/// Of every leaf when it begins and ends, by Secret and key.
fn lives(built: &Built) -> BTreeMap<(Child, String), (Timestamp, Timestamp)> {
    let mut lives = BTreeMap::new();
    for (child, secret) in built.secrets() {
        for (key, value) in secret.data.iter().flatten() {
            let read = Certificate::from_pem(&value.0).ok().or_else(|| {
                Certificate::from_pem(Kubeconfig::from_yaml(&value.0)?.certificate.as_bytes()).ok()
            });
            if let Some(leaf) = read.filter(|found| !found.is_authority()) {
                lives.insert((child, key.clone()), (leaf.not_before(), leaf.not_after()));
            }
        }
    }
    lives
}

fn settled() -> Ground {
    Ground::settled(&scenario::named("konnectivity"))
}

#[test]
fn the_table_names_every_certificate_that_is_issued_and_every_secret_that_says_so() {
    let built = settled().build(clock(now()));
    let named: BTreeSet<(Child, String)> =
        KINDS.iter().flat_map(|(child, keys)| keys.iter().map(|key| (*child, (*key).to_owned()))).collect();
    assert_eq!(lives(&built).into_keys().collect::<BTreeSet<_>>(), named);
    let watched: BTreeSet<Child> =
        Child::ALL.into_iter().filter(|child| child.lifecycle().is_some()).collect();
    assert_eq!(watched, KINDS.iter().map(|(child, _)| *child).collect());
}

#[test]
fn every_kind_is_renewed_at_its_threshold_and_not_before() {
    let ground = settled();
    let end = now() + YEAR;
    for (moment, due) in [(end - DAY - SECOND, false), (end - DAY + SECOND, true), (end + SECOND, true)] {
        let built = ground.build(clock(moment));
        for ((child, key), (_, ends)) in lives(&built) {
            assert_eq!(ends, if due { moment + YEAR } else { end }, "{key} of {child:?} at {moment}");
        }
        let mut reasons: Vec<Reissue> =
            built.credentials.reissued.iter().map(|(_, reason)| *reason).collect();
        reasons.extend(built.storage_credentials.reissued);
        assert!(reasons.iter().all(|reason| *reason == Reissue::NearExpiry), "{reasons:?}");
        assert_eq!(reasons.is_empty(), !due);
    }
}

/// Whoever comes back when told finds nothing ended, and replaces the Pods once a life.
#[test]
fn coming_back_when_told_is_enough_for_every_threshold() {
    for renew_before in [SECOND, DAY, DAY * 90, YEAR * 3] {
        let (mut ground, mut at, mut rollouts) = (settled(), now(), 0);
        let mut template = ground.build(clock(at)).deployment.spec.template;
        while at < now() + YEAR * 3 {
            let built = ground.build(Clock { now: at, renew_before });
            for ((child, key), (begins, ends)) in lives(&built) {
                assert!(begins <= at && at < ends, "{key} of {child:?} at {at}");
            }
            let next = built.credentials.deadline.min(built.storage_credentials.deadline);
            assert!(next > at, "told at {at} to come back at {next}");
            rollouts += i32::from(built.deployment.spec.template != template);
            template = built.deployment.spec.template.clone();
            ground = ground.holding(&built);
            at = next;
        }
        assert!(rollouts <= if renew_before < YEAR { 4 } else { 6 }, "{rollouts} for {renew_before}");
    }
}
