//! A tenant that is kept, and what others do inside it.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kamaji_addons::Object;
use kamaji_e2e::operator::{Lane, Operator, PATIENCE, cluster::TenantCluster};
use kube::{
    ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

/// How often something is looked at that a test waits for.
const INTERVAL: Duration = Duration::from_millis(20);
/// Name under which others write inside tenants.
const SOMEBODY: &str = "somebody";

/// Every add-on.
pub(crate) fn all_addons() -> Value {
    json!({ "coreDNS": {}, "kubeProxy": {}, "konnectivity": {} })
}

pub(crate) fn manifest(lane: &Lane, name: &str, addons: &Value) -> Value {
    let mut manifest = lane.manifest(name);
    manifest["spec"]["addons"] = addons.clone();
    manifest
}

/// A tenant with these add-ons that is kept.
pub(crate) async fn kept(addons: &Value) -> (Lane, Operator, TenantCluster) {
    let lane = Lane::new().await.unwrap();
    let operator = lane.operator().await.unwrap();
    let tenant = TenantCluster::start(&lane, &manifest(&lane, "blue", addons)).await.unwrap();
    tenant.kept(&lane).await.unwrap();
    (lane, operator, tenant)
}

/// Looks until it is so.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !holds().await {
            tokio::time::sleep(INTERVAL).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

/// The object is as it should be.
pub(crate) async fn settled(tenant: &TenantCluster, object: &Object, what: &str) {
    let what = format!("{:?} after {what}", object.identity());
    until(&what, async || tenant.is_settled(object).await.unwrap()).await;
}

pub(crate) async fn all_settled(tenant: &TenantCluster, objects: &[Object], what: &str) {
    for object in objects {
        settled(tenant, object, what).await;
    }
}

/// Somebody deletes it.
pub(crate) async fn delete(tenant: &TenantCluster, object: &Object) {
    let identity = object.identity();
    let api = tenant.api(&object.resource, &identity);
    api.delete(&identity.name, &DeleteParams::background()).await.unwrap();
}

/// Somebody changes it.
pub(crate) async fn patch(tenant: &TenantCluster, object: &Object, change: &Patch<Value>) -> DynamicObject {
    let identity = object.identity();
    let params = PatchParams { field_manager: Some(SOMEBODY.into()), ..PatchParams::default() };
    let patched = tenant.api(&object.resource, &identity).patch(&identity.name, &params, change).await;
    patched.unwrap_or_else(|error| panic!("{identity:?}: {error}"))
}

/// Somebody makes it as `manager`, as programs do that know nothing of apply.
pub(crate) async fn create(tenant: &TenantCluster, object: &Object, desired: &DynamicObject, manager: &str) {
    let params = PostParams { field_manager: Some(manager.into()), ..PostParams::default() };
    let created = tenant.api(&object.resource, &object.identity()).create(&params, desired).await;
    created.unwrap_or_else(|error| panic!("{:?}: {error}", object.identity()));
}

/// Who owns what the Go operator made, though nothing here collects what has no owner.
pub(crate) fn owner(binding: &str) -> OwnerReference {
    OwnerReference {
        api_version: "rbac.authorization.k8s.io/v1".into(),
        kind: "ClusterRoleBinding".into(),
        name: binding.into(),
        uid: "7f0b6a0c-6b0e-4f3e-9c79-6d1b0d1f2c11".into(),
        ..OwnerReference::default()
    }
}

/// Objects that users made with our label; they are nobody's business.
pub(crate) async fn make_theirs(tenant: &TenantCluster, objects: &[Object]) -> Vec<Object> {
    let mut theirs = Vec::new();
    for kind in ["configmaps", "deployments", "daemonsets", "clusterrolebindings", "serviceaccounts"] {
        let Some(model) = objects.iter().find(|object| object.identity().plural == kind) else { continue };
        let mut object = model.clone();
        object.desired.metadata.name = Some("theirs".into());
        create(tenant, &object, &object.desired, SOMEBODY).await;
        theirs.push(object);
    }
    assert!(!theirs.is_empty());
    theirs
}

/// Versions of these objects; an object that is gone has none.
pub(crate) async fn versions(tenant: &TenantCluster, objects: &[Object]) -> Vec<Option<String>> {
    let mut all = Vec::new();
    for object in objects {
        all.push(tenant.live(object).await.unwrap().and_then(|live| live.resource_version()));
    }
    all
}
