//! A pass may die at any write: whoever goes on ends where an undisturbed one would have, in every store.

use futures::{StreamExt, stream};
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_e2e::{
    cut::{Moment, Wire},
    digest::digest,
    operator::{Lane, wait_gone},
};
use kube::ResourceExt;

use crate::{
    MOMENT, SILENCE,
    ground::{argument, found, keep, lane, manifest, places, put, second, third, until},
};

/// How many crashes are tried at the same time.
const AT_ONCE: usize = 6;
const BOTH: [Moment; 2] = [Moment::Before, Moment::After];
const KINDS: [(&str, &str); 2] = [("/events", "second"), ("/configmaps", "third")];

/// Every place where a row of so many writes can be cut.
fn cuts(writes: usize) -> impl Iterator<Item = (usize, Moment)> {
    (0..writes).flat_map(|number| BOTH.map(|moment| (number, moment)))
}

/// The tenant and everything of it in every store, whatever its lane is called.
async fn everything(lane: &Lane) -> String {
    let tcp = lane.tenants().get("blue").await.unwrap();
    let mut text = digest(lane, "blue").await.unwrap();
    for etcd in [second().await, third().await] {
        text.push_str(&found(etcd, &tcp).await.replace(&tcp.uid().unwrap(), "<uid>"));
    }
    text
}

async fn assert_nothing_left(lane: &Lane, tcp: &TenantControlPlane, what: &str) {
    for etcd in [lane.etcd, second().await, third().await] {
        assert_eq!(found(etcd, tcp).await, "", "{what}");
    }
}

/// Waits for the cut, or for what happens if a pass of another order needs one write less.
async fn cut_or(wire: &Wire, otherwise: impl Future) {
    tokio::select! {
        () = wire.until_cut() => {}
        _ = otherwise => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_making_dies_at_any_write_is_made_all_the_same_or_leaves_nothing() {
    let lane = lane().await;
    let wire = Wire::new();
    let operator = lane.operator_over(wire.clone()).await.unwrap();
    lane.create(&manifest(&lane, "blue", &KINDS)).await.unwrap();
    lane.converged("blue").await.unwrap();
    operator.silence(SILENCE).await.unwrap();
    let writes = wire.writes().len();
    operator.kill().await;
    let expected = &everything(&lane).await;
    println!("{writes} writes");
    let sweep = stream::iter(cuts(writes)).for_each_concurrent(AT_ONCE, |(number, moment)| {
        Box::pin(async move {
            let what = format!("cut {moment:?} write {number}");
            let lane = self::lane().await;
            let wire = Wire::new();
            wire.cut_at(number, moment);
            let operator = lane.operator_over(wire.clone()).await.unwrap();
            let tcp = lane.create(&manifest(&lane, "blue", &KINDS)).await.unwrap();
            cut_or(&wire, lane.converged("blue")).await;
            operator.kill().await;
            if moment == Moment::After {
                // Whoever deletes it before anybody goes on with it must be left with nothing.
                lane.delete("blue").await.unwrap();
                let _operator = lane.operator().await.unwrap();
                wait_gone(&lane.tenants(), "blue").await.unwrap_or_else(|error| panic!("{what}: {error:#}"));
                return assert_nothing_left(&lane, &tcp, &what).await;
            }
            let operator = lane.operator().await.unwrap();
            lane.converged("blue").await.unwrap_or_else(|error| panic!("{what}: {error:#}"));
            operator.silence(MOMENT).await.unwrap();
            operator.kill().await;
            let reached = everything(&lane).await;
            assert!(reached == *expected, "{what}: expected {expected}\nand reached {reached}");
        })
    });
    sweep.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_whose_removal_dies_at_any_write_is_removed_all_the_same() {
    let (lane, _) = provisioned().await;
    let wire = Wire::new();
    let operator = lane.operator_over(wire.clone()).await.unwrap();
    operator.silence(SILENCE).await.unwrap();
    wire.clear();
    keep(&lane, "blue", &KINDS[1..]).await;
    removed(&lane).await;
    operator.silence(SILENCE).await.unwrap();
    let writes = wire.writes().len();
    operator.kill().await;
    println!("{writes} writes");
    stream::iter(cuts(writes))
        .for_each_concurrent(AT_ONCE, |(number, moment)| {
            Box::pin(async move {
                let (lane, tcp) = provisioned().await;
                let wire = Wire::new();
                let operator = lane.operator_over(wire.clone()).await.unwrap();
                operator.silence(MOMENT).await.unwrap();
                wire.cut_at(number, moment);
                keep(&lane, "blue", &KINDS[1..]).await;
                cut_or(&wire, removed(&lane)).await;
                operator.kill().await;
                let operator = lane.operator().await.unwrap();
                removed(&lane).await;
                operator.silence(MOMENT).await.unwrap();
                let what = format!("cut {moment:?} write {number}");
                assert_eq!(found(second().await, &tcp).await, "", "{what}");
                assert_ne!(found(third().await, &tcp).await, "", "{what}");
                assert!(!argument(&lane, "blue").await.contains("/events"), "{what}");
            })
        })
        .await;
}

async fn removed(lane: &Lane) {
    lane.tenant_that("blue", "one override less", |tcp| places(tcp).len() == 1).await.unwrap();
    until("told of one override less", async || !argument(lane, "blue").await.contains("/events")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_dies_at_any_write_leaves_nothing_in_any_store() {
    let (lane, tcp) = provisioned().await;
    let wire = Wire::new();
    let operator = lane.operator_over(wire.clone()).await.unwrap();
    operator.silence(SILENCE).await.unwrap();
    wire.clear();
    lane.delete("blue").await.unwrap();
    wait_gone(&lane.tenants(), "blue").await.unwrap();
    operator.silence(SILENCE).await.unwrap();
    let writes = wire.writes().len();
    operator.kill().await;
    assert_nothing_left(&lane, &tcp, "undisturbed").await;
    println!("{writes} writes");
    stream::iter(cuts(writes))
        .for_each_concurrent(AT_ONCE, |(number, moment)| {
            Box::pin(async move {
                let (lane, tcp) = provisioned().await;
                let wire = Wire::new();
                let operator = lane.operator_over(wire.clone()).await.unwrap();
                operator.silence(MOMENT).await.unwrap();
                wire.cut_at(number, moment);
                lane.delete("blue").await.unwrap();
                let tenants = lane.tenants();
                cut_or(&wire, wait_gone(&tenants, "blue")).await;
                operator.kill().await;
                let _operator = lane.operator().await.unwrap();
                wait_gone(&lane.tenants(), "blue").await.unwrap();
                assert_nothing_left(&lane, &tcp, &format!("cut {moment:?} write {number}")).await;
            })
        })
        .await;
}

/// A tenant with data in every store, and nobody who looks after it.
async fn provisioned() -> (Lane, TenantControlPlane) {
    let lane = lane().await;
    let operator = lane.operator().await.unwrap();
    lane.create(&manifest(&lane, "blue", &KINDS)).await.unwrap();
    let tcp = lane.converged("blue").await.unwrap();
    put(second().await, &tcp, "events/default/one").await;
    put(third().await, &tcp, "configmaps/default/one").await;
    operator.silence(MOMENT).await.unwrap();
    operator.kill().await;
    (lane, tcp)
}
