use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::Complaints;
use crate::v1alpha1::NetworkProfileSpec;

/// Addresses, ports and ranges of a tenant, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Port of the API server and of its Service.
    pub port: u16,
    /// DNS domain of the tenant cluster.
    pub cluster_domain: String,
    /// Ranges of Service addresses; the first is the primary one.
    pub service_cidrs: Vec<IpNet>,
    /// Ranges of Pod addresses; the first is the primary one.
    pub pod_cidrs: Vec<IpNet>,
    /// Addresses of the cluster's DNS Service.
    pub dns_service_ips: Vec<IpAddr>,
    /// The address that the user declared for the API server.
    pub address: Option<IpAddr>,
    /// The address that nodes and Pods of the tenant are told, where it differs.
    pub advertise_address: Option<IpAddr>,
    /// Further names of the API server's certificate.
    pub san_names: BTreeSet<String>,
    /// Further addresses of the API server's certificate.
    pub san_ips: BTreeSet<IpAddr>,
    /// Also announce the address as an external IP of the Service.
    pub announce_external_ip: bool,
}

impl Network {
    pub(super) fn resolve(spec: &NetworkProfileSpec, complaints: &mut Complaints) -> Option<Self> {
        let service_cidrs = complaints
            .take("spec.networkProfile.serviceCidrs", ranges(&spec.service_cidrs, &spec.service_cidr))?;
        let pod_cidrs =
            complaints.take("spec.networkProfile.podCidrs", ranges(&spec.pod_cidrs, &spec.pod_cidr))?;
        let (san_names, san_ips) = complaints.take("spec.networkProfile.certSANs", sans(&spec.cert_sans))?;
        let port = complaints.take(
            "spec.networkProfile.port",
            u16::try_from(spec.port).map_err(|_| format!("{} is not a port", spec.port)),
        )?;
        let dns_service_ips = complaints.take(
            "spec.networkProfile.dnsServiceIPs",
            dns_service_ips(&spec.dns_service_ips, &service_cidrs),
        )?;
        Some(Self {
            port,
            cluster_domain: spec.cluster_domain.clone(),
            dns_service_ips,
            service_cidrs,
            pod_cidrs,
            address: complaints.take("spec.networkProfile.address", optional_ip(&spec.address))?,
            advertise_address: complaints
                .take("spec.networkProfile.advertiseAddress", optional_ip(&spec.advertise_address))?,
            san_names,
            san_ips,
            announce_external_ip: spec.allow_address_as_external_ip,
        })
    }

    /// The address of the Service `kubernetes` inside the tenant: the first of the primary Service range.
    pub fn kubernetes_service_ip(&self) -> Option<IpAddr> {
        self.service_cidrs.first().map(|range| offset(range, 1))
    }
}

/// The address of cluster DNS in a range of Service addresses: the tenth for IPv4, the sixteenth for IPv6.
pub fn dns_service_ip(range: &IpNet) -> IpAddr {
    match range {
        IpNet::V4(_) => offset(range, 10),
        IpNet::V6(_) => offset(range, 16),
    }
}

fn offset(range: &IpNet, by: u32) -> IpAddr {
    match range {
        IpNet::V4(range) => Ipv4Addr::from(u32::from(range.network()).wrapping_add(by)).into(),
        IpNet::V6(range) => Ipv6Addr::from(u128::from(range.network()).wrapping_add(u128::from(by))).into(),
    }
}

/// The list wins over the single, deprecated field.
fn ranges(list: &[String], single: &str) -> Result<Vec<IpNet>, String> {
    let written: Vec<&str> = match list {
        [] => vec![single],
        list => list.iter().map(String::as_str).collect(),
    };
    written
        .into_iter()
        .filter(|range| !range.is_empty())
        .map(|range| {
            range
                .parse()
                .map_err(|_| format!("{range:?} is not a range in CIDR notation, such as 10.96.0.0/16"))
        })
        .collect()
}

fn optional_ip(text: &str) -> Result<Option<IpAddr>, String> {
    match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| format!("{text:?} is not an IP address")),
    }
}

fn dns_service_ips(written: &[String], service_cidrs: &[IpNet]) -> Result<Vec<IpAddr>, String> {
    if written.is_empty() {
        return Ok(service_cidrs.iter().map(dns_service_ip).collect());
    }
    written
        .iter()
        .map(|text| {
            let ip: IpAddr = text.parse().map_err(|_| format!("{text:?} is not an IP address"))?;
            if service_cidrs.iter().any(|range| range.contains(&ip)) {
                Ok(ip)
            } else {
                Err(format!("{ip} lies in none of the Service ranges: choose one inside, or remove it"))
            }
        })
        .collect()
}

fn sans(written: &[String]) -> Result<(BTreeSet<String>, BTreeSet<IpAddr>), String> {
    let mut names = BTreeSet::new();
    let mut ips = BTreeSet::new();
    for san in written {
        if let Ok(ip) = san.parse() {
            ips.insert(ip);
        } else if is_dns_name(san.strip_prefix("*.").unwrap_or(san)) {
            names.insert(san.clone());
        } else {
            return Err(format!(
                "{san:?} is neither an IP address nor a lower-case DNS name, with or without a leading \"*.\""
            ));
        }
    }
    Ok((names, ips))
}

/// A DNS subdomain as Kubernetes has it (RFC 1123).
fn is_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(change: impl FnOnce(&mut NetworkProfileSpec)) -> Result<Network, String> {
        let mut spec = NetworkProfileSpec::default();
        change(&mut spec);
        let mut complaints = Complaints::default();
        Network::resolve(&spec, &mut complaints).ok_or_else(|| complaints.to_string())
    }

    #[test]
    fn the_list_wins_and_keeps_its_order() {
        let network =
            resolve(|spec| spec.service_cidrs = vec!["fd00::/108".into(), "10.97.0.0/16".into()]).unwrap();
        assert_eq!(
            network.dns_service_ips,
            ["fd00::10".parse::<IpAddr>().unwrap(), "10.97.0.10".parse().unwrap()]
        );
        assert_eq!(network.kubernetes_service_ip(), Some("fd00::1".parse().unwrap()));
    }

    #[test]
    fn dns_addresses_must_lie_in_a_service_range() {
        let text = resolve(|spec| spec.dns_service_ips = vec!["10.1.0.10".into()]).unwrap_err();
        assert!(text.contains("10.1.0.10 lies in none"), "{text}");
    }

    #[test]
    fn sans_are_names_or_addresses() {
        let network =
            resolve(|spec| spec.cert_sans = vec!["10.0.0.1".into(), "*.example.com".into()]).unwrap();
        assert_eq!(network.san_ips.len() + network.san_names.len(), 2);
        for bad in ["*", "Upper.example", "a_b", "-a", "a..b", "host:6443"] {
            assert!(resolve(|spec| spec.cert_sans = vec![bad.into()]).is_err(), "{bad:?}");
        }
    }
}
