//! What holds for any input.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};
use kamaji_api::tenant::fixtures;
use kamaji_api::v1alpha1::Driver;
use kamaji_api::{Child, Tenant};
use kamaji_pki::verdict::Reissue;
use kamaji_resources::conditions::{Concern, Finding};
use kamaji_resources::deployment::args::{Flags, Winner, compose};
use kamaji_resources::status::{self, Facts};
use kamaji_resources::{Claim, checksum};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::scenario::{self, DAY, Ground, YEAR, clock, now};

fn ours() -> Vec<(Winner, Flags)> {
    let flag = |name| (name, "ours".to_owned());
    vec![
        (Winner::User, vec![flag("allow-privileged"), flag("profiling")]),
        (Winner::Kamaji, vec![flag("secure-port"), flag("etcd-servers")]),
    ]
}

/// Arguments of a user: good ones, odd ones, and noise.
fn argument() -> impl Strategy<Value = String> {
    let flags = vec![
        "allow-privileged",
        "profiling",
        "secure-port",
        "secure_port",
        "etcd-servers",
        "v",
        "audit-log-path",
    ];
    prop_oneof![
        (select(flags.clone()), "[a-z=,]{0,5}").prop_map(|(flag, value)| format!("--{flag}={value}")),
        select(flags).prop_map(|flag| format!("--{flag}")),
        "-{0,3}[a-z_=-]{0,4}",
        ".{0,6}",
    ]
}

/// Kubernetes programs read `_` as `-`.
fn names(argument: &str, flag: &str) -> bool {
    let bare = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'));
    bare.is_some_and(|bare| bare.replace('_', "-").split('=').next() == Some(flag))
}

fn sorted(mut items: Vec<String>) -> Vec<String> {
    items.sort();
    items
}

