//! The Service of cluster DNS.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kamaji_api::tenant::Network;

use super::{POD, SERVICE};
use crate::kube_system;

pub(super) fn build(network: &Network) -> Service {
    let (name, value) = POD;
    let addressed = addressed(&addresses(&network.dns_service_ips));
    Service {
        metadata: metadata(),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            ports: Some(vec![
                port("dns", 53, "UDP"),
                port("dns-tcp", 53, "TCP"),
                port("metrics", 9153, "TCP"),
            ]),
            selector: Some([(name.to_owned(), value.to_owned())].into()),
            ..addressed
        }),
        status: None,
    }
}

fn metadata() -> ObjectMeta {
    let labels = [POD, ("kubernetes.io/cluster-service", "true"), ("kubernetes.io/name", "CoreDNS")];
    let scraped = [("prometheus.io/port", "9153"), ("prometheus.io/scrape", "true")];
    ObjectMeta {
        annotations: Some(scraped.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
        ..kube_system::labelled(kube_system::metadata(SERVICE), labels)
    }
}

/// A Service has one address of each family at most: the first of the list, and the first of the other family.
fn addresses(told: &[IpAddr]) -> Vec<IpAddr> {
    let first = told.first();
    let other = told.iter().find(|ip| first.is_some_and(|first| first.is_ipv4() != ip.is_ipv4()));
    first.into_iter().chain(other).copied().collect()
}

/// All four fields are said: the server would choose those that are left out, and cannot change them later.
fn addressed(addresses: &[IpAddr]) -> ServiceSpec {
    let Some(primary) = addresses.first() else { return ServiceSpec::default() };
    let family = |ip: &IpAddr| if ip.is_ipv4() { "IPv4" } else { "IPv6" };
    let policy = if addresses.len() > 1 { "PreferDualStack" } else { "SingleStack" };
    ServiceSpec {
        cluster_ip: Some(primary.to_string()),
        cluster_ips: Some(addresses.iter().map(IpAddr::to_string).collect()),
        ip_families: Some(addresses.iter().map(|ip| family(ip).to_owned()).collect()),
        ip_family_policy: Some(policy.to_owned()),
        ..ServiceSpec::default()
    }
}

fn port(name: &str, number: i32, protocol: &str) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: number,
        protocol: Some(protocol.to_owned()),
        target_port: Some(IntOrString::Int(number)),
        ..ServicePort::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(told: &[&str]) -> ServiceSpec {
        addressed(&addresses(&told.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<_>>()))
    }

    #[test]
    fn one_address_of_each_family_is_taken_in_the_order_told() {
        let dual = spec(&["fd00::10", "fd00::11", "10.96.0.10", "10.96.0.11"]);
        assert_eq!(dual.cluster_ip.as_deref(), Some("fd00::10"));
        assert_eq!(dual.cluster_ips.unwrap(), ["fd00::10", "10.96.0.10"]);
        assert_eq!(dual.ip_families.unwrap(), ["IPv6", "IPv4"]);
        assert_eq!(dual.ip_family_policy.as_deref(), Some("PreferDualStack"));
    }

    #[test]
    fn one_family_is_one_address() {
        let single = spec(&["10.96.0.42", "10.96.0.43"]);
        assert_eq!(single.cluster_ips.unwrap(), ["10.96.0.42"]);
        assert_eq!(single.ip_family_policy.as_deref(), Some("SingleStack"));
        assert_eq!(spec(&[]), ServiceSpec::default());
    }
}
