//! What is taken out of the spec is taken out of the arguments, then out of the store; but data only if somebody said so.

use k8s_openapi::api::apps::v1::Deployment;
use kamaji_api::{labels, v1alpha1::TenantControlPlane};
use kamaji_e2e::operator::{kubelet, message, wait_for, wait_gone};
use kube::{ResourceExt, api::DeleteParams};
use serde_json::json;

use crate::{
    MOMENT, SILENCE,
    ground::{
        argument, argument_of, event, found, keep, keys, lane, manifest, named, places, put, second, third,
        told, until, used_by,
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn an_account_goes_when_the_last_pod_that_uses_it_has_gone() {
    let lane = lane().await;
    let operator = lane.operator().await.unwrap();
    lane.create(&manifest(&lane, "blue", &[("/events", "second")])).await.unwrap();
    let tcp = lane.converged("blue").await.unwrap();
    kubelet::report_ready(&lane, "blue").await.unwrap();
    operator.silence(MOMENT).await.unwrap();
    put(second().await, &tcp, "events/default/one").await;
    let before = found(second().await, &tcp).await;
    assert!(before.contains("user ") && before.contains("role ") && before.contains("mark "), "{before}");

    keep(&lane, "blue", &[]).await;
    let deployments = lane.objects::<Deployment>();
    let silent = |deployment: &Deployment| argument_of(deployment).is_empty();
    wait_for(&deployments, "blue", "told nothing of overrides", silent).await.unwrap();
    operator.silence(SILENCE).await.unwrap();
    assert_eq!(found(second().await, &tcp).await, before, "its Pods have not been replaced yet");
    assert_eq!(places(&lane.tenants().get("blue").await.unwrap()).len(), 1);

    kubelet::report_ready(&lane, "blue").await.unwrap();
    lane.tenant_that("blue", "without overrides", |tcp| places(tcp).is_empty()).await.unwrap();
    assert_eq!(found(second().await, &tcp).await, "");
    used_by(&lane, &named(&lane, "second"), &[]).await;
    event(&lane, "OverrideRemoved", &named(&lane, "second")).await;
    let all = lane.data_stores();
    all.delete(&named(&lane, "second"), &DeleteParams::default()).await.unwrap();
    wait_gone(&all, &named(&lane, "second")).await.unwrap();
    assert_ne!(found(lane.etcd, &tcp).await, "", "its own place stays");
    operator.silence(SILENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_nobody_gave_up_stay_and_come_back_with_the_override() {
    let lane = lane().await;
    let operator = lane.operator().await.unwrap();
    let store = named(&lane, "second");
    lane.create(&manifest(&lane, "blue", &[("/configmaps", "second")])).await.unwrap();
    let tcp = lane.converged("blue").await.unwrap();
    put(second().await, &tcp, "configmaps/default/precious").await;

    keep(&lane, "blue", &[]).await;
    event(&lane, "ObjectsLeftBehind", "/configmaps").await;
    event(&lane, "OverrideDataKept", &store).await;
    let retired = |tcp: &TenantControlPlane| {
        let places = places(tcp);
        places.len() == 1 && places[0].retired_since.is_some()
    };
    let kept = lane.tenant_that("blue", "retired", retired).await.unwrap();
    assert_eq!(argument(&lane, "blue").await, "");
    let said = message(&kept, "DataStoreReachable");
    assert!(said.contains(&format!("{}={store}", labels::DISCARD_OVERRIDE)), "{said}");
    used_by(&lane, &store, &["blue"]).await;
    operator.silence(SILENCE).await.unwrap();
    assert_eq!(keys(second().await, &tcp).await, ["configmaps/default/precious"]);

    keep(&lane, "blue", &[("/configmaps", "second")]).await;
    let back = |tcp: &TenantControlPlane| places(tcp).iter().all(|place| place.retired_since.is_none());
    lane.tenant_that("blue", "back", back).await.unwrap();
    until("told again", async || argument(&lane, "blue").await.contains("/configmaps#")).await;
    assert_eq!(keys(second().await, &tcp).await, ["configmaps/default/precious"]);

    keep(&lane, "blue", &[]).await;
    lane.tenant_that("blue", "retired again", retired).await.unwrap();
    let wish = |store: &str| json!({ "metadata": { "annotations": { labels::DISCARD_OVERRIDE: store } } });
    lane.edit::<TenantControlPlane>("blue", &wish("true")).await.unwrap();
    operator.silence(SILENCE).await.unwrap();
    assert_eq!(keys(second().await, &tcp).await.len(), 1, "another name gives up nothing");
    lane.edit::<TenantControlPlane>("blue", &wish(&store)).await.unwrap();
    lane.tenant_that("blue", "without overrides", |tcp| places(tcp).is_empty()).await.unwrap();
    assert_eq!(found(second().await, &tcp).await, "");
    used_by(&lane, &store, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_place_goes_at_once_and_a_kind_moves_from_store_to_store() {
    let lane = lane().await;
    let _operator = lane.operator().await.unwrap();
    lane.create(&manifest(&lane, "blue", &[("/configmaps", "second"), ("/events", "second")])).await.unwrap();
    let tcp = lane.converged("blue").await.unwrap();
    let (second, third) = (second().await, third().await);
    assert_eq!(argument(&lane, "blue").await, told(&[("/configmaps", second), ("/events", second)]));
    assert_ne!(found(second, &tcp).await, "");

    keep(&lane, "blue", &[("/events", "third")]).await;
    let moved = |tcp: &TenantControlPlane| {
        places(tcp).iter().all(|place| place.data_store_name == named(&lane, "third"))
    };
    lane.tenant_that("blue", "moved", moved).await.unwrap();
    assert_eq!(argument(&lane, "blue").await, told(&[("/events", third)]));
    assert_eq!(found(second, &tcp).await, "", "nothing lay there");
    assert_ne!(found(third, &tcp).await, "");

    keep(&lane, "blue", &[("/events", "second")]).await;
    let back = |tcp: &TenantControlPlane| {
        places(tcp).iter().all(|place| place.data_store_name == named(&lane, "second"))
    };
    lane.tenant_that("blue", "back", back).await.unwrap();
    assert_eq!(argument(&lane, "blue").await, told(&[("/events", second)]));
    assert!(found(second, &tcp).await.contains("user "), "what was removed is made anew");
}

/// The second name leads to the very etcd where everything else of the tenant is.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_under_two_names_loses_nothing_when_one_of_them_goes() {
    let lane = lane().await;
    let operator = lane.operator().await.unwrap();
    lane.put_further_data_store("alias", lane.etcd, &lane.etcd.endpoint().to_string()).await.unwrap();
    lane.create(&manifest(&lane, "blue", &[("/events", "alias")])).await.unwrap();
    let tcp = lane.converged("blue").await.unwrap();
    put(lane.etcd, &tcp, "secrets/default/precious").await;
    operator.silence(MOMENT).await.unwrap();
    let before = found(lane.etcd, &tcp).await;

    keep(&lane, "blue", &[]).await;
    lane.tenant_that("blue", "without overrides", |tcp| places(tcp).is_empty()).await.unwrap();
    used_by(&lane, &named(&lane, "alias"), &[]).await;
    operator.silence(SILENCE).await.unwrap();
    assert_eq!(found(lane.etcd, &tcp).await, before);
    assert!(before.contains(&format!("/{}/secrets/default/precious", tcp.uid().unwrap())));

    keep(&lane, "blue", &[("/events", "alias")]).await;
    lane.tenant_that("blue", "with an override", |tcp| places(tcp).len() == 1).await.unwrap();
    lane.delete("blue").await.unwrap();
    wait_gone(&lane.tenants(), "blue").await.unwrap();
    assert_eq!(found(lane.etcd, &tcp).await, "");
}
