//! An object of any kind, as it should be inside a tenant.

use kube::Resource;
use kube::core::{ApiResource, DynamicObject, ObjectMeta, TypeMeta};
use serde::Serialize;

/// An object of any kind, as it should be inside a tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its kind, and where the API server keeps that kind.
    pub resource: ApiResource,
    /// What is said about it.
    pub desired: DynamicObject,
}

impl Object {
    /// The same object, whatever its kind.
    ///
    /// # Panics
    /// Never: what a builder makes is always representable as JSON.
    pub fn of<K>(typed: &K) -> Self
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        let mut data = serde_json::to_value(typed).expect("typed objects are JSON");
        if let Some(fields) = data.as_object_mut() {
            for elsewhere in ["apiVersion", "kind", "metadata", "status"] {
                fields.remove(elsewhere);
            }
        }
        Self {
            resource: ApiResource::erase::<K>(&()),
            desired: DynamicObject {
                types: Some(TypeMeta::resource::<K>()),
                metadata: typed.meta().clone(),
                data,
            },
        }
    }

    /// Which object this is.
    pub fn identity(&self) -> Identity {
        Identity {
            group: self.resource.group.clone(),
            plural: self.resource.plural.clone(),
            namespace: self.meta().namespace.clone(),
            name: self.meta().name.clone().unwrap_or_default(),
        }
    }

    fn meta(&self) -> &ObjectMeta {
        &self.desired.metadata
    }
}

/// Which object inside a tenant, whatever it says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// API group; empty for the core group.
    pub group: String,
    /// Plural of the kind in lower case, as in the API's paths.
    pub plural: String,
    /// The namespace; `None` for kinds that have none.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    #[test]
    fn an_object_says_the_same_whatever_its_kind() {
        let typed: ConfigMap = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "coredns", "namespace": "kube-system", "labels": { "a": "b" } },
            "data": { "Corefile": ".:53 {}" },
        }))
        .unwrap();
        let object = Object::of(&typed);
        assert_eq!(serde_json::to_value(&object.desired).unwrap(), serde_json::to_value(&typed).unwrap());
        assert_eq!(object.identity().plural, "configmaps");
        assert_eq!(object.resource.api_version, "v1");
    }
}
