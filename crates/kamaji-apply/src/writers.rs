//! Who has written a part of an object.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{
    owned::{Owned, Part},
    packed,
};

/// Somebody who owns fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// The name under which it writes.
    pub manager: String,
    /// How it has written.
    pub manner: Manner,
}

/// How fields were written. The same manager owns them apart for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// By server-side apply.
    Applied,
    /// In any other way.
    Updated,
}

/// Everybody who owns the field at `path` of the object itself, or anything below it. A status does not count.
pub fn writers(meta: &ObjectMeta, path: &[&str]) -> Vec<Writer> {
    let entries = meta.managed_fields.iter().flatten();
    let owners = entries.filter(|entry| {
        let tree = packed::tree(entry).filter(|_| Part::of(entry) == Some(Part::Main));
        tree.is_some_and(|tree| {
            path.iter().try_fold(Owned::root(&tree), |node, field| node.field(field)).is_some()
        })
    });
    owners
        .map(|entry| Writer {
            manager: entry.manager.clone().unwrap_or_default(),
            manner: match entry.operation.as_deref() {
                Some("Apply") => Manner::Applied,
                _ => Manner::Updated,
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whoever_owns_anything_below_is_a_writer() {
        let template = json!({ "f:spec": { "f:template": { "f:spec": { "f:hostNetwork": {} } } } });
        let entry = |manager: &str, operation: &str, subresource: &str, fields: &serde_json::Value| {
            json!({
                "manager": manager, "operation": operation, "subresource": subresource,
                "apiVersion": "apps/v1", "fieldsV1": fields,
            })
        };
        let mut meta: ObjectMeta = serde_json::from_value(json!({ "managedFields": [
            entry("us", "Apply", "", &json!({ "f:spec": { "f:replicas": {} } })),
            entry("us", "Update", "", &template),
            entry("them", "Apply", "", &template),
            entry("scaler", "Update", "status", &template),
        ] }))
        .unwrap();
        let writer = |manager: &str, manner| Writer { manager: manager.to_owned(), manner };
        let expected = [writer("us", Manner::Updated), writer("them", Manner::Applied)];
        assert_eq!(writers(&meta, &["spec", "template"]), expected);
        packed::pack(&mut meta);
        assert_eq!(writers(&meta, &["spec", "template"]), expected);
        assert_eq!(writers(&meta, &["spec", "template", "metadata"]), []);
        assert_eq!(writers(&meta, &["spec"]).len(), 3);
    }
}
