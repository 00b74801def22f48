//! The Deployment of a tenant's control plane, rendered whole from values: nobody patches it afterwards.

mod api_server;
pub mod args;
mod component;
mod controller_manager;
mod kine;
mod konnectivity;
mod pki;
mod probes;
mod scheduler;
pub(crate) mod security;
mod socket;

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec, TopologySpreadConstraint, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kamaji_api::{Child, Tenant, labels};

pub(crate) use self::api_server::ALWAYS as ADDED_PLUGINS;
use crate::kine::{Choice, NAME, TEMPLATE, image, serves, set_image, template_checksum};
use crate::overrides::Override;
use crate::storage::{Storage, StorageCredentials};
use crate::{Credentials, Endpoint, disruption, object};

/// What the Deployment is rendered from.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The tenant.
    pub tenant: &'a Tenant,
    /// Where its API server is reached.
    pub endpoint: &'a Endpoint,
    /// What its components prove themselves with.
    pub credentials: &'a Credentials,
    /// Where its data is.
    pub storage: &'a Storage,
    /// How it proves itself there.
    pub storage_credentials: &'a StorageCredentials,
    /// Where single kinds of its objects are instead.
    pub overrides: &'a [Override],
}

/// What one concern adds to the control-plane Pod.
#[derive(Debug, Default)]
pub struct Part {
    /// Containers.
    pub containers: Vec<Container>,
    /// Volumes.
    pub volumes: Vec<Volume>,
}

/// The Deployment as it should be, with the usual image of kine where the store needs one.
pub fn build(inputs: &Inputs<'_>) -> Deployment {
    build_with(inputs, &Choice::default())
}

/// The Deployment as it should be. `kine` says which image of kine is to run, where the store needs one.
pub fn build_with(inputs: &Inputs<'_>, kine: &Choice<'_>) -> Deployment {
    let mut deployment = render(inputs);
    if serves(inputs.storage.driver) {
        let template = &mut deployment.spec.template;
        let sum = template_checksum(template);
        set_image(template, &image(inputs.tenant, kine, &sum));
        deployment.metadata.annotations.get_or_insert_default().insert(TEMPLATE.into(), sum);
    }
    deployment
}

/// All but the image of kine.
fn render(inputs: &Inputs<'_>) -> Deployment {
    let tenant = inputs.tenant;
    let parts = [
        api_server::part(inputs),
        scheduler::part(tenant),
        controller_manager::part(inputs),
        kine::part(inputs),
        konnectivity::part(inputs),
    ];
    let pod = parts.into_iter().fold(Part::default(), |mut sum, part| {
        sum.containers.extend(part.containers);
        sum.volumes.extend(part.volumes);
        sum
    });
    Deployment {
        metadata: metadata(tenant),
        spec: DeploymentSpec {
            replicas: Some(tenant.replicas),
            selector: selector(tenant),
            min_ready_seconds: (tenant.replicas >= disruption::FEWEST).then_some(SETTLING),
            strategy: Some(strategy(&tenant.deployment.strategy)),
            template: PodTemplateSpec {
                metadata: Some(pod_metadata(inputs)),
                spec: Some(pod_spec(inputs, pod)),
            },
            ..DeploymentSpec::default()
        },
        status: None,
    }
}

/// How long a new Pod serves beside the old ones before one of them goes, in seconds, where there are several: until every
/// node has heard of it, and one that dies of its first requests has died.
const SETTLING: i32 = 3;

/// The Pods of this control plane.
pub(crate) fn selector(tenant: &Tenant) -> LabelSelector {
    LabelSelector {
        match_labels: Some([(labels::NAME.to_owned(), tenant.id.name.clone())].into()),
        match_expressions: None,
    }
}

fn metadata(tenant: &Tenant) -> ObjectMeta {
    let ours = object::metadata(&tenant.id, Child::Deployment);
    let additional = &tenant.deployment.additional_metadata;
    let mut labels = additional.labels.clone();
    labels.extend(ours.labels.unwrap_or_default());
    ObjectMeta {
        labels: Some(labels),
        annotations: (!additional.annotations.is_empty()).then(|| additional.annotations.clone()),
        ..ours
    }
}

/// Labels that carry the checksum of what a Pod reads once, at its start.
pub(crate) const CHECKSUM_LABELS: &[(&str, Child)] = &[
    ("api-server-certificate", Child::ApiServer),
    ("api-server-kubelet-client-certificate", Child::KubeletClient),
    ("ca", Child::Ca),
    ("controller-manager-kubeconfig", Child::ControllerManagerKubeconfig),
    ("front-proxy-ca-certificate", Child::FrontProxyCa),
    ("front-proxy-client-certificate", Child::FrontProxyClient),
    ("service-account", Child::ServiceAccountKey),
    ("scheduler-kubeconfig", Child::SchedulerKubeconfig),
];

