//! Taking over the fields of a manager that we replace.
//!
//! A program that wrote with `Update` (POST, PUT, merge patch) owns its fields under that operation. Once we apply the
//! same fields both own them, and a field that we stop saying stays for ever, because its other owner never lets go.
//! So its ownership is booked over to us first.

use std::collections::BTreeMap;

use http::{Method, header::CONTENT_TYPE};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, ObjectMeta};
use kube::Resource;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::{
    Cluster, Error, ObjectId,
    error::Failure,
    exchange::{self, WRITE_DEADLINE},
    owned::Part,
};

/// The JSON patch that books everything which the managers named in `from` own over to what `manager` applied; `None`
/// when they own nothing.
///
/// Both what they updated and what they applied is taken, of the object and of its status, which stay apart. The values
/// do not change. The patch fails with a conflict when the object has changed since `meta` was read.
pub fn adoption(meta: &ObjectMeta, from: &[&str], manager: &str) -> Option<Value> {
    let entries = meta.managed_fields.as_deref().unwrap_or_default();
    let is_ours = |entry: &ManagedFieldsEntry| {
        entry.manager.as_deref() == Some(manager) && entry.operation.as_deref() == Some("Apply")
    };
    let is_taken = |entry: &ManagedFieldsEntry| {
        entry.manager.as_deref().is_some_and(|name| from.contains(&name)) && Part::of(entry).is_some()
    };
    if !entries.iter().any(|entry| is_taken(entry) && !is_ours(entry)) {
        return None;
    }
    let (merged, mut kept): (Vec<_>, Vec<_>) = entries
        .iter()
        .cloned()
        .partition(|entry| is_ours(entry) || is_taken(entry));
    let mut ours: BTreeMap<Option<String>, ManagedFieldsEntry> = BTreeMap::new();
    for entry in merged {
        let subresource = entry.subresource.clone().filter(|name| !name.is_empty());
        match ours.remove(&subresource) {
            Some(before) => ours.insert(subresource, united(before, &entry)),
            None => ours.insert(subresource, applied_by(manager, entry)),
        };
    }
    kept.extend(ours.into_values());
    // As a replacement and not as a test: a version that moved on is then a conflict, not an invalid patch.
    Some(json!([
        { "op": "replace", "path": "/metadata/managedFields", "value": kept },
        { "op": "replace", "path": "/metadata/resourceVersion", "value": meta.resource_version },
    ]))
}

impl Cluster {
    /// Takes over what the managers named in `from` own of `live`, and returns the object as it is then; `None` when
    /// there is nothing to take.
    ///
    /// Apply afterwards: what is ours now and `desired` does not say is then removed. An object that changed since
    /// `live` was read is a [conflict](Error::is_conflict).
    pub async fn adopt<K>(&self, live: &K, from: &[&str]) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        let Some(patch) = adoption(live.meta(), from, self.manager) else {
            return Ok(None);
        };
        let object = ObjectId::of(live);
        match self.send_adoption(&object, &patch).await {
            Ok(adopted) => {
                tracing::info!(%object, manager = self.manager, "took over fields");
                Ok(Some(adopted))
            }
            Err(source) => Err(Error::Adopt {
                object,
                source: Box::new(source),
            }),
        }
    }

    async fn send_adoption<K>(&self, object: &ObjectId, patch: &Value) -> Result<K, Failure>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        let collection = exchange::collection::<K>(object)?;
        let request = http::Request::builder()
            .method(Method::PATCH)
            .uri(format!(
                "{collection}/{}?fieldManager={}",
                object.name, self.manager
            ))
            .header(CONTENT_TYPE, "application/json-patch+json")
            .body(patch.to_string().into_bytes())
            .map_err(Failure::build)?;
        exchange::read_object(&self.client, request, WRITE_DEADLINE).await
    }
}

fn applied_by(manager: &str, entry: ManagedFieldsEntry) -> ManagedFieldsEntry {
    ManagedFieldsEntry {
        manager: Some(manager.to_owned()),
        operation: Some("Apply".to_owned()),
        ..entry
    }
}

/// Both sets of fields. Everything else is that of the entry which came first: the server sorts `Apply` to the front,
/// so where we have applied before that is ours.
fn united(first: ManagedFieldsEntry, second: &ManagedFieldsEntry) -> ManagedFieldsEntry {
    let tree = |entry: &ManagedFieldsEntry| match &entry.fields_v1 {
        Some(FieldsV1(Value::Object(tree))) => tree.clone(),
        _ => Map::new(),
    };
    let mut both = tree(&first);
    unite(&mut both, tree(second));
    ManagedFieldsEntry {
        fields_v1: Some(FieldsV1(Value::Object(both))),
        ..first
    }
}

fn unite(left: &mut Map<String, Value>, right: Map<String, Value>) {
    for (key, right) in right {
        match (left.get_mut(&key), right) {
            (Some(Value::Object(left)), Value::Object(right)) => {
                let is_member = [&*left, &right]
                    .into_iter()
                    .any(|node| node.is_empty() || node.contains_key("."));
                unite(left, right);
                if is_member && !left.is_empty() {
                    left.insert(".".to_owned(), json!({}));
                }
            }
            (_, right) => {
                left.insert(key, right);
            }
        }
    }
}
