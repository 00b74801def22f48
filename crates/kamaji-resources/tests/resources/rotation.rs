//! What Secrets, kubeconfigs and Pods hold in each stage of a rotation.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use kamaji_api::{Child, labels};
use kamaji_pki::verdict::Reissue;
use kamaji_pki::{Authority, Certificate, PrivateKey};
use kamaji_resources::anchors::{self, ANCHORS};
use kamaji_resources::rotation::{Stage, changed, is_over, other_fingerprint};
use kamaji_resources::{Kubeconfig, checksum};

use crate::renewal::changed as touched;
use crate::scenario::{self, Built, DAY, Ground, YEAR, clock, now};

/// Forwards to the end.
const FORWARD: [Stage; 4] = [Stage::TrustingBoth, Stage::Reissued, Stage::Dropped, Stage::Settled];
/// As far as can be, and back.
const BACK: [Stage; 5] =
    [Stage::TrustingBoth, Stage::Reissued, Stage::TakenBack, Stage::Dropped, Stage::Settled];

fn settled() -> Ground {
    Ground::settled(&scenario::named("konnectivity"))
}

fn text(secret: &Secret, key: &str) -> String {
    String::from_utf8(secret.data.as_ref().unwrap()[key].0.clone()).unwrap()
}

/// The anchor goes to this stage, and everything follows.
fn gone(mut ground: Ground, child: Child, to: Stage) -> (Ground, Built) {
    let moved = changed(&ground.tenant.id, child, &ground.held[&child], to, now()).unwrap();
    assert_eq!(Stage::of(&moved), to);
    ground.held.insert(child, Arc::new(moved));
    let built = ground.build(clock(now()));
    let ground = ground.holding(&built);
    let again = ground.build(clock(now() + DAY));
    assert_eq!((again.credentials.reissued.clone(), touched(&ground, &again)), (vec![], BTreeSet::new()));
    (ground, built)
}

/// The first certificate of each text is believed by whoever trusts only `root`, with what stands behind it.
fn believes(root: &Certificate, shown: &str) -> bool {
    let mut certificates = pem_blocks(shown).into_iter();
    let mut leaf = certificates.next().unwrap();
    let chain: Vec<Certificate> = certificates.collect();
    loop {
        if leaf.is_issued_by(root) {
            return true;
        }
        let Some(above) = chain.iter().find(|above| leaf.is_issued_by(above) && **above != leaf) else {
            return false;
        };
        leaf = above.clone();
    }
}

fn pem_blocks(text: &str) -> Vec<Certificate> {
    let end = "-----END CERTIFICATE-----\n";
    text.split_inclusive(end).map(|block| Certificate::from_pem(block.as_bytes()).unwrap()).collect()
}

fn volume(deployment: &Deployment, name: &str) -> Vec<(String, String, String)> {
    let pod = deployment.spec.template.spec.clone().unwrap();
    let volume = pod.volumes.unwrap().into_iter().find(|volume| volume.name == name).unwrap();
    let sources = volume.projected.unwrap().sources.unwrap().into_iter().filter_map(|source| source.secret);
    sources
        .flat_map(|secret| {
            let name = secret.name.clone();
            secret.items.unwrap().into_iter().map(move |item| (name.clone(), item.key, item.path))
        })
        .collect()
}

fn label(built: &Built, name: &str) -> String {
    let metadata = built.deployment.spec.template.metadata.clone().unwrap();
    metadata.labels.unwrap()[&format!("{}/{name}", labels::COMPONENT_CHECKSUM_PREFIX)].clone()
}

#[test]
fn nothing_differs_once_a_rotation_was_taken_back() {
    for child in ANCHORS {
        let before = settled();
        let template = before.build(clock(now())).deployment;
        let stages = [&BACK[..], &[Stage::TrustingBoth, Stage::Dropped, Stage::Settled]];
        for way in stages {
            let mut ground = Ground { held: before.held.clone(), ..settled() };
            (ground.tenant, ground.endpoint) = (before.tenant.clone(), before.endpoint.clone());
            (ground.storage, ground.issuer) = (before.storage.clone(), before.issuer.clone());
            for stage in way {
                ground = gone(ground, child, *stage).0;
            }
            assert_eq!(ground.held[&child], before.held[&child], "{child:?}");
            let after = ground.build(clock(now())).deployment;
            assert_eq!(after.spec.template.spec, template.spec.template.spec, "{child:?}");
        }
    }
}

