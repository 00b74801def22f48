//! Whatever somebody does to an object of ours is undone; what others add to it stays.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use kamaji_addons::{Identity, Object};
use kamaji_api::labels;
use kamaji_e2e::operator::{
    Lane,
    cluster::{TenantCluster, kinds},
};
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PostParams},
};
use serde_json::{Value, json};

use crate::{
    SILENCE,
    tenant::{all_addons, all_settled, create, delete, kept, patch, settled, until},
};

/// How many objects are tormented at the same time.
const AT_ONCE: usize = 8;
/// What kube-controller-manager adds to `cluster-info`.
const SIGNATURE: &str = "jws-kubeconfig-abcdef";

fn theirs() -> Value {
    json!({ "metadata": { "labels": { "theirs": "1" }, "annotations": { "theirs": "2" } } })
}

/// A change of a field that is ours.
fn edit(object: &Object) -> Patch<Value> {
    let data = &object.desired.data;
    let operation = match object.identity().plural.as_str() {
        "configmaps" => {
            let key = data["data"].as_object().unwrap().keys().next().unwrap();
            json!({ "op": "replace", "path": format!("/data/{}", key.replace('/', "~1")), "value": "theirs" })
        }
        "roles" | "clusterroles" => {
            json!({ "op": "replace", "path": "/rules/0/verbs", "value": ["impersonate"] })
        }
        "rolebindings" | "clusterrolebindings" => json!({ "op": "remove", "path": "/subjects" }),
        "services" => json!({ "op": "replace", "path": "/spec/selector", "value": { "app": "theirs" } }),
        "deployments" | "daemonsets" => {
            json!({ "op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "theirs:1" })
        }
        "serviceaccounts" => {
            let label = labels::PROJECT.replace('/', "~1");
            json!({ "op": "replace", "path": format!("/metadata/labels/{label}"), "value": "theirs" })
        }
        other => panic!("{other}: how is one edited?"),
    };
    Patch::Json(serde_json::from_value(json!([operation])).unwrap())
}

async fn torment(tenant: &TenantCluster, object: &Object) {
    let before = tenant.live(object).await.unwrap().unwrap();
    delete(tenant, object).await;
    let is_back = async || tenant.live(object).await.unwrap().is_some_and(|live| live.uid() != before.uid());
    until(&format!("{:?} is back", object.identity()), is_back).await;
    settled(tenant, object, "a deletion").await;

    let added = patch(tenant, object, &Patch::Merge(theirs())).await;
    assert!(tenant.is_settled(object).await.unwrap(), "{:?}: additions are no drift", object.identity());
    let edited = patch(tenant, object, &edit(object)).await;
    assert_ne!(edited.resource_version(), added.resource_version(), "{:?}: no change", object.identity());
    settled(tenant, object, "an edit").await;
    let label = json!({ "metadata": { "labels": { (labels::PROJECT): null } } });
    patch(tenant, object, &Patch::Merge(label)).await;
    settled(tenant, object, "the loss of our label").await;

    let after = tenant.live(object).await.unwrap().unwrap();
    assert_eq!(after.labels().get("theirs").map(String::as_str), Some("1"), "{:?}", object.identity());
    assert_eq!(after.annotations().get("theirs").map(String::as_str), Some("2"), "{:?}", object.identity());
}

fn find<'a>(objects: &'a [Object], plural: &str, name: &str) -> &'a Object {
    let found = objects.iter().find(|object| {
        let Identity { plural: kind, name: its, .. } = object.identity();
        kind == plural && its == name
    });
    found.unwrap_or_else(|| panic!("{plural} {name}"))
}

fn is_binding(object: &Object) -> bool {
    object.identity().plural.ends_with("rolebindings")
}

/// A binding of the same name to another role: it cannot be changed, only made anew.
fn turned(object: &Object) -> kube::api::DynamicObject {
    let mut other = object.desired.clone();
    other.data["roleRef"]["name"] = "view".into();
    other.data["roleRef"]["kind"] = "ClusterRole".into();
    other
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_done_to_our_objects_is_undone_and_what_others_add_stays() {
    let (lane, operator, tenant) = kept(&all_addons()).await;
    let desired = tenant.desired(&lane).await.unwrap();
    assert_labelled_are(&tenant, &desired).await;
    all_settled(&tenant, &desired, "the beginning").await;

    let cluster_info = find(&desired, "configmaps", "cluster-info");
    let delayed = ["cluster-info", "kubeadm:cluster-admins"];
    let objects = desired.iter().filter(|object| !delayed.contains(&object.identity().name.as_str()));
    stream::iter(objects).for_each_concurrent(AT_ONCE, |object| Box::pin(torment(&tenant, object))).await;
    // Without it an administrator is none.
    torment(&tenant, find(&desired, "clusterrolebindings", "kubeadm:cluster-admins")).await;

    patch(&tenant, cluster_info, &Patch::Merge(json!({ "data": { (SIGNATURE): "signed" } }))).await;
    patch(&tenant, cluster_info, &edit(cluster_info)).await;
    settled(&tenant, cluster_info, "an edit").await;
    let signed = tenant.live(cluster_info).await.unwrap().unwrap();
    assert_eq!(signed.data["data"][SIGNATURE], "signed");
    torment(&tenant, cluster_info).await;
    println!("{} objects deleted, edited and stripped of our label", desired.len());

    let turned_while_watched = find(&desired, "clusterrolebindings", "kubeadm:get-nodes");
    // Somebody is faster than us sooner or later.
    until("somebody is faster", async || {
        let object = turned_while_watched;
        let api = tenant.api(&object.resource, &object.identity());
        drop(api.delete(&object.identity().name, &DeleteParams::default()).await);
        api.create(&PostParams::default(), &turned(object)).await.is_ok()
    })
    .await;
    settled(&tenant, turned_while_watched, "being turned").await;
    tenant.kept(&lane).await.unwrap();
    operator.kill().await;
    everything_again_after_an_absence(&lane, &tenant, &desired).await;
}

/// What happens while no operator looks is undone as soon as one does.
async fn everything_again_after_an_absence(lane: &Lane, tenant: &TenantCluster, desired: &[Object]) {
    for (number, object) in desired.iter().enumerate() {
        if is_binding(object) {
            delete(tenant, object).await;
            create(tenant, object, &turned(object), "somebody").await;
        } else if number % 2 == 0 {
            delete(tenant, object).await;
        } else {
            patch(tenant, object, &edit(object)).await;
        }
    }
    let operator = lane.operator().await.unwrap();
    all_settled(tenant, desired, "an absence").await;
    operator.silence(SILENCE).await.unwrap();
    assert_labelled_are(tenant, desired).await;
}

/// Nothing else bears our label.
async fn assert_labelled_are(tenant: &TenantCluster, desired: &[Object]) {
    let everything = tenant.everything(&kinds(desired)).await.unwrap();
    let ours = everything.iter().filter(|(_, object)| object.labels().contains_key(labels::PROJECT));
    let ours: BTreeSet<String> = ours.map(|(id, _)| id.clone()).collect();
    let expected = desired.iter().map(|object| {
        let Identity { namespace, name, .. } = object.identity();
        format!("{} {}/{name}", object.resource.kind, namespace.unwrap_or_default())
    });
    assert_eq!(ours, expected.collect());
}
