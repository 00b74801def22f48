//! The writer against a real API server.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed, which is what it is for"
)]

#[path = "api_apply/adoption.rs"]
mod adoption;
#[path = "api_apply/custom.rs"]
mod custom;
#[path = "api_apply/deletion.rs"]
mod deletion;
#[path = "api_apply/errors.rs"]
mod errors;
#[path = "api_apply/objects.rs"]
mod objects;
#[path = "api_apply/settling.rs"]
mod settling;
#[path = "api_apply/wire.rs"]
mod wire;

use kamaji_apply::Cluster;
use kamaji_e2e::api_server::ApiServer;
use kube::{
    Api, Resource,
    api::{Patch, PatchParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// The manager under test.
const MANAGER: &str = "blue-operator";
/// Somebody else.
const SOMEBODY: &str = "somebody";

/// A writer, and a namespace of its own.
async fn fixture() -> (Cluster, String) {
    let api = ApiServer::shared().await.unwrap();
    let namespace = api.fresh_namespace().await.unwrap();
    (Cluster::new(api.client().await.unwrap(), MANAGER), namespace)
}

/// Reads the object that is named like this one.
async fn read<K>(cluster: &Cluster, like: &K) -> K
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let meta = like.meta();
    let name = meta.name.as_deref().unwrap();
    cluster.get_opt(meta.namespace.as_deref(), name).await.unwrap().expect("the object exists")
}

/// Edits an object as somebody else, the way `kubectl edit` does (operation `Update`).
async fn edit<K>(cluster: &Cluster, like: &K, patch: &Value) -> K
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Serialize
        + DeserializeOwned
        + std::fmt::Debug,
{
    let api = Api::<K>::namespaced(cluster.client().clone(), like.meta().namespace.as_deref().unwrap());
    let params = PatchParams { field_manager: Some(SOMEBODY.to_owned()), ..Default::default() };
    api.patch(like.meta().name.as_deref().unwrap(), &params, &Patch::Strategic(patch)).await.unwrap()
}

/// Who owns something of the object: manager, operation, subresource.
fn owners<K: Resource>(object: &K) -> Vec<(String, String, String)> {
    let entries = object.meta().managed_fields.iter().flatten();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    entries.map(|entry| (text(&entry.manager), text(&entry.operation), text(&entry.subresource))).collect()
}

fn version<K: Resource>(object: &K) -> String {
    object.meta().resource_version.clone().expect("what the server returns has a version")
}
