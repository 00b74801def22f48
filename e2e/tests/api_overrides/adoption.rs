//! What the Go operator made in override stores, without marks and without a word in the status, is taken over as it is.

use etcd_client::Client;
use k8s_openapi::api::apps::v1::Deployment;
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_e2e::{
    digest::steady,
    operator::{Lane, condition, wait_gone},
};
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    MOMENT, SILENCE,
    ground::{found, keys, lane, manifest, places, put, second},
};

/// As the Go operator left it: user, role, data and arguments, but no marks, and no places in the status.
async fn left_by_go(lane: &Lane) -> TenantControlPlane {
    let operator = lane.operator().await.unwrap();
    lane.create(&manifest(lane, "blue", &[("/configmaps", "second")])).await.unwrap();
    let tcp = lane.converged("blue").await.unwrap();
    operator.silence(MOMENT).await.unwrap();
    operator.kill().await;
    put(second().await, &tcp, "configmaps/default/precious").await;
    unmark(&second().await.root().await.unwrap(), &tcp.uid().unwrap()).await;
    let forgotten = json!({ "status": { "storage": { "overrides": null } } });
    let params = PatchParams::default();
    lane.tenants().patch_status("blue", &params, &Patch::Merge(&forgotten)).await.unwrap();
    tcp
}

async fn unmark(etcd: &Client, uid: &str) {
    let all = etcd_client::GetOptions::new().with_prefix().with_keys_only();
    let marks = steady(async || etcd.clone().get("/_kamaji/", Some(all.clone())).await).await.unwrap();
    for mark in marks.kvs().iter().filter(|mark| String::from_utf8_lossy(mark.key()).contains(uid)) {
        steady(async || etcd.clone().delete(mark.key(), None).await).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_of_the_go_operators_is_taken_over_and_goes_with_the_tenant() {
    let lane = lane().await;
    let before = left_by_go(&lane).await;
    let generation = lane.objects::<Deployment>().get("blue").await.unwrap().metadata.generation;
    assert!(!found(second().await, &before).await.contains("mark "));

    let operator = lane.operator().await.unwrap();
    let claimed = |tcp: &TenantControlPlane| places(tcp).len() == 1;
    let tcp = lane.tenant_that("blue", "claimed", claimed).await.unwrap();
    operator.silence(SILENCE).await.unwrap();
    let place = &places(&tcp)[0];
    let uid = tcp.uid().unwrap();
    assert_eq!((&place.schema, &place.user), (&uid, &uid));
    let taken = found(second().await, &tcp).await;
    assert!(taken.contains("mark ") && taken.contains("user "), "{taken}");
    assert_eq!(keys(second().await, &tcp).await, ["configmaps/default/precious"]);
    let deployment = lane.objects::<Deployment>().get("blue").await.unwrap();
    assert_eq!(deployment.metadata.generation, generation, "no Pod is replaced");

    lane.delete("blue").await.unwrap();
    wait_gone(&lane.tenants(), "blue").await.unwrap();
    assert_eq!(found(second().await, &tcp).await, "");
}

/// Whoever names a store in which somebody else has these names gets nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_unmarked_account_that_the_pods_do_not_use_is_somebody_elses() {
    let lane = lane().await;
    let name = format!("{}-taken", lane.namespace);
    let root = second().await.root().await.unwrap();
    steady(async || root.clone().role_add(name.clone()).await).await.unwrap();
    let _operator = lane.operator().await.unwrap();
    let mut manifest = manifest(&lane, "blue", &[("/events", "second")]);
    manifest["spec"]["dataStoreSchema"] = json!(name);
    lane.create(&manifest).await.unwrap();
    let refused = |tcp: &TenantControlPlane| condition(tcp, "DataStoreReachable") == "False/ForeignObject";
    lane.tenant_that("blue", "refused", refused).await.unwrap();
    lane.delete("blue").await.unwrap();
    wait_gone(&lane.tenants(), "blue").await.unwrap();
    let role = steady(async || root.clone().role_get(name.clone()).await).await;
    assert!(role.is_ok(), "what was there before is there still");
}
