//! Where the tenant's API server is reached.

use std::fmt::{Display, Formatter};
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::Service;
use kamaji_api::Tenant;
use kamaji_api::tenant::Exposure;

/// The address of a tenant's API server, once it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address that the Service got, or that the user declared.
    pub address: IpAddr,
    /// The address that nodes and Pods of the tenant are told.
    pub advertised: IpAddr,
    /// Port of the API server and of its Service.
    pub port: u16,
}

/// Why there is no address yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAddress {
    /// The Service has no cluster IP.
    ClusterIpPending,
    /// The load balancer has reported no address.
    LoadBalancerPending,
    /// The load balancer has a host name instead of an address.
    HostnameOnly(String),
    /// Nobody can know which node address is meant.
    NodePortUndeclared,
}

impl NoAddress {
    /// Reason of the condition: one of a closed set.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::ClusterIpPending => "ClusterIPPending",
            Self::LoadBalancerPending => "LoadBalancerPending",
            Self::HostnameOnly(_) => "LoadBalancerHostnameOnly",
            Self::NodePortUndeclared => "AddressMissing",
        }
    }
}

impl Display for NoAddress {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ClusterIpPending => formatter.write_str("the Service has no cluster IP yet"),
            Self::LoadBalancerPending => {
                formatter.write_str("the load balancer has not assigned an address to the Service yet")
            }
            Self::HostnameOnly(hostname) => write!(
                formatter,
                "the load balancer offers only the host name {hostname}: set spec.networkProfile.address to an IP address that leads there"
            ),
            Self::NodePortUndeclared => formatter.write_str(
                "a NodePort Service has no address of its own: set spec.networkProfile.address to the address of a node or of a balancer in front of the nodes",
            ),
        }
    }
}

impl Endpoint {
    /// The address that `service` has been given.
    pub fn assigned(tenant: &Tenant, service: &Service) -> Result<Self, NoAddress> {
        let address = match tenant.network.address {
            Some(declared) => declared,
            None => match tenant.exposure {
                Exposure::ClusterIp => cluster_ip(service)?,
                Exposure::NodePort => return Err(NoAddress::NodePortUndeclared),
                Exposure::LoadBalancer { .. } => load_balancer_ip(service)?,
            },
        };
        Ok(Self {
            address,
            advertised: tenant.network.advertise_address.unwrap_or(address),
            port: tenant.network.port,
        })
    }

    /// `host:port` as the status shows it, with brackets around IPv6.
    pub fn host_and_port(&self) -> String {
        SocketAddr::new(self.address, self.port).to_string()
    }

    /// The URL that nodes and people use.
    pub fn url(&self) -> String {
        format!("https://{}", SocketAddr::new(self.advertised, self.port))
    }
}

/// The cluster IP of a Service; a headless one has none.
pub fn cluster_ip(service: &Service) -> Result<IpAddr, NoAddress> {
    let text = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref());
    text.and_then(|text| text.parse().ok()).ok_or(NoAddress::ClusterIpPending)
}

fn load_balancer_ip(service: &Service) -> Result<IpAddr, NoAddress> {
    let ingress = service
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref())
        .and_then(|balancer| balancer.ingress.as_deref())
        .unwrap_or_default();
    if let Some(ip) = ingress.iter().find_map(|entry| entry.ip.as_deref()?.parse().ok()) {
        return Ok(ip);
    }
    match ingress.iter().find_map(|entry| entry.hostname.clone()) {
        Some(hostname) => Err(NoAddress::HostnameOnly(hostname)),
        None => Err(NoAddress::LoadBalancerPending),
    }
}

#[cfg(test)]
mod tests {
    use kamaji_api::tenant::fixtures;
    use serde_json::json;

    use super::*;

    fn service(value: serde_json::Value) -> Service {
        serde_json::from_value(value).unwrap()
    }

    fn tenant(exposure: Exposure) -> Tenant {
        Tenant { exposure, ..fixtures::tenant() }
    }

    fn balancer() -> Exposure {
        Exposure::LoadBalancer { class: None, sources: Vec::new(), node_ports: true }
    }

    #[test]
    fn a_cluster_ip_is_the_address() {
        let service = service(json!({ "spec": { "clusterIP": "fd00::7" } }));
        let endpoint = Endpoint::assigned(&tenant(Exposure::ClusterIp), &service).unwrap();
        assert_eq!(endpoint.host_and_port(), "[fd00::7]:6443");
    }

    #[test]
    fn a_headless_service_has_no_address() {
        let service = service(json!({ "spec": { "clusterIP": "None" } }));
        assert_eq!(
            Endpoint::assigned(&tenant(Exposure::ClusterIp), &service),
            Err(NoAddress::ClusterIpPending)
        );
    }

    #[test]
    fn a_balancer_may_be_late_or_nameless() {
        let tenant = tenant(balancer());
        let with = |ingress| service(json!({ "status": { "loadBalancer": { "ingress": ingress } } }));
        assert_eq!(Endpoint::assigned(&tenant, &with(json!([]))), Err(NoAddress::LoadBalancerPending));
        assert_eq!(
            Endpoint::assigned(&tenant, &with(json!([{ "hostname": "lb.example.com" }]))),
            Err(NoAddress::HostnameOnly("lb.example.com".into()))
        );
        let found =
            Endpoint::assigned(&tenant, &with(json!([{ "hostname": "x" }, { "ip": "192.0.2.1" }]))).unwrap();
        assert_eq!(found.url(), "https://192.0.2.1:6443");
    }

    #[test]
    fn a_declared_address_wins_and_an_advertised_one_is_told() {
        let mut tenant = tenant(Exposure::NodePort);
        assert_eq!(Endpoint::assigned(&tenant, &Service::default()), Err(NoAddress::NodePortUndeclared));
        tenant.network.address = Some("192.0.2.1".parse().unwrap());
        tenant.network.advertise_address = Some("198.51.100.1".parse().unwrap());
        let endpoint = Endpoint::assigned(&tenant, &Service::default()).unwrap();
        assert_eq!(endpoint.host_and_port(), "192.0.2.1:6443");
        assert_eq!(endpoint.url(), "https://198.51.100.1:6443");
    }
}
