//! What `metadata.managedFields` says a manager owns.
//!
//! The format (`FieldsV1`): a tree of JSON objects whose keys are `f:<field>`, `k:<keys of a list item, as JSON>`,
//! `v:<list item, as JSON>`, `i:<index>` and `.` (the node itself, beside its children). A node without children is
//! owned whole.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use serde_json::{Map, Value};

use crate::packed;

/// Through which address a manager writes; ownership is booked apart for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The object's own address.
    Main,
    /// Its subresource `status`.
    Status,
}

impl Part {
    pub(crate) fn of(entry: &ManagedFieldsEntry) -> Option<Self> {
        match entry.subresource.as_deref() {
            None | Some("") => Some(Self::Main),
            Some("status") => Some(Self::Status),
            Some(_) => None,
        }
    }
}

/// A node of the tree of what a manager owns.
#[derive(Clone, Copy)]
pub(crate) struct Owned<'a>(&'a Map<String, Value>);

/// The items of a list, as ownership names them.
pub(crate) enum Items<'a> {
    /// The list is owned whole.
    Whole,
    /// Each item by what it is, as in a set.
    Values(Vec<Value>),
    /// Each item by some of its fields, as in a list of objects with keys.
    Keyed(Vec<(Map<String, Value>, Owned<'a>)>),
    /// In a way that this crate does not know.
    Unknown,
}

/// What `manager` applied to this part of the object in this version of its kind.
pub(crate) fn applied<'a>(
    meta: &'a ObjectMeta,
    manager: &str,
    part: Part,
    api_version: &str,
) -> Option<Cow<'a, Map<String, Value>>> {
    let entries = meta.managed_fields.as_deref().unwrap_or_default();
    let entry = entries.iter().find(|entry| {
        entry.manager.as_deref() == Some(manager)
            && entry.operation.as_deref() == Some("Apply")
            && Part::of(entry) == Some(part)
    })?;
    if entry.api_version.as_deref() != Some(api_version) {
        return None;
    }
    packed::tree(entry)
}

impl<'a> Owned<'a> {
    /// The whole of it.
    pub(crate) fn root(tree: &'a Map<String, Value>) -> Self {
        Self(tree)
    }

    fn node(value: &'a Value) -> Option<Self> {
        value.as_object().map(Self)
    }

    pub(crate) fn field(self, name: &str) -> Option<Self> {
        Self::node(self.0.get(&format!("f:{name}"))?)
    }

    /// Owned as one, without children.
    pub(crate) fn is_whole(self) -> bool {
        self.0.keys().all(|key| key == ".")
    }

    /// A child of this node that is no field which `is_said` knows.
    pub(crate) fn field_beyond(self, is_said: impl Fn(&str) -> bool) -> Option<&'a str> {
        let children = self.0.keys().filter(|key| *key != ".");
        let mut fields = children.map(|key| key.strip_prefix("f:").unwrap_or(key));
        fields.find(|field| !is_said(field))
    }

    pub(crate) fn items(self) -> Items<'a> {
        if self.is_whole() {
            return Items::Whole;
        }
        let children = || self.0.iter().filter(|(key, _)| *key != ".");
        if let Some(values) = children().map(|(key, _)| parse(key.strip_prefix("v:")?)).collect() {
            return Items::Values(values);
        }
        let keyed = |(key, node): (&String, &'a Value)| {
            let Value::Object(keys) = parse(key.strip_prefix("k:")?)? else {
                return None;
            };
            Some((keys, Self::node(node)?))
        };
        children().map(keyed).collect::<Option<_>>().map_or(Items::Unknown, Items::Keyed)
    }
}

fn parse(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}
