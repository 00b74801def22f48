use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    Affinity, Container, PodSecurityContext, ResourceRequirements, SecurityContext, Toleration,
    TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::AdditionalMetadata;
use crate::v1alpha1::embedded;

/// The control plane's own containers. One called `kine` may be given: it replaces the image of kine.
const CONTAINER_NAMES_RULE: &str = "self.all(c, !(c.name in ['kube-apiserver', 'kube-scheduler', 'kube-controller-manager', 'konnectivity-server']))";
const CONTAINER_NAMES_MESSAGE: &str = "this container name is taken by the control plane: choose another";

/// The control plane's own volumes.
const VOLUME_NAMES_RULE: &str = "self.all(v, !(v.name in ['etc-kubernetes-pki', 'etc-ca-certificates', 'usr-share-ca-certificates', 'usr-local-share-ca-certificates', 'scheduler-kubeconfig', 'controller-manager-kubeconfig', 'kine-uds', 'kine-config', 'kine-certs', 'konnectivity-uds', 'egress-selector-configuration', 'konnectivity-server-kubeconfig']))";

/// Where the certificates of the control plane lie.
const MOUNTS_RULE: &str =
    "self.all(m, m.mountPath != '/etc/kubernetes/pki' && !m.mountPath.startsWith('/etc/kubernetes/pki/'))";
const MOUNTS_MESSAGE: &str =
    "/etc/kubernetes/pki holds the control plane's certificates: choose another mountPath";

/// Each argument is one line, and none ends the flags.
pub(super) const ARGUMENTS_RULE: &str = "self.all(a, a != '--' && !a.contains('\\n') && !a.contains('\\r'))";
pub(super) const ARGUMENTS_MESSAGE: &str =
    "an argument must be on one line and not be -- alone: write one list item for each flag, such as --v=2";

/// Nobody asks for it but by mistake or in bad faith.
const AUTHORIZATION_RULE: &str = "!self.exists(a, a.contains('AlwaysAllow'))";

/// The Deployment of the control plane's components.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentSpec {
    /// Where the components' images come from.
    #[serde(default)]
    pub registry_settings: RegistrySettings,
    /// Number of Pods. 0 puts the control plane to sleep; its data stays.
    #[serde(default = "replicas")]
    #[schemars(range(min = 0))]
    pub replicas: Option<i32>,
    /// Labels that a node must have to run the Pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "embedded::string_map")]
    pub node_selector: BTreeMap<String, String>,
    /// RuntimeClass of the Pods.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub runtime_class_name: String,
    /// How new Pods replace old ones. Without it all new Pods start before an old one stops.
    #[serde(default = "blue_green")]
    #[schemars(schema_with = "embedded::bare::<DeploymentStrategy>")]
    pub strategy: DeploymentStrategy,
    /// Taints that the Pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "embedded::bare::<Vec<Toleration>>")]
    pub tolerations: Vec<Toleration>,
    /// Scheduling preferences of the Pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "embedded::bare::<Affinity>")]
    pub affinity: Option<Affinity>,
    /// How the Pods are spread. A constraint without a selector means the Pods of this control plane.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "embedded::bare::<Vec<TopologySpreadConstraint>>")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// Requests and limits of the components.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ComponentResources>,
    /// Further command-line arguments of the components.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_args: Option<ComponentArgs>,
    /// Labels and annotations to add to the Deployment.
    #[serde(default, skip_serializing_if = "AdditionalMetadata::is_empty")]
    pub additional_metadata: AdditionalMetadata,
    /// Labels and annotations to add to the Pods.
    #[serde(default, skip_serializing_if = "AdditionalMetadata::is_empty")]
    pub pod_additional_metadata: AdditionalMetadata,
    /// Init containers of the user's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "embedded::bare::<Vec<Container>>", length(max = 64))]
    #[x_kube(validation = Rule::new(CONTAINER_NAMES_RULE).message(CONTAINER_NAMES_MESSAGE))]
    pub additional_init_containers: Vec<Container>,
    /// Containers of the user's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "embedded::bare::<Vec<Container>>", length(max = 64))]
    #[x_kube(validation = Rule::new(CONTAINER_NAMES_RULE).message(CONTAINER_NAMES_MESSAGE))]
    pub additional_containers: Vec<Container>,
    /// Volumes of the user's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "embedded::bare::<Vec<Volume>>", length(max = 256))]
    #[x_kube(validation = Rule::new(VOLUME_NAMES_RULE).message("this volume name is taken by the control plane: choose another"))]
    pub additional_volumes: Vec<Volume>,
    /// Mounts of the user's, by component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub additional_volume_mounts: Option<ComponentVolumeMounts>,
    /// Probes of the components: built-in values, then these for all, then these for one component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<ControlPlaneProbes>,
    /// ServiceAccount of the Pods.
    #[serde(default = "service_account_name")]
    pub service_account_name: String,
    /// Whether the Pods get a token of the management cluster. They need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automount_service_account_token: Option<bool>,
    /// Security contexts of the components. Without them a restricted one is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_security_contexts: Option<ComponentSecurityContexts>,
    /// Security context of the Pods. Without it a restricted one is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "embedded::bare::<PodSecurityContext>")]
    pub pod_security_context: Option<PodSecurityContext>,
}

