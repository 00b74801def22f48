//! Taking over the fields of a manager that we replace.
//!
//! A program that wrote with `Update` (POST, PUT, merge patch) owns its fields under that operation. Once we apply the
//! same fields both own them, and a field that we stop saying stays for ever, because its other owner never lets go.
//! So its ownership is booked over to us first.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, ObjectMeta};
use kube::Resource;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::{Cluster, Error, ObjectId, exchange, owned::Part, packed};

/// The JSON patch that books everything which the managers named in `from` own over to what `manager` applied; `None`
/// when they own nothing.
///
/// Both what they updated and what they applied is taken, of the object and of its status, which stay apart. The values
/// do not change. The patch fails with a conflict when the object has changed since `meta` was read.
pub fn adoption(meta: &ObjectMeta, from: &[&str], manager: &str) -> Option<Value> {
    transfer(meta, manager, |entry| match &entry.manager {
        Some(name) if from.contains(&name.as_str()) && Part::of(entry).is_some() => Taken::Everything,
        _ => Taken::Nothing,
    })
}

/// The JSON patch that books over to `manager` what all others wrote into the object itself, but for its metadata;
/// `None` when there is nothing like that.
///
/// What came through a subresource (a status, a scale) stays with its owner.
pub(crate) fn eviction(meta: &ObjectMeta, manager: &str) -> Option<Value> {
    transfer(meta, manager, |entry| match Part::of(entry) {
        Some(Part::Main) => Taken::AllButMetadata,
        _ => Taken::Nothing,
    })
}

/// How much of an entry changes hands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    Nothing,
    Everything,
    AllButMetadata,
}

fn transfer(meta: &ObjectMeta, manager: &str, taken: impl Fn(&ManagedFieldsEntry) -> Taken) -> Option<Value> {
    let mut ours: BTreeMap<Option<String>, ManagedFieldsEntry> = BTreeMap::new();
    let mut kept = Vec::new();
    let mut is_changed = false;
    for entry in meta.managed_fields.iter().flatten().map(packed::unpacked) {
        let entry = &entry;
        let is_ours =
            entry.manager.as_deref() == Some(manager) && entry.operation.as_deref() == Some("Apply");
        let (ceded, keeps) = match taken(entry) {
            _ if is_ours => (Some(entry.clone()), None),
            Taken::Nothing => (None, Some(entry.clone())),
            Taken::Everything => (Some(entry.clone()), None),
            Taken::AllButMetadata => split(entry),
        };
        is_changed |= ceded.is_some() && !is_ours;
        kept.extend(keeps);
        let Some(ceded) = ceded else { continue };
        let subresource = ceded.subresource.clone().filter(|name| !name.is_empty());
        let all = match ours.remove(&subresource) {
            Some(before) => united(before, &ceded),
            None => applied_by(manager, ceded),
        };
        ours.insert(subresource, all);
    }
    kept.extend(ours.into_values());
    // As a replacement and not as a test: a version that moved on is then a conflict, not an invalid patch.
    is_changed.then(|| {
        json!([
            { "op": "replace", "path": "/metadata/managedFields", "value": kept },
            { "op": "replace", "path": "/metadata/resourceVersion", "value": meta.resource_version },
        ])
    })
}

/// What an entry says beyond the metadata, and what it says of the metadata.
fn split(entry: &ManagedFieldsEntry) -> (Option<ManagedFieldsEntry>, Option<ManagedFieldsEntry>) {
    let (metadata, rest) = tree(entry).into_iter().partition(|(field, _)| field == "f:metadata");
    let part = |fields: Map<String, Value>| {
        let fields_v1 = Some(FieldsV1(Value::Object(fields)));
        (fields_v1 != Some(FieldsV1(json!({})))).then(|| ManagedFieldsEntry { fields_v1, ..entry.clone() })
    };
    (part(rest), part(metadata))
}

fn tree(entry: &ManagedFieldsEntry) -> Map<String, Value> {
    match &entry.fields_v1 {
        Some(FieldsV1(Value::Object(tree))) => tree.clone(),
        _ => Map::new(),
    }
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
        self.take(ObjectId::of(live), adoption(live.meta(), from, self.manager)).await
    }

    /// Takes over what all others wrote into `live` itself, but for its metadata, so that the next apply leaves nothing
    /// of it; `None` when there is nothing like that.
    pub(crate) async fn evict<K>(&self, object: &ObjectId, live: &K) -> Result<Option<K>, Error>
    where
        K: Resource + DeserializeOwned,
    {
        self.take(object.clone(), eviction(live.meta(), self.manager)).await
    }

    async fn take<K>(&self, object: ObjectId, patch: Option<Value>) -> Result<Option<K>, Error>
    where
        K: DeserializeOwned,
    {
        let Some(patch) = patch else { return Ok(None) };
        match self.json_patch(&object, &patch).await.and_then(|answer| exchange::decode(&answer)) {
            Ok(taken) => {
                tracing::info!(%object, manager = self.manager, "took over fields");
                Ok(Some(taken))
            }
            Err(source) => Err(Error::Adopt { object, source: Box::new(source) }),
        }
    }
}

fn applied_by(manager: &str, entry: ManagedFieldsEntry) -> ManagedFieldsEntry {
    ManagedFieldsEntry { manager: Some(manager.to_owned()), operation: Some("Apply".to_owned()), ..entry }
}

/// Both sets of fields. Everything else is that of the entry which came first: the server sorts `Apply` to the front,
/// so where we have applied before that is ours.
fn united(first: ManagedFieldsEntry, second: &ManagedFieldsEntry) -> ManagedFieldsEntry {
    let mut both = tree(&first);
    unite(&mut both, tree(second));
    ManagedFieldsEntry { fields_v1: Some(FieldsV1(Value::Object(both))), ..first }
}

fn unite(left: &mut Map<String, Value>, right: Map<String, Value>) {
    for (key, right) in right {
        match (left.get_mut(&key), right) {
            (Some(Value::Object(left)), Value::Object(right)) => {
                let is_member =
                    [&*left, &right].into_iter().any(|node| node.is_empty() || node.contains_key("."));
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
