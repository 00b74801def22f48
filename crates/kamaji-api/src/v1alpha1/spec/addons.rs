use k8s_openapi::api::core::v1::{ResourceRequirements, SecurityContext, Toleration};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ARGUMENTS_MESSAGE, ARGUMENTS_RULE};
use crate::v1alpha1::embedded;

/// What is installed inside the tenant cluster. An add-on that is present, even as `{}`, is enabled.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AddonsSpec {
    /// Cluster DNS.
    #[serde(default, rename = "coreDNS", skip_serializing_if = "Option::is_none")]
    pub core_dns: Option<AddonImage>,
    /// Service routing on the nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kube_proxy: Option<AddonImage>,
    /// Tunnel from the API server to nodes that it cannot reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub konnectivity: Option<KonnectivitySpec>,
}

impl AddonsSpec {
    /// True when no add-on is enabled.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Image of an add-on.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AddonImage {
    /// Repository that holds the image.
    #[schemars(regex(pattern = r"^\S*$"))]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image_repository: String,
    /// Tag of the image. Without it the one that fits the Kubernetes version is used.
    #[schemars(regex(pattern = r"^\S*$"))]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image_tag: String,
}

/// Tunnel from the API server to nodes that it cannot reach.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KonnectivitySpec {
    /// The end beside the API server.
    #[serde(default, rename = "server")]
    pub server: KonnectivityServerSpec,
    /// The end on the nodes.
    #[serde(default, rename = "agent")]
    pub agent: KonnectivityAgentSpec,
}

/// The end of the tunnel beside the API server.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KonnectivityServerSpec {
    /// Port that the agents dial.
    #[schemars(range(min = 1, max = 65535))]
    #[x_kube(validation = Rule::new("!(self in [8133, 8134, 10257, 10259])").message("this port is taken by another program in the Pod: choose another, such as 8132"))]
    pub port: i32,
    /// Version of the image. Without it `v0.<minor>.0` is used.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(regex(pattern = r"^\S*$"))]
    pub version: String,
    /// Image without its tag.
    #[serde(default = "server_image")]
    #[schemars(regex(pattern = r"^\S*$"))]
    pub image: String,
    /// Requests and limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "embedded::bare::<ResourceRequirements>")]
    pub resources: Option<ResourceRequirements>,
    /// Further command-line arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 4096)))]
    #[x_kube(validation = Rule::new(ARGUMENTS_RULE).message(ARGUMENTS_MESSAGE))]
    pub extra_args: Vec<String>,
    /// Security context. Without it a restricted one is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "embedded::bare::<SecurityContext>")]
    pub security_context: Option<SecurityContext>,
}

impl Default for KonnectivityServerSpec {
    fn default() -> Self {
        Self {
            port: 8132,
            version: String::new(),
            image: server_image(),
            resources: None,
            extra_args: Vec::new(),
            security_context: None,
        }
    }
}

/// The end of the tunnel on the nodes.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(self.mode == 'DaemonSet' && has(self.replicas) && self.replicas != 0)")
        .message("replicas must be 0 or unset when mode is DaemonSet"),
    validation = Rule::new("!(self.mode == 'Deployment' && has(self.replicas) && self.replicas == 0)")
        .message("replicas must not be 0 when mode is Deployment")
)]
pub struct KonnectivityAgentSpec {
    /// Image without its tag.
    #[serde(default = "agent_image")]
    #[schemars(regex(pattern = r"^\S*$"))]
    pub image: String,
    /// Version of the image. Without it `v0.<minor>.0` is used.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(regex(pattern = r"^\S*$"))]
    pub version: String,
    /// Taints that the agents tolerate.
    #[serde(default = "agent_tolerations")]
    #[schemars(schema_with = "embedded::bare::<Vec<Toleration>>")]
    pub tolerations: Vec<Toleration>,
    /// Further command-line arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 4096)))]
    #[x_kube(validation = Rule::new(ARGUMENTS_RULE).message(ARGUMENTS_MESSAGE))]
    pub extra_args: Vec<String>,
    /// Whether the agents use the node's network.
    #[serde(default)]
    pub host_network: bool,
    /// One agent on each node, or a number of them.
    #[serde(default)]
    pub mode: KonnectivityAgentMode,
    /// Number of agents. Only in mode Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub replicas: Option<i32>,
}

impl Default for KonnectivityAgentSpec {
    fn default() -> Self {
        Self {
            image: agent_image(),
            version: String::new(),
            tolerations: agent_tolerations(),
            extra_args: Vec::new(),
            host_network: false,
            mode: KonnectivityAgentMode::default(),
            replicas: None,
        }
    }
}

/// How the agents are deployed.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of Kubernetes' workload kinds")]
pub enum KonnectivityAgentMode {
    #[default]
    DaemonSet,
    Deployment,
}

fn server_image() -> String {
    "registry.k8s.io/kas-network-proxy/proxy-server".into()
}

fn agent_image() -> String {
    "registry.k8s.io/kas-network-proxy/proxy-agent".into()
}

fn agent_tolerations() -> Vec<Toleration> {
    vec![Toleration {
        key: Some("CriticalAddonsOnly".into()),
        operator: Some("Exists".into()),
        ..Toleration::default()
    }]
}