impl Default for DeploymentSpec {
    fn default() -> Self {
        Self {
            registry_settings: RegistrySettings::default(),
            replicas: replicas(),
            node_selector: BTreeMap::new(),
            runtime_class_name: String::new(),
            strategy: blue_green(),
            tolerations: Vec::new(),
            affinity: None,
            topology_spread_constraints: Vec::new(),
            resources: None,
            extra_args: None,
            additional_metadata: AdditionalMetadata::default(),
            pod_additional_metadata: AdditionalMetadata::default(),
            additional_init_containers: Vec::new(),
            additional_containers: Vec::new(),
            additional_volumes: Vec::new(),
            additional_volume_mounts: None,
            probes: None,
            service_account_name: service_account_name(),
            automount_service_account_token: None,
            container_security_contexts: None,
            pod_security_context: None,
        }
    }
}

/// Where the components' images come from: `<registry>/<image>:<version><tagSuffix>`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RegistrySettings {
    /// Registry, with a path if need be.
    #[serde(default = "registry")]
    #[schemars(regex(pattern = r"^\S*$"))]
    pub registry: String,
    /// Added to the tag as it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(regex(pattern = r"^\S*$"))]
    pub tag_suffix: String,
    /// Image of kube-apiserver.
    #[serde(default = "api_server_image")]
    #[schemars(regex(pattern = r"^\S*$"))]
    pub api_server_image: String,
    /// Image of kube-controller-manager.
    #[serde(default = "controller_manager_image")]
    #[schemars(regex(pattern = r"^\S*$"))]
    pub controller_manager_image: String,
    /// Image of kube-scheduler.
    #[serde(default = "scheduler_image")]
    #[schemars(regex(pattern = r"^\S*$"))]
    pub scheduler_image: String,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            registry: registry(),
            tag_suffix: String::new(),
            api_server_image: api_server_image(),
            controller_manager_image: controller_manager_image(),
            scheduler_image: scheduler_image(),
        }
    }
}

/// Requests and limits of the components.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ComponentResources {
    /// Of kube-apiserver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "embedded::bare::<ResourceRequirements>")]
    pub api_server: Option<ResourceRequirements>,
    /// Of kube-controller-manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "embedded::bare::<ResourceRequirements>")]
    pub controller_manager: Option<ResourceRequirements>,
    /// Of kube-scheduler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "embedded::bare::<ResourceRequirements>")]
    pub scheduler: Option<ResourceRequirements>,
    /// Of kine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "embedded::bare::<ResourceRequirements>")]
    pub kine: Option<ResourceRequirements>,
}

