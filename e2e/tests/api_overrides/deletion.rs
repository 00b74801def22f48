//! Of a deleted tenant nothing is left in any store; a store that is gone is named, and holds up no other.

use kamaji_api::{labels, v1alpha1::TenantControlPlane};
use kamaji_e2e::{
    etcd::proxy::{Mode, Proxy},
    operator::{Lane, Operator, message, wait_gone},
};
use kube::ResourceExt;
use serde_json::json;

use crate::{
    MOMENT, SILENCE,
    ground::{event, found, keep, lane, manifest, named, places, put, second, third, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_tenant_leaves_nothing_in_any_store() {
    let lane = lane().await;
    let operator = lane.operator().await.unwrap();
    let kinds = [("/events", "second"), ("/configmaps", "third")];
    lane.create(&manifest(&lane, "blue", &kinds)).await.unwrap();
    lane.create(&manifest(&lane, "green", &kinds)).await.unwrap();
    let (blue, green) = (lane.converged("blue").await.unwrap(), lane.converged("green").await.unwrap());
    for tcp in [&blue, &green] {
        put(second().await, tcp, "events/default/one").await;
        put(third().await, tcp, "configmaps/default/one").await;
    }
    // One that keeps nothing there any more, but has left something.
    keep(&lane, "blue", &[("/events", "second")]).await;
    let retired = |tcp: &TenantControlPlane| places(tcp).iter().any(|place| place.retired_since.is_some());
    lane.tenant_that("blue", "retired", retired).await.unwrap();
    operator.silence(MOMENT).await.unwrap();
    let stores = [lane.etcd, second().await, third().await];
    let mut before = Vec::new();
    for etcd in stores {
        before.push(found(etcd, &green).await);
    }
    lane.delete("blue").await.unwrap();
    wait_gone(&lane.tenants(), "blue").await.unwrap();
    for (etcd, before) in stores.into_iter().zip(before) {
        assert_eq!(found(etcd, &blue).await, "");
        assert_eq!(found(etcd, &green).await, before, "its neighbour's stays");
        assert_ne!(before, "");
    }
}

/// A tenant that waits for a store that is gone while it is deleted.
async fn stuck() -> (Lane, Proxy, Operator, TenantControlPlane) {
    let lane = lane().await;
    let proxy = Proxy::start(second().await.endpoint()).await.unwrap();
    lane.put_further_data_store("fragile", second().await, &proxy.endpoint().to_string()).await.unwrap();
    let operator = lane.operator().await.unwrap();
    let kinds = [("/events", "fragile"), ("/configmaps", "third")];
    lane.create(&manifest(&lane, "blue", &kinds)).await.unwrap();
    let tcp = lane.converged("blue").await.unwrap();
    put(second().await, &tcp, "events/default/one").await;
    operator.silence(MOMENT).await.unwrap();
    proxy.set(Mode::Refuse);
    lane.delete("blue").await.unwrap();
    let way_out = format!("{}={}", labels::ABANDON_DATASTORE, tcp.uid().unwrap());
    let store = named(&lane, "fragile");
    let waits = |tcp: &TenantControlPlane| {
        let said = message(tcp, "DataStoreReachable");
        said.contains(&way_out) && said.contains(&store)
    };
    let waiting = lane.tenant_that("blue", "waiting", waits).await.unwrap();
    println!("{}", message(&waiting, "DataStoreReachable"));
    for etcd in [lane.etcd, third().await] {
        until("the others are cleaned", async || found(etcd, &tcp).await.is_empty()).await;
    }
    assert_ne!(found(second().await, &tcp).await, "");
    (lane, proxy, operator, tcp)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_down_at_deletion_is_cleaned_once_it_is_back() {
    let (lane, proxy, _operator, tcp) = stuck().await;
    proxy.set(Mode::Pass);
    wait_gone(&lane.tenants(), "blue").await.unwrap();
    assert_eq!(found(second().await, &tcp).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_gone_for_good_can_be_abandoned_and_an_event_says_what_stays() {
    let (lane, proxy, operator, tcp) = stuck().await;
    let uid = tcp.uid().unwrap();
    let wish = json!({ "metadata": { "annotations": { labels::ABANDON_DATASTORE: uid } } });
    lane.edit::<TenantControlPlane>("blue", &wish).await.unwrap();
    wait_gone(&lane.tenants(), "blue").await.unwrap();
    event(&lane, "DataStoreAbandoned", &named(&lane, "fragile")).await;
    operator.silence(SILENCE).await.unwrap();
    let events = lane.events().await.unwrap();
    assert_eq!(
        events.iter().filter(|event| event.starts_with("DataStoreAbandoned")).count(),
        1,
        "{events:#?}"
    );
    drop(proxy);
    assert_ne!(found(second().await, &tcp).await, "", "the Event tells the truth");
}
