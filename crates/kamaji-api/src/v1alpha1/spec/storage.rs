use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Kinds of writes that a tenant's API server refuses.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "the wire format has three switches")]
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
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DataStoreOverride {
    /// The kind, in the syntax of kube-apiserver's `--etcd-servers-overrides`: `group/resource`, for example `/events`.
    pub resource: String,
    /// Name of the DataStore, which must have the etcd driver.
    pub data_store: String,
}
