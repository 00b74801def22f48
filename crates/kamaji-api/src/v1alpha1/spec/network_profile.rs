use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Addresses, ports and ranges of the tenant cluster.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(oldSelf.clusterDomain) || self.clusterDomain == oldSelf.clusterDomain")
        .message("changing the clusterDomain is not supported"),
    validation = Rule::new("!has(oldSelf.loadBalancerClass) || !has(self.loadBalancerClass) || self.loadBalancerClass == oldSelf.loadBalancerClass")
        .message("changing the LoadBalancer class is not supported")
)]
pub struct NetworkProfileSpec {
    /// Source ranges, in CIDR notation, that the load balancer admits. Only with service type LoadBalancer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 64)))]
    #[x_kube(validation = Rule::new("self.all(r, isCIDR(r))").message("all LoadBalancer source range entries must be valid CIDR"))]
    pub load_balancer_source_ranges: Vec<String>,
    /// Class of the load balancer. Only with service type LoadBalancer; it cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub load_balancer_class: Option<String>,
    /// IP address under which the API server is reached from the management cluster. Without it the Service's own is used.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// IP address that the API server tells the tenant's nodes and Pods, where it differs from `address`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self == '' || isIP(self)").message("advertiseAddress must be a valid IP address"))]
    pub advertise_address: String,
    /// DNS domain of the tenant cluster. It cannot be changed.
    #[serde(default = "cluster_domain")]
    #[schemars(regex(pattern = r".*\..*"))]
    pub cluster_domain: String,
    /// Also announce the address as an external IP of the Service. Only with service types ClusterIP and NodePort.
    #[serde(
        default,
        rename = "allowAddressAsExternalIP",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub allow_address_as_external_ip: bool,
    /// Port of the API server and of its Service.
    #[serde(default = "port")]
    pub port: i32,
    /// Further names and IP addresses of the API server's certificate.
    #[serde(default, rename = "certSANs", skip_serializing_if = "Vec::is_empty")]
    pub cert_sans: Vec<String>,
    /// Range of Service addresses. Deprecated: use `serviceCidrs`.
    #[serde(default = "service_cidr")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self == '' || isCIDR(self)").message("serviceCidr must be empty or a valid CIDR"))]
    pub service_cidr: String,
    /// Ranges of Service addresses, one per address family; the first is the primary one. Wins over `serviceCidr`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 2), inner(length(max = 64)))]
    #[x_kube(validation = Rule::new("self.all(r, isCIDR(r))").message("all serviceCidrs entries must be valid CIDR"))]
    pub service_cidrs: Vec<String>,
    /// Range of Pod addresses. Deprecated: use `podCidrs`.
    #[serde(default = "pod_cidr")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self == '' || isCIDR(self)").message("podCidr must be empty or a valid CIDR"))]
    pub pod_cidr: String,
    /// Ranges of Pod addresses, one per address family; the first is the primary one. Wins over `podCidr`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 2), inner(length(max = 64)))]
    #[x_kube(validation = Rule::new("self.all(r, isCIDR(r))").message("all podCidrs entries must be valid CIDR"))]
    pub pod_cidrs: Vec<String>,
    /// Addresses of the cluster's DNS Service. Without them the tenth address of each range (the sixteenth for IPv6) is used.
    #[serde(default, rename = "dnsServiceIPs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub dns_service_ips: Vec<String>,
}

impl Default for NetworkProfileSpec {
    fn default() -> Self {
        Self {
            load_balancer_source_ranges: Vec::new(),
            load_balancer_class: None,
            address: String::new(),
            advertise_address: String::new(),
            cluster_domain: cluster_domain(),
            allow_address_as_external_ip: false,
            port: port(),
            cert_sans: Vec::new(),
            service_cidr: service_cidr(),
            service_cidrs: Vec::new(),
            pod_cidr: pod_cidr(),
            pod_cidrs: Vec::new(),
            dns_service_ips: Vec::new(),
        }
    }
}

fn cluster_domain() -> String {
    "cluster.local".into()
}

fn port() -> i32 {
    6443
}

fn service_cidr() -> String {
    "10.96.0.0/16".into()
}

fn pod_cidr() -> String {
    "10.244.0.0/16".into()
}
