//! What kube-proxy is told (`kubeproxy.config.k8s.io/v1alpha1`).
//!
//! kubeadm writes every field there is, nearly all of them empty; only what differs from that stands here, so that one text is
//! right for every minor version. What kube-proxy makes of it is the same, to the byte.
//!
//! # `clusterCIDR`
//! It tells kube-proxy which addresses are Pods. Traffic to a Service's cluster IP from any other address is masqueraded: where Pods
//! have addresses outside the range, because a network add-on brings a range of its own, every connection of theirs to a Service
//! would come from a node's address, and policies by Pod would refuse it. The API fills in the range that a
//! user leaves out, so the default range is nobody's statement about the Pods, and nothing is said then, as kubeadm says nothing without
//! a Pod subnet. A range that somebody chose is what kubeadm would be told too.

use std::collections::BTreeMap;

use ipnet::IpNet;
use kamaji_api::tenant::Network;
use kamaji_api::v1alpha1::NetworkProfileSpec;
use kamaji_resources::Endpoint;

/// Where the Pods see the files.
pub(super) const DIRECTORY: &str = "/var/lib/kube-proxy";
/// Name of the configuration's file.
pub(super) const FILE: &str = "config.conf";

/// The files of kube-proxy.
pub(super) fn files(network: &Network, endpoint: &Endpoint) -> BTreeMap<String, String> {
    BTreeMap::from([
        (FILE.to_owned(), configuration(network)),
        ("kubeconfig.conf".to_owned(), kubeconfig(&endpoint.url())),
    ])
}

fn configuration(network: &Network) -> String {
    let bind_address = if network.service_cidrs.first().is_some_and(is_ipv6) { "::" } else { "0.0.0.0" };
    let cluster_cidr = match cluster_cidr(network) {
        ranges if ranges.is_empty() => String::new(),
        ranges => format!("clusterCIDR: \"{ranges}\"\n"),
    };
    format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
bindAddress: \"{bind_address}\"
clientConnection:
  kubeconfig: {DIRECTORY}/kubeconfig.conf
{cluster_cidr}"
    )
}

fn kubeconfig(server: &str) -> String {
    format!(
        "apiVersion: v1
kind: Config
clusters:
- cluster:
    certificate-authority: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
    server: {server}
  name: default
contexts:
- context:
    cluster: default
    namespace: default
    user: default
  name: default
current-context: default
users:
- name: default
  user:
    tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token
"
    )
}

/// The ranges of Pods that somebody chose, separated by a comma.
///
/// kube-proxy does not start with two ranges of one family, nor on a node that has no address of the only family said.
fn cluster_cidr(network: &Network) -> String {
    let ranges: Vec<String> = network.pod_cidrs.iter().map(ToString::to_string).collect();
    if ranges == [NetworkProfileSpec::default().pod_cidr] {
        return String::new();
    }
    let mut chosen: Vec<&IpNet> = Vec::new();
    for range in network.pod_cidrs.iter().filter(|range| serves(network, range)) {
        if !chosen.iter().any(|other| is_ipv6(other) == is_ipv6(range)) {
            chosen.push(range);
        }
    }
    chosen.into_iter().map(IpNet::to_string).collect::<Vec<_>>().join(",")
}

/// Whether there are Services of this range's family.
fn serves(network: &Network, range: &IpNet) -> bool {
    network.service_cidrs.iter().any(|services| is_ipv6(services) == is_ipv6(range))
}

fn is_ipv6(range: &IpNet) -> bool {
    matches!(range, IpNet::V6(_))
}

#[cfg(test)]
mod tests {
    use kamaji_api::tenant::fixtures;

    use super::*;

    fn network(services: &[&str], pods: &[&str]) -> Network {
        let ranges = |texts: &[&str]| texts.iter().map(|range| range.parse().unwrap()).collect();
        Network { service_cidrs: ranges(services), pod_cidrs: ranges(pods), ..fixtures::tenant().network }
    }

    #[test]
    fn the_default_range_is_nobodys_statement() {
        assert_eq!(cluster_cidr(&fixtures::tenant().network), "");
        assert_eq!(cluster_cidr(&network(&["10.96.0.0/16"], &["10.36.0.0/16"])), "10.36.0.0/16");
    }

    #[test]
    fn one_range_of_each_family_that_services_have() {
        let pods = ["fd00:1::/56", "10.36.0.0/16", "10.37.0.0/16"];
        let dual = network(&["fd00:2::/108", "10.97.0.0/16"], &pods);
        assert_eq!(cluster_cidr(&dual), "fd00:1::/56,10.36.0.0/16");
        assert_eq!(cluster_cidr(&network(&["10.97.0.0/16"], &pods)), "10.36.0.0/16");
        assert_eq!(cluster_cidr(&network(&["fd00:2::/108"], &["10.36.0.0/16"])), "");
    }

    #[test]
    fn it_listens_on_the_family_of_the_services() {
        let text = |services: &[&str]| configuration(&network(services, &["10.36.0.0/16"]));
        assert!(text(&["10.97.0.0/16", "fd00:2::/108"]).contains("bindAddress: \"0.0.0.0\"\n"));
        assert!(text(&["fd00:2::/108", "10.97.0.0/16"]).contains("bindAddress: \"::\"\n"));
    }
}
