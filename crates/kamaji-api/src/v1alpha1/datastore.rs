use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::embedded;

/// A shared store for the data of tenants.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "kamaji.clastix.io",
    version = "v1alpha1",
    kind = "DataStore",
    plural = "datastores",
    status = "DataStoreStatus",
    derive = "PartialEq",
    doc = "A shared store for the data of tenant control planes.",
    printcolumn(
        name = "Driver",
        type_ = "string",
        description = "Kind of store",
        json_path = ".spec.driver"
    ),
    printcolumn(
        name = "Ready",
        type_ = "boolean",
        description = "Reached, authenticated and allowed",
        json_path = ".status.ready"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        description = "Age",
        json_path = ".metadata.creationTimestamp"
    ),
    // The Pods of tenants bear it as the value of a label.
    validation = Rule::new("oldSelf.hasValue() || self.metadata.name.size() <= 63")
        .message("the name must have at most 63 characters: it becomes the value of a label")
        .optional_old_self(true)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.driver != 'etcd' || (has(self.tlsConfig) && has(self.tlsConfig.certificateAuthority.privateKey) && (has(self.tlsConfig.certificateAuthority.privateKey.secretReference) || has(self.tlsConfig.certificateAuthority.privateKey.content)))")
        .message("certificateAuthority privateKey must have secretReference or content when driver is etcd"),
    validation = Rule::new("self.driver != 'etcd' || (has(self.tlsConfig) && has(self.tlsConfig.clientCertificate) && (has(self.tlsConfig.clientCertificate.certificate.secretReference) || has(self.tlsConfig.clientCertificate.certificate.content)))")
        .message("clientCertificate must have secretReference or content when driver is etcd"),
    validation = Rule::new("self.driver != 'etcd' || (has(self.tlsConfig) && has(self.tlsConfig.clientCertificate) && (has(self.tlsConfig.clientCertificate.privateKey.secretReference) || has(self.tlsConfig.clientCertificate.privateKey.content)))")
        .message("clientCertificate privateKey must have secretReference or content when driver is etcd"),
    validation = Rule::new("self.driver == 'etcd' || !has(self.tlsConfig) || !has(self.tlsConfig.clientCertificate) || has(self.tlsConfig.clientCertificate.certificate.secretReference) || has(self.tlsConfig.clientCertificate.certificate.content)")
        .message("When driver is not etcd and tlsConfig exists, clientCertificate must be null or contain valid content"),
    validation = Rule::new("self.driver == 'etcd' || !has(self.basicAuth) || has(self.basicAuth.username.secretReference) || has(self.basicAuth.username.content)")
        .message("When driver is not etcd and basicAuth exists, username must have secretReference or content"),
    validation = Rule::new("self.driver == 'etcd' || !has(self.basicAuth) || has(self.basicAuth.password.secretReference) || has(self.basicAuth.password.content)")
        .message("When driver is not etcd and basicAuth exists, password must have secretReference or content"),
    validation = Rule::new("self.driver == 'etcd' || has(self.tlsConfig) || has(self.basicAuth)")
        .message("When driver is not etcd, either tlsConfig or basicAuth must be provided")
)]
pub struct DataStoreSpec {
    /// Kind of store. It cannot be changed.
    #[x_kube(validation = Rule::new("self == oldSelf").message("Datastore driver is immutable: create another DataStore"))]
    pub driver: Driver,
    /// Addresses of the store as `host:port`, without a scheme.
    #[schemars(length(min = 1, max = 64), inner(length(max = 270)))]
    #[x_kube(
        validation = Rule::new(r"self.all(e, e.matches('^([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}$'))")
            .message("every endpoint must be host:port without a scheme, IPv6 addresses in brackets, such as etcd-0.etcd:2379 or [fd00::1]:2379"),
        validation = Rule::new(r"self.all(e, e.matches(':([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$'))")
            .message("the port of an endpoint must be from 1 to 65535")
    )]
    pub endpoints: Vec<String>,
    /// User name and password of the store's administrator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// Certificates for the connection. Needed by etcd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_config: Option<TlsConfig>,
}

/// Kind of store.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are those of the products")]
pub enum Driver {
    #[serde(rename = "etcd")]
    Etcd,
    #[serde(rename = "MySQL")]
    MySql,
    #[serde(rename = "PostgreSQL")]
    PostgreSql,
    #[serde(rename = "NATS")]
    Nats,
}

impl Driver {
    /// The word used on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::MySql => "MySQL",
            Self::PostgreSql => "PostgreSQL",
            Self::Nats => "NATS",
        }
    }
}

/// User name and password of the store's administrator.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuth {
    /// The user name.
    pub username: ContentRef,
    /// The password.
    pub password: ContentRef,
}

/// Certificates for the connection to a store.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TlsConfig {
    /// The authority that signed the store's certificate; for etcd also the one that signs the tenants'.
    pub certificate_authority: CertificateAuthorityRef,
    /// The certificate that the operator shows to the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificateRef>,
}

/// Where a certificate authority lies.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CertificateAuthorityRef {
    /// The certificate in PEM.
    pub certificate: ContentRef,
    /// The private key in PEM. Needed by etcd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<ContentRef>,
}

/// Where a client certificate lies.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificateRef {
    /// The certificate in PEM.
    pub certificate: ContentRef,
    /// The private key in PEM.
    pub private_key: ContentRef,
}

/// Where a value lies: inline or in a Secret.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.content) || !has(self.secretReference) || (has(self.secretReference.name) && self.secretReference.name != '' && has(self.secretReference.namespace) && self.secretReference.namespace != '')")
        .message("a secretReference needs both a name and a namespace"),
    validation = Rule::new("has(self.content) || !has(self.secretReference) || self.secretReference.keyPath.matches('^[-._a-zA-Z0-9]+$')")
        .message("the keyPath of a secretReference must be a key of a Secret: letters, digits, '-', '_' and '.'")
)]
pub struct ContentRef {
    /// The value itself, in base64. Wins over `secretReference`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "embedded::base64")]
    pub content: Option<ByteString>,
    /// The Secret that holds the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub secret_reference: Option<SecretReference>,
}

impl std::fmt::Debug for ContentRef {
    /// Never shows the content.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ContentRef")
            .field("content", &self.content.as_ref().map(|_| "(redacted)"))
            .field("secret_reference", &self.secret_reference)
            .finish()
    }
}

/// A key of a Secret.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// Name of the Secret.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub name: String,
    /// Namespace of the Secret.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Key in the Secret's data.
    #[schemars(length(min = 1, max = 253))]
    pub key_path: String,
}

/// What is known of a store.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DataStoreStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Tenant control planes that keep data here, as `namespace/name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub used_by: Vec<String>,
    /// What holds, and since when. The reasons are listed in the reference documentation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        schema_with = "embedded::bare::<Vec<Condition>>",
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
    /// True when the store was reached, accepted the credentials, and allows what tenants need.
    #[serde(default)]
    pub ready: bool,
    /// Version of the store's software, as it said when it was last reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What the data of each tenant control plane takes, where the store keeps count of that. It is measured every five minutes
    /// and told anew when it has changed by more than a quarter; metrics tell it exactly.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["tenant"]))]
    pub usage: Vec<DataStoreUsage>,
}

/// What the data of one tenant control plane takes in a store.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DataStoreUsage {
    /// The tenant control plane, as `namespace/name`.
    pub tenant: String,
    /// Room, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// Number of keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<i64>,
}
