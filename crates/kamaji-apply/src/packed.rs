//! `managedFields` in as little memory as they need.
//!
//! Read as JSON, the tree of what a manager owns takes twenty times the memory of its text: each of its many maps has one or
//! two entries. So caches keep the text, and whoever needs the tree reads it for a moment.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, ObjectMeta};
use serde_json::{Map, Value};

/// Keeps the `managedFields` of an object that goes into a cache as texts.
///
/// Everything in this crate reads such an object as it reads any other. It must not be sent to a server whole.
pub fn pack(meta: &mut ObjectMeta) {
    for entry in meta.managed_fields.iter_mut().flatten() {
        if let Some(FieldsV1(fields)) = &mut entry.fields_v1
            && fields.is_object()
        {
            *fields = Value::String(fields.to_string());
        }
    }
}

/// What the manager of this entry owns, packed or not.
pub(crate) fn tree(entry: &ManagedFieldsEntry) -> Option<Cow<'_, Map<String, Value>>> {
    match &entry.fields_v1.as_ref()?.0 {
        Value::Object(tree) => Some(Cow::Borrowed(tree)),
        Value::String(text) => serde_json::from_str(text).ok().map(Cow::Owned),
        _ => None,
    }
}

/// The entry as a server knows it.
pub(crate) fn unpacked(entry: &ManagedFieldsEntry) -> ManagedFieldsEntry {
    let fields_v1 = match tree(entry) {
        Some(tree) => Some(FieldsV1(Value::Object(tree.into_owned()))),
        None => entry.fields_v1.clone(),
    };
    ManagedFieldsEntry { fields_v1, ..entry.clone() }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;
    use crate::{adoption, settled};

    fn live() -> ConfigMap {
        serde_json::from_value(json!({
            "metadata": {
                "name": "a",
                "resourceVersion": "7",
                "managedFields": [
                    {
                        "manager": "us", "operation": "Apply", "apiVersion": "v1",
                        "fieldsV1": { "f:data": { "f:key": {} } },
                    },
                    {
                        "manager": "them", "operation": "Update", "apiVersion": "v1",
                        "fieldsV1": { "f:data": { ".": {}, "f:other": {} } },
                    },
                ],
            },
            "data": { "key": "value", "other": "thing" },
        }))
        .unwrap()
    }

    fn packed() -> ConfigMap {
        let mut object = live();
        pack(&mut object.metadata);
        pack(&mut object.metadata);
        assert_ne!(object, live());
        object
    }

    #[test]
    fn a_packed_object_is_judged_like_any_other() {
        for (value, is_settled) in [("value", true), ("another", false)] {
            let mut desired = ConfigMap::default();
            desired.metadata.name = Some("a".to_owned());
            desired.data = Some([("key".to_owned(), value.to_owned())].into());
            for live in [live(), packed()] {
                assert_eq!(settled(&desired, &live, "us"), is_settled, "{value}");
            }
        }
    }

    #[test]
    fn what_is_sent_is_not_packed() {
        let patch = |object: &ConfigMap| adoption(&object.metadata, &["them"], "us");
        assert!(patch(&packed()).is_some());
        assert_eq!(patch(&packed()), patch(&live()));
        let second = |object: ConfigMap| object.metadata.managed_fields.unwrap().remove(1);
        assert_eq!(unpacked(&second(packed())), second(live()));
    }
}