#[test]
fn a_new_anchor_is_in_every_place_of_the_old_one_and_nothing_of_that_is_left() {
    for child in ANCHORS {
        let mut ground = settled();
        let before = Arc::clone(&ground.held[&child]);
        let keys: Vec<String> = before.data.as_ref().unwrap().keys().cloned().collect();
        for stage in FORWARD {
            ground = gone(ground, child, stage).0;
        }
        let after = ground.held[&child].data.as_ref().unwrap();
        assert_eq!(after.keys().cloned().collect::<Vec<_>>(), keys);
        for (key, value) in after {
            assert_ne!(before.data.as_ref().unwrap()[key], *value, "{key} of {child:?}");
            let text = String::from_utf8(value.0.clone()).unwrap();
            let ends = text.matches("-----END").count();
            assert_eq!(ends, 1, "{key} of {child:?}");
        }
    }
}

#[test]
fn every_stage_replaces_the_pods_once_and_the_last_one_does_not() {
    for (child, name) in [
        (Child::Ca, "ca"),
        (Child::FrontProxyCa, "front-proxy-ca-certificate"),
        (Child::ServiceAccountKey, "service-account"),
    ] {
        let mut ground = settled();
        let mut sum = label(&ground.build(clock(now())), name);
        for stage in FORWARD {
            let built;
            (ground, built) = gone(ground, child, stage);
            let changed = label(&built, name) != sum;
            assert_eq!(changed, stage != Stage::Settled, "{child:?} at {stage:?}");
            sum = label(&built, name);
        }
        assert_eq!(sum, checksum::of_secret(&ground.held[&child]), "as of an anchor that never rotated");
    }
}

#[test]
fn leaves_are_believed_by_those_who_know_only_the_old_authority_until_it_is_dropped() {
    let mut ground = settled();
    let old = Certificate::from_pem(text(&ground.held[&Child::Ca], "ca.crt").as_bytes()).unwrap();
    let shown = [
        (Child::ApiServer, "apiserver.crt"),
        (Child::KubeletClient, "apiserver-kubelet-client.crt"),
        (Child::KonnectivityServer, "konnectivity-server.crt"),
    ];
    for stage in FORWARD {
        let built;
        (ground, built) = gone(ground, Child::Ca, stage);
        let anchor = Authority::from_pem(
            text(&ground.held[&Child::Ca], "ca.crt").as_bytes(),
            text(&ground.held[&Child::Ca], "ca.key").as_bytes(),
        )
        .unwrap();
        let signer = anchor.certificate();
        for (child, key) in shown {
            let shown = text(&built.credentials.secrets[&child], key);
            assert!(believes(signer, &shown), "{key} at {stage:?}");
            assert_eq!(believes(&old, &shown), stage.overlaps(), "{key} at {stage:?}");
        }
        assert_eq!(*signer == old, stage == Stage::TrustingBoth);
        let admin = text(&built.credentials.secrets[&Child::AdminKubeconfig], "admin.conf");
        let admin = Kubeconfig::from_yaml(admin.as_bytes()).unwrap();
        let trusted: Vec<bool> = pem_blocks(&admin.authority).iter().map(|one| *one == old).collect();
        let expected: &[bool] = match stage {
            Stage::TrustingBoth => &[true, false],
            Stage::Reissued => &[false, true],
            _ => &[false],
        };
        assert_eq!(trusted, expected, "{stage:?}");
        assert!(Certificate::from_pem(admin.certificate.as_bytes()).unwrap().is_issued_by(signer));
    }
}

#[test]
fn the_front_proxy_is_believed_by_those_who_know_only_its_old_authority() {
    let ground = settled();
    let old = text(&ground.held[&Child::FrontProxyCa], "front-proxy-ca.crt");
    let old = Certificate::from_pem(old.as_bytes()).unwrap();
    let (ground, _) = gone(ground, Child::FrontProxyCa, Stage::TrustingBoth);
    let (ground, built) = gone(ground, Child::FrontProxyCa, Stage::Reissued);
    let shown = text(&built.credentials.secrets[&Child::FrontProxyClient], "front-proxy-client.crt");
    assert!(believes(&old, &shown));
    assert_ne!(text(&ground.held[&Child::FrontProxyCa], "front-proxy-ca.crt"), old.pem());
    let expected = [(Child::FrontProxyClient, Reissue::ForeignIssuer)];
    assert_eq!(built.credentials.reissued, expected, "nobody else's certificate was touched");
}