proptest! {
    #[test]
    fn arguments_are_composed_of_anything_and_composing_again_changes_nothing(user in vec(argument(), 0..12)) {
        let once = compose(&ours(), &user);
        let twice = compose(&ours(), &once);
        prop_assert_eq!(sorted(once.clone()), sorted(twice.clone()));
        prop_assert_eq!(&twice, &compose(&ours(), &twice));
        for flag in ["secure-port", "etcd-servers"] {
            let naming: Vec<String> = once.iter().filter(|argument| names(argument, flag)).cloned().collect();
            prop_assert_eq!(naming, vec![format!("--{flag}=ours")]);
        }
    }

    #[test]
    fn what_the_user_says_of_unmanaged_flags_stays_in_order(
        user in vec(("[a-u][a-z]{2,6}", "[ -~]{0,6}").prop_map(|(flag, value)| format!("--{flag}={value}")), 0..12),
    ) {
        let composed = compose(&ours(), &user);
        prop_assert!(composed.ends_with(&user));
    }

    #[test]
    fn checksums_are_equal_only_for_equal_data(
        left in btree_map("[a-c]{0,3}", vec(0_u8..3, 0..4), 0..4),
        right in btree_map("[a-c]{0,3}", vec(0_u8..3, 0..4), 0..4),
    ) {
        let of = |data: &BTreeMap<String, Vec<u8>>| {
            checksum::of_data(&data.iter().map(|(key, value)| (key.clone(), ByteString(value.clone()))).collect())
        };
        prop_assert_eq!(left == right, of(&left) == of(&right));
    }

    #[test]
    fn the_same_facts_give_the_same_status_at_any_later_time(
        known in facts(), found in facts(), replicas in 0..3, limited: bool, later in 1..1_000_000_i64,
    ) {
        let mut tenant = Tenant { replicas, ..fixtures::tenant() };
        tenant.writes.block_creation = limited;
        let before = status::compute(&fixtures::tenant(), None, &known, now());
        let first = status::compute(&tenant, Some(&before), &found, now() + SignedDuration::from_secs(1));
        let second = status::compute(&tenant, Some(&first), &found, now() + SignedDuration::from_millis(1000 + later));
        prop_assert_eq!(first, second);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_certificate_is_renewed_from_its_threshold_on_and_never_before(
        threshold_hours in 1_i64..24 * 400, hours in 0_i64..24 * 500,
    ) {
        let ground = Ground::settled(&scenario::named("minimal"));
        let threshold = SignedDuration::from_hours(threshold_hours);
        let moment = now() + SignedDuration::from_hours(hours) + SignedDuration::from_secs(7);
        let at = kamaji_resources::Clock { now: moment, renew_before: threshold };
        let built = ground.build(at);
        // No more than half of a life counts.
        let margin = threshold.min(YEAR / 2);
        let due = moment >= now() + YEAR - margin;
        let renewed: BTreeSet<(Child, &str)> = built.credentials.reissued.iter().map(|(child, reason)| (*child, reason.as_str())).collect();
        let expected = if due { 6 } else { 0 };
        prop_assert_eq!(renewed.len(), expected);
        prop_assert!(renewed.iter().all(|(_, reason)| *reason == Reissue::NearExpiry.as_str()));
        prop_assert_eq!(built.storage_credentials.reissued.is_some(), due);
    }
}

#[test]
fn a_threshold_longer_than_a_life_does_not_renew_without_end() {
    let ground = Ground::settled(&scenario::named("minimal"));
    let at = kamaji_resources::Clock { now: now() + DAY, renew_before: YEAR * 2 };
    assert_eq!(ground.build(at).credentials.reissued, []);
    assert_eq!(ground.build(clock(now() + DAY)).credentials.reissued, []);
}

/// What a pass may have seen.
fn facts() -> impl Strategy<Value = Facts> {
    let findings = subsequence(Concern::VITAL.to_vec(), 0..=Concern::VITAL.len())
        .prop_flat_map(|concerns| (Just(concerns.clone()), vec(any::<bool>(), concerns.len())))
        .prop_map(|(concerns, holds)| {
            let finding =
                |holds| if holds { Finding::holds("Fine", "fine") } else { Finding::fails("Bad", "bad") };
            concerns
                .into_iter()
                .zip(holds)
                .map(|(concern, holds)| (concern, finding(holds)))
                .collect::<BTreeMap<_, _>>()
        });
    let checksums = btree_map(select(Child::ALL.to_vec()), "[0-9a-f]{4}", 0..6);
    (findings, checksums, proptest::option::of(deployment()), any::<bool>()).prop_map(
        |(findings, checksums, deployment, claimed)| Facts {
            claim: claimed.then(|| Claim {
                data_store: "default".into(),
                driver: Driver::Etcd,
                schema: "schema".into(),
                user: "user".into(),
            }),
            deployment,
            checksums,
            findings,
            ..Facts::default()
        },
    )
}

fn deployment() -> impl Strategy<Value = Deployment> {
    (0..3_i64, 0..3_i32, 0..3_i32, 0..3_i32, 0..3_i32).prop_map(
        |(observed, wanted, total, updated, ready)| {
            let mut deployment = Deployment::default();
            deployment.metadata.generation = Some(1);
            deployment.spec.replicas = Some(wanted);
            deployment.status = Some(DeploymentStatus {
                observed_generation: Some(observed),
                replicas: Some(total),
                updated_replicas: Some(updated),
                ready_replicas: Some(ready),
                ..DeploymentStatus::default()
            });
            deployment
        },
    )
}

#[test]
fn a_status_shows_no_fractions_of_a_second() {
    let moment: Timestamp = "2026-11-23T02:00:00.123456Z".parse().unwrap();
    let facts =
        Facts { findings: [(Concern::Endpoint, Finding::holds("Fine", "fine"))].into(), ..Facts::default() };
    let found = status::compute(&fixtures::tenant(), None, &facts, moment);
    assert!(found.conditions.iter().all(|condition| condition.last_transition_time.0 == now()));
}