/// Further command-line arguments of the components.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ComponentArgs {
    /// Of kube-apiserver.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 4096)))]
    #[x_kube(
        validation = Rule::new(ARGUMENTS_RULE).message(ARGUMENTS_MESSAGE),
        validation = Rule::new(AUTHORIZATION_RULE).message("AlwaysAllow would let anybody do anything in the tenant: remove it, Node,RBAC is used without it")
    )]
    pub api_server: Vec<String>,
    /// Of kube-controller-manager.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 4096)))]
    #[x_kube(validation = Rule::new(ARGUMENTS_RULE).message(ARGUMENTS_MESSAGE))]
    pub controller_manager: Vec<String>,
    /// Of kube-scheduler.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 4096)))]
    #[x_kube(validation = Rule::new(ARGUMENTS_RULE).message(ARGUMENTS_MESSAGE))]
    pub scheduler: Vec<String>,
    /// Of kine. Only with a DataStore that is not etcd.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 4096)))]
    #[x_kube(validation = Rule::new(ARGUMENTS_RULE).message(ARGUMENTS_MESSAGE))]
    pub kine: Vec<String>,
}

/// Mounts of the user's, by component.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ComponentVolumeMounts {
    /// Of kube-apiserver.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "embedded::bare::<Vec<VolumeMount>>", length(max = 256))]
    #[x_kube(validation = Rule::new(MOUNTS_RULE).message(MOUNTS_MESSAGE))]
    pub api_server: Vec<VolumeMount>,
    /// Of kube-controller-manager.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "embedded::bare::<Vec<VolumeMount>>", length(max = 256))]
    #[x_kube(validation = Rule::new(MOUNTS_RULE).message(MOUNTS_MESSAGE))]
    pub controller_manager: Vec<VolumeMount>,
    /// Of kube-scheduler.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "embedded::bare::<Vec<VolumeMount>>", length(max = 256))]
    #[x_kube(validation = Rule::new(MOUNTS_RULE).message(MOUNTS_MESSAGE))]
    pub scheduler: Vec<VolumeMount>,
}

/// Security contexts of the components.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ComponentSecurityContexts {
    /// Of kube-apiserver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "embedded::bare::<SecurityContext>")]
    pub api_server: Option<SecurityContext>,
    /// Of kube-controller-manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "embedded::bare::<SecurityContext>")]
    pub controller_manager: Option<SecurityContext>,
    /// Of kube-scheduler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "embedded::bare::<SecurityContext>")]
    pub scheduler: Option<SecurityContext>,
}

/// Probes of the components.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ControlPlaneProbes {
    /// Liveness probe of every component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness: Option<ProbeSpec>,
    /// Readiness probe of every component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness: Option<ProbeSpec>,
    /// Startup probe of every component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup: Option<ProbeSpec>,
    /// Probes of kube-apiserver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_server: Option<ProbeSet>,
    /// Probes of kube-controller-manager.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller_manager: Option<ProbeSet>,
    /// Probes of kube-scheduler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<ProbeSet>,
}

/// Probes of one component.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ProbeSet {
    /// Liveness probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness: Option<ProbeSpec>,
    /// Readiness probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness: Option<ProbeSpec>,
    /// Startup probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup: Option<ProbeSpec>,
}

/// Timing of a probe. What is not set keeps its value.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ProbeSpec {
    /// Seconds from the container's start to the first probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub initial_delay_seconds: Option<i32>,
    /// Seconds after which a probe has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub timeout_seconds: Option<i32>,
    /// Seconds from one probe to the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub period_seconds: Option<i32>,
    /// Successes in a row that make it good again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub success_threshold: Option<i32>,
    /// Failures in a row that make it bad.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub failure_threshold: Option<i32>,
}

#[expect(clippy::unnecessary_wraps, reason = "serde's default must have the field's type")]
fn replicas() -> Option<i32> {
    Some(2)
}

fn blue_green() -> DeploymentStrategy {
    DeploymentStrategy {
        type_: Some("RollingUpdate".into()),
        rolling_update: Some(RollingUpdateDeployment {
            max_unavailable: Some(IntOrString::Int(0)),
            max_surge: Some(IntOrString::String("100%".into())),
        }),
    }
}

fn service_account_name() -> String {
    "default".into()
}

fn registry() -> String {
    "registry.k8s.io".into()
}

fn api_server_image() -> String {
    "kube-apiserver".into()
}

fn controller_manager_image() -> String {
    "kube-controller-manager".into()
}

fn scheduler_image() -> String {
    "kube-scheduler".into()
}
