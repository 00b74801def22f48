//! Two replicas: only the one that holds the Lease writes.

use std::time::Duration;

use k8s_openapi::api::{coordination::v1::Lease, core::v1::Secret};
use kamaji_api::labels;
use kamaji_e2e::{
    cut::Wire,
    operator::{Lane, Operator, PATIENCE, options, wait_for},
};
use kamaji_operator::Options;
use kube::api::DeleteParams;

/// A replica, and the Lease must be somebody's once it is there.
async fn replica(lane: &Lane) -> Operator {
    let options = Options { lease_namespace: Some(lane.namespace.clone()), ..options() };
    lane.operator_with(Wire::without(&["leases", "events"]), options).await.unwrap()
}

async fn holder(lane: &Lane, what: &str, holds: impl Fn(&str) -> bool) -> String {
    let identity = |lease: &Lease| lease.spec.as_ref()?.holder_identity.clone();
    let wanted = |lease: &Lease| identity(lease).is_some_and(|holder| !holder.is_empty() && holds(&holder));
    let lease = wait_for(&lane.objects::<Lease>(), labels::LEADER_LEASE, what, wanted).await.unwrap();
    identity(&lease).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_holder_writes_and_a_killed_one_is_replaced_within_20_s() {
    let lane = Lane::new().await.unwrap();
    let first = replica(&lane).await;
    let leader = holder(&lane, "a first holder", |_| true).await;
    let second = replica(&lane).await;
    lane.tenant("blue").await.unwrap();
    lane.converged("blue").await.unwrap();
    assert_eq!(second.wire.writes(), []);
    assert_eq!(holder(&lane, "the same holder", |_| true).await, leader);

    first.kill().await;
    lane.tenant("green").await.unwrap();
    let taken_over = tokio::time::timeout(Duration::from_secs(20), lane.converged("green")).await;
    taken_over.expect("taken over within 20 s").unwrap();
    assert_ne!(holder(&lane, "another holder", |_| true).await, leader);
    let touched: Vec<_> =
        second.wire.writes().iter().filter(|write| write.path.contains("blue")).cloned().collect();
    assert_eq!(touched, [], "what the first one finished is left alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_holder_is_replaced_within_3_s_and_a_deposed_one_writes_nothing() {
    let lane = Lane::new().await.unwrap();
    let first = replica(&lane).await;
    let leader = holder(&lane, "a first holder", |_| true).await;
    let second = replica(&lane).await;
    second.silence(crate::MOMENT).await.unwrap();
    first.stop().await.unwrap();
    let others = holder(&lane, "another holder", |holder| holder != leader);
    tokio::time::timeout(Duration::from_secs(3), others).await.expect("taken over within 3 s");

    lane.tenant("blue").await.unwrap();
    lane.converged("blue").await.unwrap();
    // Somebody takes the Lease away.
    let stolen = serde_json::json!({ "spec": { "holderIdentity": "somebody" } });
    lane.edit::<Lease>(labels::LEADER_LEASE, &stolen).await.unwrap();
    let lost = |lease: &Lease| {
        lease.spec.as_ref().is_some_and(|spec| spec.holder_identity.as_deref() == Some("somebody"))
    };
    wait_for(&lane.objects::<Lease>(), labels::LEADER_LEASE, "lost", lost).await.unwrap();
    // From the theft to the next renewal, which is when it can be known.
    tokio::time::sleep(crate::SILENCE).await;
    let before = second.wire.writes().len();
    lane.tenant("green").await.unwrap();
    tokio::time::sleep(crate::SILENCE).await;
    assert_eq!(second.wire.writes().len(), before);
}

/// As when its process was stopped, or its network, for longer than the Lease lasts.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_holder_is_replaced_and_writes_nothing_when_it_goes_on() {
    let lane = Lane::new().await.unwrap();
    let first = replica(&lane).await;
    let leader = holder(&lane, "a first holder", |_| true).await;
    let second = replica(&lane).await;
    lane.tenant("blue").await.unwrap();
    lane.converged("blue").await.unwrap();
    first.silence(crate::MOMENT).await.unwrap();
    let written = first.wire.writes();
    assert_ne!(written, []);

    first.wire.freeze();
    // It hears of this, and what it wants to do about it is held.
    lane.tenant("green").await.unwrap();
    lane.converged("green").await.unwrap();
    assert_ne!(holder(&lane, "another holder", |_| true).await, leader);
    let asked = first.wire.requests();
    first.wire.thaw();
    let goes_on = async {
        while first.wire.requests() < asked + 3 {
            tokio::time::sleep(crate::MOMENT).await;
        }
    };
    tokio::time::timeout(PATIENCE, goes_on).await.expect("it goes on as a candidate");

    // Both hear of this, and one acts.
    lane.objects::<Secret>().delete("blue-scheduler-kubeconfig", &DeleteParams::default()).await.unwrap();
    wait_for(&lane.objects::<Secret>(), "blue-scheduler-kubeconfig", "made again", |_| true).await.unwrap();
    tokio::time::sleep(crate::SILENCE).await;
    assert_eq!(first.wire.writes()[written.len()..], []);
    assert!(second.wire.writes().iter().any(|write| write.path.contains("blue-scheduler-kubeconfig")));
}
