use crate::v1alpha1::{NetworkProfileSpec, ServiceSpec, ServiceType};

/// How the tenant's API server is reached. What exists only for one kind of Service lives in that kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// Inside the management cluster only.
    ClusterIp,
    /// On every node, under the API server's own port.
    NodePort,
    /// Through a load balancer.
    LoadBalancer {
        /// Class of the load balancer.
        class: Option<String>,
        /// Source ranges that it admits; empty means all.
        sources: Vec<String>,
        /// Whether it also gets node ports.
        node_ports: bool,
    },
}

impl Exposure {
    pub(super) fn resolve(service: &ServiceSpec, network: &NetworkProfileSpec) -> Self {
        match service.service_type {
            ServiceType::ClusterIp => Self::ClusterIp,
            ServiceType::NodePort => Self::NodePort,
            ServiceType::LoadBalancer => Self::LoadBalancer {
                class: network.load_balancer_class.clone(),
                sources: network.load_balancer_source_ranges.clone(),
                node_ports: service.allocate_load_balancer_node_ports.unwrap_or(true),
            },
        }
    }
}