/// The user's labels win over the checksums, but not over the selector's; our annotations win over the user's.
fn pod_metadata(inputs: &Inputs<'_>) -> ObjectMeta {
    let tenant = inputs.tenant;
    let additional = &tenant.deployment.pod_additional_metadata;
    let prefix = labels::COMPONENT_CHECKSUM_PREFIX;
    let mut pod_labels: BTreeMap<String, String> = CHECKSUM_LABELS
        .iter()
        .map(|(name, child)| (format!("{prefix}/{name}"), inputs.credentials.checksum(*child)))
        .collect();
    pod_labels.extend(konnectivity::checksum_labels(inputs));
    pod_labels.insert(format!("{prefix}/datastore"), inputs.storage.data_store.clone());
    pod_labels.insert(labels::COMPONENT.into(), Child::Deployment.component().into());
    pod_labels.extend(additional.labels.clone());
    pod_labels.insert(labels::NAME.into(), tenant.id.name.clone());
    let mut annotations = additional.annotations.clone();
    annotations.insert(labels::STORAGE_CONFIG.into(), inputs.storage_credentials.config_checksum());
    annotations.insert(labels::STORAGE_CERTIFICATE.into(), inputs.storage_credentials.certificate_checksum());
    ObjectMeta { labels: Some(pod_labels), annotations: Some(annotations), ..ObjectMeta::default() }
}

fn pod_spec(inputs: &Inputs<'_>, part: Part) -> PodSpec {
    let tenant = inputs.tenant;
    let wish = &tenant.deployment;
    let mut containers = wish.additional_containers.clone();
    // Beside ours it is no container: it names the image of ours.
    containers.retain(|container| container.name != NAME || !serves(inputs.storage.driver));
    containers.extend(part.containers);
    let mut volumes = wish.additional_volumes.clone();
    volumes.extend(part.volumes);
    PodSpec {
        containers,
        init_containers: non_empty(wish.additional_init_containers.clone()),
        volumes: Some(volumes),
        node_selector: (!wish.node_selector.is_empty()).then(|| wish.node_selector.clone()),
        tolerations: non_empty(wish.tolerations.clone()),
        affinity: wish.affinity.clone(),
        topology_spread_constraints: non_empty(spread(tenant)),
        runtime_class_name: (!wish.runtime_class_name.is_empty()).then(|| wish.runtime_class_name.clone()),
        service_account_name: Some(wish.service_account_name.clone()),
        // The components never speak to the management cluster, so they get no token of it unless asked for.
        automount_service_account_token: Some(wish.automount_service_account_token.unwrap_or(false)),
        // A namespace may hold hundreds of Services; their addresses as environment variables help nobody here.
        enable_service_links: Some(false),
        security_context: Some(security::pod(wish.pod_security_context.as_ref())),
        ..PodSpec::default()
    }
}

/// Where Pods are spread over unless the user says something else.
const DOMAINS: [&str; 2] = ["kubernetes.io/hostname", "topology.kubernetes.io/zone"];

/// A constraint without a selector means the Pods of this control plane.
///
/// The default does not ask how many Pods there are, or their number could not change without replacing all of them.
fn spread(tenant: &Tenant) -> Vec<TopologySpreadConstraint> {
    let wish = &tenant.deployment.topology_spread_constraints;
    if wish.is_empty() && tenant.deployment.affinity.is_none() {
        let over = |domain: &str| TopologySpreadConstraint {
            label_selector: Some(selector(tenant)),
            max_skew: 1,
            topology_key: domain.to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            ..TopologySpreadConstraint::default()
        };
        return DOMAINS.map(over).into();
    }
    let completed = |constraint: &TopologySpreadConstraint| TopologySpreadConstraint {
        label_selector: Some(constraint.label_selector.clone().unwrap_or_else(|| selector(tenant))),
        ..constraint.clone()
    };
    wish.iter().map(completed).collect()
}

/// Rolling updates without parameters start every new Pod before an old one stops.
fn strategy(wish: &DeploymentStrategy) -> DeploymentStrategy {
    if wish.type_.as_deref() == Some("Recreate") {
        return DeploymentStrategy { type_: wish.type_.clone(), rolling_update: None };
    }
    let blue_green = || RollingUpdateDeployment {
        max_surge: Some(IntOrString::String("100%".into())),
        max_unavailable: Some(IntOrString::Int(0)),
    };
    DeploymentStrategy {
        type_: Some("RollingUpdate".into()),
        rolling_update: Some(wish.rolling_update.clone().unwrap_or_else(blue_green)),
    }
}

fn non_empty<T>(items: Vec<T>) -> Option<Vec<T>> {
    (!items.is_empty()).then_some(items)
}
