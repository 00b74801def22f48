mod storage;

use k8s_openapi::api::apps::v1::DeploymentStatus;
use k8s_openapi::api::core::v1::ServiceStatus;
use k8s_openapi::api::networking::v1::IngressStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::storage::*;
use super::{KonnectivityAgentMode, embedded};

/// What is known of a tenant control plane.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TenantControlPlaneStatus {
    /// Generation of the spec that was carried out completely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What holds, and since when. The reasons are listed in the reference documentation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        schema_with = "embedded::bare::<Vec<Condition>>",
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
    /// Where the tenant's data is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageStatus>,
    /// The tenant's certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificates: Option<CertificatesStatus>,
    /// The tenant's kubeconfigs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<KubeconfigsStatus>,
    /// The objects in the management cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes_resources: Option<KubernetesStatus>,
    /// The stored kubeadm configuration.
    #[serde(default, rename = "kubeadmconfig", skip_serializing_if = "Option::is_none")]
    pub kubeadm_config: Option<KubeadmConfigStatus>,
    /// What kubeadm would have done inside the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeadm_phase: Option<KubeadmPhaseStatus>,
    /// Address of the API server, as `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane_endpoint: Option<String>,
    /// What is installed inside the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addons: Option<AddonsStatus>,
}

/// A Secret, and a checksum of its data.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ChecksummedSecret {
    /// Name of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// When its data last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update: Option<Time>,
    /// Checksum of its data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

/// The tenant's certificates.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CertificatesStatus {
    /// The cluster's authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<ChecksummedSecret>,
    /// The API server's serving certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_server: Option<ChecksummedSecret>,
    /// The API server's certificate towards kubelets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_server_kubelet_client: Option<ChecksummedSecret>,
    /// The front proxy's authority.
    #[serde(default, rename = "frontProxyCA", skip_serializing_if = "Option::is_none")]
    pub front_proxy_ca: Option<ChecksummedSecret>,
    /// The API server's certificate towards aggregated API servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub front_proxy_client: Option<ChecksummedSecret>,
    /// The key that signs service-account tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sa: Option<ChecksummedSecret>,
    /// Kept for objects of earlier versions; never written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd: Option<EtcdCertificatesStatus>,
    /// Trust anchors that are being replaced, or were and are still asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rotations: Vec<RotationStatus>,
}

/// How far the replacement of a trust anchor is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RotationStatus {
    /// Which one: `ca`, `front-proxy-ca-certificate` or `sa-certificate`.
    pub anchor: String,
    /// `TrustingBoth`, `Reissued`, `TakenBack`, `Dropped` or `Settled`.
    pub stage: String,
    /// Checksum that the anchor's Secret has in this stage. It stands here before the Secret has it.
    pub checksum: String,
    /// Whether the request for it was carried out.
    #[serde(default)]
    pub served: bool,
}

/// Kept for objects of earlier versions; never written.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct EtcdCertificatesStatus {
    /// The API server's certificate towards etcd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_server: Option<ChecksummedSecret>,
    /// The authority of etcd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<ChecksummedSecret>,
}

/// The tenant's kubeconfigs.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct KubeconfigsStatus {
    /// The administrator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<ChecksummedSecret>,
    /// The controller manager's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller_manager: Option<ChecksummedSecret>,
    /// The scheduler's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<ChecksummedSecret>,
}

/// The objects in the management cluster.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesStatus {
    /// Version and phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionStatus>,
    /// The Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentReport>,
    /// The Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceReport>,
    /// The Ingress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<IngressReport>,
    /// The Gateway API route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque_object")]
    pub gateway: Option<Value>,
}

/// Version and phase.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct VersionStatus {
    /// Kubernetes version that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Version whose behaviour it keeps, while an upgrade is tried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emulated: Option<String>,
    /// One word for people; programs read the conditions.
    #[serde(default)]
    pub status: Phase,
}

/// One word for the state of a tenant control plane.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the manual explains each word")]
pub enum Phase {
    Unknown,
    #[default]
    Provisioning,
    #[serde(rename = "CertificateAuthorityRotating")]
    CaRotating,
    Upgrading,
    Migrating,
    Ready,
    NotReady,
    Sleeping,
    WriteLimited,
}

