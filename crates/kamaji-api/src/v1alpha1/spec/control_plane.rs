use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DeploymentSpec;
use crate::v1alpha1::embedded;

/// How the control plane runs and is reached.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.ingress) && has(self.gateway))")
        .message("using both ingress and gateway is not supported: keep one of them")
)]
pub struct ControlPlaneSpec {
    /// The Deployment of the control plane's components.
    #[serde(default)]
    pub deployment: DeploymentSpec,
    /// The Service in front of the API server.
    pub service: ServiceSpec,
    /// An Ingress in front of the Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<IngressSpec>,
    /// A Gateway API route in front of the Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewaySpec>,
}

/// Labels and annotations of the user's for an object of ours.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AdditionalMetadata {
    /// Labels to add.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "embedded::string_map")]
    pub labels: BTreeMap<String, String>,
    /// Annotations to add.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "embedded::string_map")]
    pub annotations: BTreeMap<String, String>,
}

impl AdditionalMetadata {
    /// True when nothing is to be added.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.annotations.is_empty()
    }
}

/// The Service in front of the API server.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSpec {
    /// Labels and annotations to add to the Service.
    #[serde(default, skip_serializing_if = "AdditionalMetadata::is_empty")]
    pub additional_metadata: AdditionalMetadata,
    /// Type of the Service.
    pub service_type: ServiceType,
    /// Further ports of the Service. The names `kube-apiserver` and `konnectivity-server` are taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(
        validation = Rule::new("self.all(p, p.name != 'kube-apiserver')")
            .message("the port name kube-apiserver is taken by the API server: choose another"),
        validation = Rule::new("self.all(p, p.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'))")
            .message("the name of an additional port must be a lower-case DNS label"),
        validation = Rule::new("self.all(a, self.exists_one(b, a.name == b.name)) && self.all(a, self.exists_one(b, a.port == b.port && a.protocol == b.protocol))")
            .message("additional ports must differ from each other in name, and in port or protocol")
    )]
    pub additional_ports: Vec<AdditionalPort>,
    /// Whether the load balancer gets node ports. Only with service type LoadBalancer, where it is true unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocate_load_balancer_node_ports: Option<bool>,
}

/// Type of the Service in front of the API server.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of Kubernetes' ServiceType")]
pub enum ServiceType {
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    NodePort,
    LoadBalancer,
}

/// A further port of the Service.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AdditionalPort {
    /// Name of the port, a DNS label.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Transport protocol.
    #[serde(default)]
    pub protocol: Protocol,
    /// Application protocol, as in a Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
    /// Port of the Service.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Port of the Pods, as a number or a name.
    #[schemars(schema_with = "embedded::bare::<IntOrString>")]
    pub target_port: IntOrString,
}

/// Transport protocol of a port.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the names are those of Kubernetes' Protocol")]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// The word used on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

/// An Ingress in front of the Service.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct IngressSpec {
    /// Labels and annotations to add to the Ingress, for example those that switch on TLS passthrough.
    #[serde(default, skip_serializing_if = "AdditionalMetadata::is_empty")]
    pub additional_metadata: AdditionalMetadata,
    /// Class of the Ingress.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ingress_class_name: String,
    /// Name, or `name:port`, under which the API server is reached.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hostname: String,
}

/// A Gateway API route in front of the Service.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySpec {
    /// Labels and annotations to add to the routes.
    #[serde(default, skip_serializing_if = "AdditionalMetadata::is_empty")]
    pub additional_metadata: AdditionalMetadata,
    /// The Gateways that the routes attach to.
    #[serde(default, rename = "parentRefs", skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// Name under which the API server is reached.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub hostname: String,
}

/// A Gateway, or one listener of it, that a route attaches to (Gateway API `ParentReference`).
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ParentReference {
    /// API group of the parent.
    #[serde(default = "gateway_group")]
    #[schemars(
        length(max = 253),
        regex(pattern = r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub group: String,
    /// Kind of the parent.
    #[serde(default = "gateway_kind")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$"))]
    pub kind: String,
    /// Namespace of the parent; without it the route's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
    /// Name of the parent.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Name of the listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub section_name: Option<String>,
    /// Port of the listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
}

fn gateway_group() -> String {
    "gateway.networking.k8s.io".into()
}

fn gateway_kind() -> String {
    "Gateway".into()
}
