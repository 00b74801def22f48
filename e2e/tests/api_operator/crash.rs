//! A pass may die at any write: whoever goes on ends where an undisturbed one would have.

use futures::{StreamExt, stream};
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_e2e::{
    cut::{Moment, Wire},
    digest::{digest, store_digest},
    operator::{Lane, wait_gone},
};
use kube::ResourceExt;

/// How many crashes are tried at the same time.
pub(crate) const AT_ONCE: usize = 6;
const BOTH: [Moment; 2] = [Moment::Before, Moment::After];

/// Every place where a row of so many writes can be cut.
pub(crate) fn cuts(writes: usize) -> impl Iterator<Item = (usize, Moment)> {
    (0..writes).flat_map(|number| BOTH.map(|moment| (number, moment)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provisioning_that_dies_at_any_write_ends_as_an_undisturbed_one() {
    let lane = Lane::new().await.unwrap();
    let wire = Wire::new();
    let operator = lane.operator_over(wire.clone()).await.unwrap();
    crate::pair(&lane).await.unwrap();
    lane.converged("blue").await.unwrap();
    operator.silence(crate::SILENCE).await.unwrap();
    let writes = wire.writes().len();
    operator.kill().await;
    let undisturbed = digest(&lane, "blue").await.unwrap();

    let expected = &undisturbed;
    let sweep = stream::iter(cuts(writes)).for_each_concurrent(AT_ONCE, |(number, moment)| {
        Box::pin(async move {
            let reached = provision_with_a_crash(number, moment).await;
            assert!(
                reached == *expected,
                "cut {moment:?} write {number}: {}",
                difference(expected, &reached)
            );
        })
    });
    sweep.await;
    println!("{} crashes", 2 * writes);
}

async fn provision_with_a_crash(number: usize, moment: Moment) -> String {
    let lane = Lane::new().await.unwrap();
    let wire = Wire::new();
    wire.cut_at(number, moment);
    let operator = lane.operator_over(wire.clone()).await.unwrap();
    crate::pair(&lane).await.unwrap();
    // Rarely a pass of another order needs one write less, and nothing is cut.
    tokio::select! {
        () = wire.until_cut() => {}
        _ = lane.converged("blue") => {}
    }
    operator.kill().await;
    let operator = lane.operator().await.unwrap();
    lane.converged("blue").await.unwrap_or_else(|error| panic!("cut {moment:?} write {number}: {error:#}"));
    operator.silence(crate::MOMENT).await.unwrap();
    operator.kill().await;
    digest(&lane, "blue").await.unwrap()
}

/// Where two digests part.
pub(crate) fn difference(expected: &str, reached: &str) -> String {
    let same = expected.lines().zip(reached.lines()).take_while(|(one, other)| one == other).count();
    let from = |text: &str| text.lines().skip(same.saturating_sub(9)).take(30).collect::<Vec<_>>().join("\n");
    format!("expected\n{}\nand reached\n{}", from(expected), from(reached))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_dies_at_any_write_leaves_nothing() {
    let (lane, tcp) = provisioned().await;
    let wire = Wire::new();
    let operator = lane.operator_over(wire.clone()).await.unwrap();
    operator.silence(crate::SILENCE).await.unwrap();
    wire.clear();
    lane.delete("blue").await.unwrap();
    wait_gone(&lane.tenants(), "blue").await.unwrap();
    operator.silence(crate::SILENCE).await.unwrap();
    let writes = wire.writes();
    println!("{} writes: {writes:?}", writes.len());
    operator.kill().await;
    assert_nothing_left(&lane, &tcp).await;

    stream::iter(cuts(writes.len()))
        .for_each_concurrent(AT_ONCE, |(number, moment)| {
            Box::pin(async move {
                println!("cut {moment:?} write {number}");
                let (lane, tcp) = provisioned().await;
                let wire = Wire::new();
                let operator = lane.operator_over(wire.clone()).await.unwrap();
                operator.silence(crate::MOMENT).await.unwrap();
                wire.cut_at(number, moment);
                lane.delete("blue").await.unwrap();
                let tenants = lane.tenants();
                tokio::select! {
                    () = wire.until_cut() => {}
                    _ = wait_gone(&tenants, "blue") => {}
                }
                operator.kill().await;
                let operator = lane.operator().await.unwrap();
                wait_gone(&lane.tenants(), "blue").await.unwrap();
                operator.kill().await;
                assert_nothing_left(&lane, &tcp).await;
            })
        })
        .await;
}

/// CR-3: whoever deletes a tenant whose making died must not leave anything behind either.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_deleted_while_its_operator_was_dead_leaves_nothing() {
    let lane = Lane::new().await.unwrap();
    let wire = Wire::new();
    let operator = lane.operator_over(wire.clone()).await.unwrap();
    crate::pair(&lane).await.unwrap();
    lane.converged("blue").await.unwrap();
    operator.silence(crate::SILENCE).await.unwrap();
    let writes = wire.writes().len();
    operator.kill().await;

    stream::iter(cuts(writes))
        .for_each_concurrent(AT_ONCE, |(number, moment)| {
            Box::pin(async move {
                let lane = Lane::new().await.unwrap();
                let wire = Wire::new();
                wire.cut_at(number, moment);
                let operator = lane.operator_over(wire.clone()).await.unwrap();
                let tcp = crate::pair(&lane).await.unwrap();
                tokio::select! {
                    () = wire.until_cut() => {}
                    _ = lane.converged("blue") => {}
                }
                operator.kill().await;
                lane.delete("blue").await.unwrap();
                let operator = lane.operator().await.unwrap();
                let gone = wait_gone(&lane.tenants(), "blue").await;
                gone.unwrap_or_else(|error| panic!("cut {moment:?} write {number}: {error:#}"));
                operator.silence(crate::MOMENT).await.unwrap();
                operator.kill().await;
                assert_nothing_left(&lane, &tcp).await;
            })
        })
        .await;
}

/// A tenant that is there, and nobody who looks after it.
async fn provisioned() -> (Lane, TenantControlPlane) {
    let lane = Lane::new().await.unwrap();
    let operator = lane.operator().await.unwrap();
    crate::pair(&lane).await.unwrap();
    let tcp = lane.converged("blue").await.unwrap();
    operator.silence(crate::MOMENT).await.unwrap();
    operator.kill().await;
    (lane, tcp)
}

/// What the garbage collector will find has its owner's name on it and nothing that holds it back; nothing is in etcd.
pub(crate) async fn assert_nothing_left(lane: &Lane, tcp: &TenantControlPlane) {
    let uid = tcp.uid().unwrap();
    for (id, metadata) in lane.children().await.unwrap() {
        let owners = metadata.owner_references.unwrap_or_default();
        assert!(owners.iter().any(|owner| owner.uid == uid), "{id} is not collected");
        assert_eq!(metadata.finalizers, None, "{id} is held back");
    }
    assert_eq!(store_digest(lane.etcd, std::slice::from_ref(&uid)).await.unwrap(), "");
}
