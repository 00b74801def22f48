use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Kinds of writes that a tenant's API server refuses.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WritePermissions {
    /// Refuse to create objects.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub block_creation: bool,
    /// Refuse to change objects.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub block_update: bool,
    /// Refuse to delete objects.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub block_deletion: bool,
}

impl WritePermissions {
    /// True when every kind of write is allowed.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

/// Keeps one kind of object in another DataStore.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.resource) && self.resource != '' && has(self.dataStore) && self.dataStore != ''")
        .message("an override needs both a resource and a dataStore"),
    validation = Rule::new("!has(self.resource) || self.resource == '' || self.resource.matches('^[A-Za-z0-9.-]*/([A-Za-z0-9.-]+|[*])$')")
        .message("resource must be group/resource, for example /events or apps/deployments")
)]
pub struct DataStoreOverride {
    /// The kind, in the syntax of kube-apiserver's `--etcd-servers-overrides`: `group/resource`, for example `/events`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub resource: String,
    /// Name of the DataStore, which must have the etcd driver.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub data_store: String,
}
