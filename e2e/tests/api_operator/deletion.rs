//! Deletion needs no Secret and makes nothing; what is paused is left alone, but for its deletion.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kamaji_api::{labels, v1alpha1::TenantControlPlane};
use kamaji_e2e::{
    digest::{store_digest, versions},
    etcd::now,
    operator::{Lane, wait_gone},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::json;

use crate::{MOMENT, SILENCE, crash::assert_nothing_left};

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_goes_takes_its_tenant_along_although_the_secrets_went_first() {
    let lane = Lane::new().await.unwrap();
    let operator = lane.operator().await.unwrap();
    lane.tenant("blue").await.unwrap();
    let tcp = lane.converged("blue").await.unwrap();
    operator.silence(MOMENT).await.unwrap();

    // The namespace controller's part: nothing new may be made, and what is there goes in no particular order.
    let namespaces = Api::<Namespace>::all(lane.client.clone());
    namespaces.delete(&lane.namespace, &DeleteParams::default()).await.unwrap();
    let secrets = lane.objects::<Secret>();
    secrets.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    lane.delete("blue").await.unwrap();
    wait_gone(&lane.tenants(), "blue").await.unwrap();
    operator.silence(SILENCE).await.unwrap();

    assert_nothing_left(&lane, &tcp).await;
    assert!(
        secrets.list(&ListParams::default()).await.unwrap().items.is_empty(),
        "no Secret is left or made again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_are_gone_do_not_hold_up_a_deletion() {
    let lane = Lane::new().await.unwrap();
    let operator = lane.operator().await.unwrap();
    lane.tenant("blue").await.unwrap();
    let tcp = lane.converged("blue").await.unwrap();
    operator.silence(MOMENT).await.unwrap();
    operator.kill().await;

    let secrets = lane.objects::<Secret>();
    let ours = ListParams::default().labels(&format!("{}={}", labels::PROJECT, labels::PROJECT_VALUE));
    for secret in secrets.list(&ours).await.unwrap() {
        let free = json!({ "metadata": { "finalizers": null } });
        secrets.patch(&secret.name_any(), &PatchParams::default(), &Patch::Merge(&free)).await.unwrap();
        secrets.delete(&secret.name_any(), &DeleteParams::default()).await.unwrap();
    }
    lane.delete("blue").await.unwrap();
    let _operator = lane.operator().await.unwrap();
    wait_gone(&lane.tenants(), "blue").await.unwrap();
    assert_nothing_left(&lane, &tcp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_tenant_is_not_written_to_until_it_is_deleted() {
    let lane = Lane::new().await.unwrap();
    let operator = lane.operator().await.unwrap();
    lane.tenant("blue").await.unwrap();
    let pause =
        |value: serde_json::Value| json!({ "metadata": { "annotations": { labels::PAUSED: value } } });
    lane.converged("blue").await.unwrap();
    let tcp = lane.edit::<TenantControlPlane>("blue", &pause(json!("true"))).await.unwrap();
    operator.silence(SILENCE).await.unwrap();
    operator.wire.clear();

    lane.objects::<Secret>().delete("blue-admin-kubeconfig", &DeleteParams::default()).await.unwrap();
    let grown = json!({ "spec": { "controlPlane": { "deployment": { "replicas": 3 } } } });
    lane.edit::<TenantControlPlane>("blue", &grown).await.unwrap();
    operator.silence(SILENCE).await.unwrap();
    assert_eq!(operator.wire.writes(), []);

    lane.edit::<TenantControlPlane>("blue", &pause(json!(null))).await.unwrap();
    let restored = |secret: &Secret| secret.metadata.deletion_timestamp.is_none();
    kamaji_e2e::operator::wait_for(&lane.objects(), "blue-admin-kubeconfig", "restored", restored)
        .await
        .unwrap();

    let end = now() + SignedDuration::from_secs(3);
    let mut brief = pause(json!("true"));
    brief["metadata"]["annotations"][labels::PAUSED_UNTIL] = json!(end.to_string());
    lane.edit::<TenantControlPlane>("blue", &brief).await.unwrap();
    operator.silence(MOMENT).await.unwrap();
    lane.objects::<Secret>().delete("blue-admin-kubeconfig", &DeleteParams::default()).await.unwrap();
    kamaji_e2e::operator::wait_for(&lane.objects(), "blue-admin-kubeconfig", "restored", restored)
        .await
        .unwrap();
    assert!(now() >= end, "written to while it was paused");

    brief["metadata"]["annotations"][labels::PAUSED_UNTIL] = json!(null);
    lane.edit::<TenantControlPlane>("blue", &brief).await.unwrap();
    operator.silence(MOMENT).await.unwrap();
    lane.delete("blue").await.unwrap();
    wait_gone(&lane.tenants(), "blue").await.unwrap();
    assert_nothing_left(&lane, &tcp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleeping_tenant_is_deleted_like_any_other() {
    let lane = Lane::new().await.unwrap();
    let operator = lane.operator().await.unwrap();
    let mut manifest = lane.manifest("blue");
    manifest["spec"]["controlPlane"]["deployment"]["replicas"] = json!(0);
    lane.create(&manifest).await.unwrap();
    let asleep =
        |tcp: &TenantControlPlane| kamaji_e2e::operator::condition(tcp, "ControlPlane") == "False/Sleeping";
    let tcp = lane.tenant_that("blue", "asleep", asleep).await.unwrap();
    operator.silence(SILENCE).await.unwrap();
    operator.wire.clear();
    let before = versions::<TenantControlPlane>(&lane).await.unwrap();
    operator.silence(SILENCE).await.unwrap();
    assert_eq!(versions::<TenantControlPlane>(&lane).await.unwrap(), before);
    lane.delete("blue").await.unwrap();
    wait_gone(&lane.tenants(), "blue").await.unwrap();
    assert_nothing_left(&lane, &tcp).await;
    assert_eq!(store_digest(lane.etcd, &[tcp.uid().unwrap()]).await.unwrap(), "");
}
