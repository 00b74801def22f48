//! The Service in front of the tenant's API server.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kamaji_api::tenant::Exposure;
use kamaji_api::v1alpha1::AdditionalPort;
use kamaji_api::{Child, Tenant, labels};

use crate::{konnectivity, object};

/// Name of the API server's port.
pub const API_SERVER_PORT: &str = "kube-apiserver";

/// The Service as it should be.
pub fn build(tenant: &Tenant) -> Service {
    let mut ports = vec![own_port(tenant, API_SERVER_PORT, tenant.network.port.into())];
    ports.extend(
        tenant
            .addons
            .konnectivity
            .iter()
            .map(|wish| own_port(tenant, konnectivity::SERVICE_PORT, wish.server.port)),
    );
    ports.extend(tenant.service_ports.iter().map(|extra| additional_port(tenant, extra)));
    let common = ServiceSpec {
        selector: Some([(labels::NAME.to_owned(), tenant.id.name.clone())].into()),
        ports: Some(ports),
        external_ips: external_ips(tenant),
        ..ServiceSpec::default()
    };
    Service { metadata: metadata(tenant), spec: Some(exposed(common, &tenant.exposure)), status: None }
}

fn exposed(common: ServiceSpec, exposure: &Exposure) -> ServiceSpec {
    match exposure {
        Exposure::ClusterIp => ServiceSpec { type_: Some("ClusterIP".into()), ..common },
        Exposure::NodePort => ServiceSpec { type_: Some("NodePort".into()), ..common },
        Exposure::LoadBalancer { class, sources, node_ports } => ServiceSpec {
            type_: Some("LoadBalancer".into()),
            allocate_load_balancer_node_ports: Some(*node_ports),
            load_balancer_class: class.clone(),
            load_balancer_source_ranges: (!sources.is_empty()).then(|| sources.clone()),
            ..common
        },
    }
}

/// Ours win over the user's, or the garbage collector and the watches would lose the Service.
fn metadata(tenant: &Tenant) -> ObjectMeta {
    let ours = object::metadata(&tenant.id, Child::Service);
    let mut labels = tenant.service_metadata.labels.clone();
    labels.extend(ours.labels.unwrap_or_default());
    let annotations = &tenant.service_metadata.annotations;
    ObjectMeta {
        labels: Some(labels),
        annotations: (!annotations.is_empty()).then(|| annotations.clone()),
        ..ours
    }
}

/// A port of ours: the same on the Service, on the Pods and, for a NodePort, on the nodes.
fn own_port(tenant: &Tenant, name: &str, port: i32) -> ServicePort {
    ServicePort {
        name: Some(name.into()),
        protocol: Some("TCP".into()),
        port,
        target_port: Some(IntOrString::Int(port)),
        node_port: if tenant.exposure == Exposure::NodePort { Some(port) } else { released(tenant) },
        ..ServicePort::default()
    }
}

/// A balancer that needs no node ports any more keeps those it has until they are given back by name.
fn released(tenant: &Tenant) -> Option<i32> {
    matches!(tenant.exposure, Exposure::LoadBalancer { node_ports: false, .. }).then_some(0)
}

fn additional_port(tenant: &Tenant, extra: &AdditionalPort) -> ServicePort {
    ServicePort {
        node_port: released(tenant),
        name: Some(extra.name.clone()),
        protocol: Some(extra.protocol.as_str().into()),
        app_protocol: extra.app_protocol.clone(),
        port: extra.port,
        target_port: Some(extra.target_port.clone()),
    }
}

fn external_ips(tenant: &Tenant) -> Option<Vec<String>> {
    let allowed =
        tenant.network.announce_external_ip && !matches!(tenant.exposure, Exposure::LoadBalancer { .. });
    let address = tenant.network.address.filter(|_| allowed)?;
    Some(vec![address.to_string()])
}