impl Phase {
    /// The word used on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Provisioning => "Provisioning",
            Self::CaRotating => "CertificateAuthorityRotating",
            Self::Upgrading => "Upgrading",
            Self::Migrating => "Migrating",
            Self::Ready => "Ready",
            Self::NotReady => "NotReady",
            Self::Sleeping => "Sleeping",
            Self::WriteLimited => "WriteLimited",
        }
    }
}

/// The Deployment's own status, and where it is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentReport {
    /// The Deployment's own status.
    #[serde(flatten)]
    #[schemars(schema_with = "embedded::bare::<DeploymentStatus>")]
    pub status: DeploymentStatus,
    /// Selector of the Pods.
    #[serde(default)]
    pub selector: String,
    /// Name of the Deployment.
    #[serde(default)]
    pub name: String,
    /// Namespace of the Deployment.
    #[serde(default)]
    pub namespace: String,
    /// When this last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update: Option<Time>,
}

/// The Service's own status, and where it is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceReport {
    /// The Service's own status.
    #[serde(flatten)]
    #[schemars(schema_with = "embedded::bare::<ServiceStatus>")]
    pub status: ServiceStatus,
    /// Name of the Service.
    #[serde(default)]
    pub name: String,
    /// Namespace of the Service.
    #[serde(default)]
    pub namespace: String,
    /// Port of the API server.
    #[serde(default)]
    pub port: i32,
}

/// The Ingress's own status, and where it is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct IngressReport {
    /// The Ingress's own status.
    #[serde(flatten)]
    #[schemars(schema_with = "embedded::bare::<IngressStatus>")]
    pub status: IngressStatus,
    /// Name of the Ingress.
    #[serde(default)]
    pub name: String,
    /// Namespace of the Ingress.
    #[serde(default)]
    pub namespace: String,
}

/// The stored kubeadm configuration.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct KubeadmConfigStatus {
    /// Name of the ConfigMap.
    #[serde(default, rename = "configmapName", skip_serializing_if = "Option::is_none")]
    pub configmap_name: Option<String>,
    /// When its data last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update: Option<Time>,
    /// Checksum of its data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

/// What kubeadm would have done inside the tenant.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct KubeadmPhaseStatus {
    /// Objects that let nodes join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap_token: Option<ChecksummedPhase>,
}

/// A phase, and a checksum of what it wrote.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ChecksummedPhase {
    /// Checksum of what it wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// When it last wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update: Option<Time>,
}

/// What is installed inside the tenant.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AddonsStatus {
    /// Cluster DNS.
    #[serde(default, rename = "coreDNS", skip_serializing_if = "Option::is_none")]
    pub core_dns: Option<AddonStatus>,
    /// Service routing on the nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kube_proxy: Option<AddonStatus>,
    /// Tunnel from the API server to the nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub konnectivity: Option<KonnectivityStatus>,
}

/// State of an add-on.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AddonStatus {
    /// True when it is installed.
    #[serde(default)]
    pub enabled: bool,
    /// When it was last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update: Option<Time>,
}

/// State of the tunnel.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KonnectivityStatus {
    /// True when it is installed.
    #[serde(default)]
    pub enabled: bool,
    /// The egress configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ExternalObject>,
    /// The server's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<ChecksummedSecret>,
    /// The server's kubeconfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<ChecksummedSecret>,
    /// The agents' ServiceAccount in the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sa: Option<ExternalObject>,
    /// The server's rights in the tenant.
    #[serde(default, rename = "clusterrolebinding", skip_serializing_if = "Option::is_none")]
    pub cluster_role_binding: Option<ExternalObject>,
    /// The agents in the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<KonnectivityAgentStatus>,
    /// The Service in front of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceReport>,
    /// The Gateway API route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque_object")]
    pub gateway: Option<Value>,
}

/// An object, when it last changed, and a checksum of it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ExternalObject {
    /// Name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Checksum of its data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// When it last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update: Option<Time>,
}

/// The agents in the tenant.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct KonnectivityAgentStatus {
    /// Name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// When they last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update: Option<Time>,
    /// How they are deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<KonnectivityAgentMode>,
}

/// An object that is copied from another API, kept as it is.
fn opaque_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}