#[test]
fn pods_mount_both_anchors_where_they_trust_and_one_where_they_sign() {
    let mut ground = settled();
    for stage in [Stage::TrustingBoth, Stage::Reissued] {
        for child in ANCHORS {
            ground = gone(ground, child, stage).0;
        }
    }
    let deployment = ground.build(clock(now())).deployment;
    let find = |volume: &[(String, String, String)], secret: &str, path: &str| {
        let found = volume.iter().find(|(name, _, to)| name.ends_with(secret) && to == path).cloned();
        found.map(|(_, key, _)| key).unwrap_or_default()
    };
    let api_server = volume(&deployment, "etc-kubernetes-pki");
    let controller_manager = volume(&deployment, "controller-manager-pki");
    for (volume, secret, path, key) in [
        (&api_server, "-ca", "ca.crt", "trusted.crt"),
        (&api_server, "-front-proxy-ca-certificate", "front-proxy-ca.crt", "trusted.crt"),
        (&api_server, "-sa-certificate", "sa.pub", "trusted.pub"),
        (&api_server, "-sa-certificate", "sa.key", "sa.key"),
        (&controller_manager, "-ca", "ca.crt", "trusted.crt"),
        (&controller_manager, "-ca", "ca-signer.crt", "ca.crt"),
        (&controller_manager, "-ca", "ca.key", "ca.key"),
        (&controller_manager, "-sa-certificate", "sa.key", "sa.key"),
    ] {
        assert_eq!(find(volume, secret, path), key, "{path} of {secret}");
    }
    assert!(!api_server.iter().chain(&controller_manager).any(|(_, key, _)| key == "other.key"));
    let pod = deployment.spec.template.spec.unwrap();
    let manager = pod.containers.iter().find(|one| one.name == "kube-controller-manager").unwrap();
    let arguments = manager.args.clone().unwrap();
    assert!(arguments.contains(&"--cluster-signing-cert-file=/etc/kubernetes/pki/ca-signer.crt".to_owned()));
    assert!(arguments.contains(&"--root-ca-file=/etc/kubernetes/pki/ca.crt".to_owned()));
}

#[test]
fn an_authority_that_has_ended_vouches_for_nothing_and_holds_nothing_up() {
    let mut ground = settled();
    let old = anchors::create(&ground.tenant.id, Child::Ca, now() - YEAR * 11).unwrap();
    ground.held.insert(Child::Ca, Arc::new(old));
    assert!(is_over(Child::Ca, &ground.held[&Child::Ca], now()));
    for stage in [Stage::TrustingBoth, Stage::Reissued] {
        let moved = changed(&ground.tenant.id, Child::Ca, &ground.held[&Child::Ca], stage, now()).unwrap();
        ground.held.insert(Child::Ca, Arc::new(moved));
        assert!(is_over(Child::Ca, &ground.held[&Child::Ca], now()), "{stage:?}");
    }
    assert!(!ground.held[&Child::Ca].data.as_ref().unwrap().contains_key("cross.crt"));
    assert!(!ground.build(clock(now())).credentials.reissued.is_empty());
}

#[test]
fn what_may_be_dropped_is_named_by_its_fingerprint() {
    for child in ANCHORS {
        let ground = settled();
        let before = Arc::clone(&ground.held[&child]);
        assert_eq!(other_fingerprint(child, &before), None);
        let (ground, _) = gone(ground, child, Stage::TrustingBoth);
        let (ground, _) = gone(ground, child, Stage::Reissued);
        let old = match child {
            Child::Ca => Certificate::from_pem(text(&before, "ca.crt").as_bytes()).unwrap().fingerprint(),
            Child::FrontProxyCa => {
                Certificate::from_pem(text(&before, "front-proxy-ca.crt").as_bytes()).unwrap().fingerprint()
            }
            _ => PrivateKey::from_pem(text(&before, "sa.key").as_bytes()).unwrap().fingerprint(),
        };
        assert_eq!(other_fingerprint(child, &ground.held[&child]), Some(old[..16].to_owned()));
    }
}
