//! A tenant on NATS from its making to its end, and the one that finds the place taken.

use std::collections::BTreeSet;

use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_e2e::{
    nats::{self, Nats},
    operator::{Lane, cluster::TenantCluster, condition, message, wait_gone},
};
use kube::ResourceExt;

use crate::{SILENCE, tenant::keeps_objects};

/// The streams that hold anything.
async fn streams(nats: &Nats) -> BTreeSet<String> {
    let hand = nats.connect(nats::OWNER).await.unwrap();
    let streams = hand.streams().await.unwrap().into_iter();
    streams.filter(|(.., messages)| *messages > 0).map(|(name, ..)| name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_on_nats_is_made_answers_is_left_alone_and_leaves_nothing() {
    let nats = Nats::start().await.unwrap();
    let lane = Lane::on_database(&nats).await.unwrap();
    let operator = lane.operator().await.unwrap();
    let tenant = TenantCluster::start(&lane, &lane.manifest("blue")).await.unwrap();
    let tcp = tenant.kept(&lane).await.unwrap_or_else(|error| {
        panic!("{error:#}; {}", tenant.server.words_of_kine());
    });
    let uid = tcp.uid().unwrap();
    keeps_objects(&tenant.client).await;
    assert_eq!(streams(&nats).await, BTreeSet::from([format!("KV_{uid}"), "KV__kamaji".to_owned()]));

    operator.silence(SILENCE).await.unwrap();
    operator.stop().await.unwrap();
    let operator = lane.operator().await.unwrap();
    operator.silence(SILENCE).await.unwrap();
    assert_eq!(operator.wire.writes(), [], "a restart changes nothing");

    // As in life: the Pods are told to end, and some still run.
    lane.delete("blue").await.unwrap();
    wait_gone(&lane.tenants(), "blue").await.unwrap();
    assert_eq!(streams(&nats).await, BTreeSet::new());
    drop(tenant);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_tenant_is_told_who_the_first_is_and_gets_the_place_when_that_is_gone() {
    let nats = Nats::start().await.unwrap();
    let lane = Lane::on_database(&nats).await.unwrap();
    let _operator = lane.operator().await.unwrap();
    lane.tenant("blue").await.unwrap();
    let blue = lane.converged("blue").await.unwrap().uid().unwrap();
    lane.tenant("green").await.unwrap();
    let refused = |tcp: &TenantControlPlane| condition(tcp, "DataStoreReachable") == "False/ForeignObject";
    let green = lane.tenant_that("green", "refused", refused).await.unwrap();
    let said = message(&green, "DataStoreReachable");
    assert!(said.contains(&blue) && said.contains("a DataStore of its own"), "{said}");
    assert_eq!(
        streams(&nats).await,
        BTreeSet::from(["KV__kamaji".to_owned()]),
        "the first has not been touched, and nothing of the second is there"
    );
    lane.delete("blue").await.unwrap();
    wait_gone(&lane.tenants(), "blue").await.unwrap();
    lane.converged("green").await.unwrap();
    lane.delete("green").await.unwrap();
    wait_gone(&lane.tenants(), "green").await.unwrap();
    assert_eq!(streams(&nats).await, BTreeSet::new());
}
