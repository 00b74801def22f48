//! Which object is meant.

use std::fmt;

use kube::Resource;
use kube::core::{ApiResource, DynamicObject};

/// Names one object: its kind, where it lives, and what it is called.
///
/// Written as `Secret tenants/blue-ca`, or `ClusterRole blue` when the kind has no namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// Group and version, as in a manifest: `v1`, `apps/v1`.
    pub api_version: String,
    /// The kind, as in a manifest: `Secret`.
    pub kind: String,
    /// The kind, as in the API's paths: `secrets`.
    pub plural: String,
    /// The namespace; `None` for kinds that have none.
    pub namespace: Option<String>,
    /// The name; empty when the object had none.
    pub name: String,
}

impl ObjectId {
    /// Names the object that `object` describes.
    pub fn of<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        let meta = object.meta();
        Self::new::<K>(meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default())
    }

    /// Names an object of kind `K` that nobody has read yet.
    pub fn new<K: Resource<DynamicType = ()>>(namespace: Option<&str>, name: &str) -> Self {
        Self {
            api_version: K::api_version(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
            plural: K::plural(&()).into_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        }
    }

    /// Names an object of a kind that is known only at run time.
    pub fn of_dynamic(resource: &ApiResource, object: &DynamicObject) -> Self {
        Self {
            api_version: resource.api_version.clone(),
            kind: resource.kind.clone(),
            plural: resource.plural.clone(),
            namespace: object.metadata.namespace.clone(),
            name: object.metadata.name.clone().unwrap_or_default(),
        }
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name, .. } = self;
        match namespace {
            Some(namespace) => write!(f, "{kind} {namespace}/{name}"),
            None => write!(f, "{kind} {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{core::v1::Secret, rbac::v1::ClusterRole};
    use kube::core::ObjectMeta;

    use super::ObjectId;

    #[test]
    fn is_written_as_people_say_it() {
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some("ca".into()),
                namespace: Some("blue".into()),
                ..Default::default()
            },
            ..Default::default()
        };
        assert_eq!(ObjectId::of(&secret).to_string(), "Secret blue/ca");
        assert_eq!(ObjectId::new::<ClusterRole>(None, "view").to_string(), "ClusterRole view");
    }
}
