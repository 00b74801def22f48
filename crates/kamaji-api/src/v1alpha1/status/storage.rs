use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ChecksummedSecret;
use crate::v1alpha1::Driver;

/// Where the tenant's data is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct StorageStatus {
    /// Driver of the DataStore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<Driver>,
    /// Name of the DataStore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_store_name: Option<String>,
    /// The Secret with the tenant's credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ChecksummedSecret>,
    /// The tenant's place in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup: Option<StorageSetupStatus>,
    /// The Secret with the certificates for the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<ChecksummedSecret>,
    /// The tenant's places in other stores, where single kinds of objects are kept: one per DataStore.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<StorageOverrideStatus>,
    /// The migration to another DataStore that is under way, or the last one if it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<MigrationStatus>,
    /// Places that the tenant has left. They take no writes, and are removed when their time has come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<LeftStorageStatus>,
}

/// A migration of the tenant's data to another DataStore. It is written down before anything is done.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MigrationStatus {
    /// Name of the DataStore that the data goes to.
    #[serde(default)]
    pub data_store_name: String,
    /// Driver of that DataStore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<Driver>,
    /// Database, prefix or bucket there.
    #[serde(default)]
    pub schema: String,
    /// User there.
    #[serde(default)]
    pub user: String,
    /// Names this try; both stores bear it.
    #[serde(default)]
    pub token: String,
    /// Generation of the spec that asked for it.
    #[serde(default)]
    pub generation: i64,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Time>,
    /// Why it was given up, if it was. A change of the spec begins another try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// A place in a DataStore that the tenant has left.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LeftStorageStatus {
    /// Name of the DataStore.
    #[serde(default)]
    pub data_store_name: String,
    /// Driver of the DataStore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<Driver>,
    /// Database, prefix or bucket.
    #[serde(default)]
    pub schema: String,
    /// User.
    #[serde(default)]
    pub user: String,
    /// The migration that it was left by.
    #[serde(default)]
    pub token: String,
    /// Since when it has been left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// The tenant's place in a store that keeps some kinds of its objects. It is written down before anything is made there.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct StorageOverrideStatus {
    /// Name of the DataStore.
    #[serde(default)]
    pub data_store_name: String,
    /// etcd prefix and role.
    #[serde(default)]
    pub schema: String,
    /// User.
    #[serde(default)]
    pub user: String,
    /// Kinds whose objects lie there: those that are kept there, and those that were and whose objects stayed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Since when nothing is kept there any more. What lies there stays until it is given up or the tenant is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_since: Option<Time>,
}

/// The tenant's place in the store.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct StorageSetupStatus {
    /// Database, etcd prefix or bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// User.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// When it was last set up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update: Option<Time>,
    /// Checksum of the credentials it was set up with. Present once the set-up is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}
