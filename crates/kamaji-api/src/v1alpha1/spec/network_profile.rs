use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The ranges that count: the list, else the single one, which is missing only where the API server judges our own defaults.
const SERVICE_RANGES: &str = "has(self.serviceCidrs) && size(self.serviceCidrs) > 0 ? self.serviceCidrs : (has(self.serviceCidr) ? [self.serviceCidr] : [])";
const POD_RANGES: &str = "has(self.podCidrs) && size(self.podCidrs) > 0 ? self.podCidrs : (has(self.podCidr) ? [self.podCidr] : [])";

/// Of two ranges one is for each address family.
const ONE_PER_FAMILY: &str =
    "size(self) < 2 || !self.all(r, isCIDR(r)) || cidr(self[0]).ip().family() != cidr(self[1]).ip().family()";

/// Other programs in the Pod listen there: kube-controller-manager and kube-scheduler.
const PORT_RULE: &str = "!(self in [10257, 10259])";

/// Addresses, ports and ranges of the tenant cluster.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.dnsServiceIPs) || self.dnsServiceIPs.all(ip, !isIP(ip) || (has(self.serviceCidrs) && size(self.serviceCidrs) > 0 ? self.serviceCidrs.exists(r, isCIDR(r) && cidr(r).containsIP(ip)) : isCIDR(self.serviceCidr) && cidr(self.serviceCidr).containsIP(ip)))")
        .message("every entry of dnsServiceIPs must lie in a Service range (serviceCidrs, else serviceCidr)"),
    validation = Rule::new(format!("!({SERVICE_RANGES}).exists(s, isCIDR(s) && ({POD_RANGES}).exists(p, isCIDR(p) && (cidr(s).containsCIDR(cidr(p)) || cidr(p).containsCIDR(cidr(s)))))"))
        .message("the Service ranges and the Pod ranges must not overlap: an address must be one or the other"),
    validation = Rule::new(format!("({SERVICE_RANGES}).all(s, !isCIDR(s) || (cidr(s).prefixLength() >= 8 && cidr(s).prefixLength() <= (cidr(s).ip().family() == 4 ? 28 : 123)))"))
        .message("a Service range must be from /8 to /28 (IPv6: to /123): it has to hold the address of cluster DNS, and there must be others left")
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
    #[x_kube(validation = Rule::new("self == oldSelf").message("LoadBalancerClass is immutable"))]
    pub load_balancer_class: Option<String>,
    /// IP address under which the API server is reached from the management cluster. Without it the Service's own is used.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self == '' || isIP(self)").message("address must be a valid IP address"))]
    pub address: String,
    /// IP address that the API server tells the tenant's nodes and Pods, where it differs from `address`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self == '' || isIP(self)").message("advertiseAddress must be a valid IP address"))]
    pub advertise_address: String,
    /// DNS domain of the tenant cluster. It cannot be changed.
    #[serde(default = "cluster_domain")]
    #[schemars(length(max = 253), regex(pattern = r".*\..*"))]
    #[x_kube(
        validation = Rule::new("self == oldSelf").message("changing the cluster domain is not supported"),
        validation = Rule::new(r"self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')")
            .message("clusterDomain must be a lower-case DNS name such as cluster.local")
    )]
    pub cluster_domain: String,
    /// Also announce the address as an external IP of the Service. Only with service types ClusterIP and NodePort.
    #[serde(default, rename = "allowAddressAsExternalIP", skip_serializing_if = "std::ops::Not::not")]
    pub allow_address_as_external_ip: bool,
    /// Port of the API server and of its Service.
    #[serde(default = "port")]
    #[schemars(range(min = 1, max = 65535))]
    #[x_kube(validation = Rule::new(PORT_RULE).message("this port is taken by another program in the Pod: choose another, such as 6443"))]
    pub port: i32,
    /// Further names and IP addresses of the API server's certificate.
    #[serde(default, rename = "certSANs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 255)))]
    #[x_kube(validation = Rule::new(r"self.all(name, isIP(name) || name.matches('^([*]\\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'))")
        .message("every entry of certSANs must be an IP address or a lower-case DNS name, with or without a leading *."))]
    pub cert_sans: Vec<String>,
    /// Range of Service addresses. Deprecated: use `serviceCidrs`.
    #[serde(default = "service_cidr")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self == '' || isCIDR(self)").message("serviceCidr must be empty or a valid CIDR"))]
    pub service_cidr: String,
    /// Ranges of Service addresses, one per address family; the first is the primary one. Wins over `serviceCidr`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 2), inner(length(max = 64)))]
    #[x_kube(
        validation = Rule::new("self.all(r, isCIDR(r))").message("all serviceCidrs entries must be valid CIDRs"),
        validation = Rule::new(ONE_PER_FAMILY).message("of two serviceCidrs one must be IPv4 and the other IPv6")
    )]
    pub service_cidrs: Vec<String>,
    /// Range of Pod addresses. Deprecated: use `podCidrs`.
    #[serde(default = "pod_cidr")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self == '' || isCIDR(self)").message("podCidr must be empty or a valid CIDR"))]
    pub pod_cidr: String,
    /// Ranges of Pod addresses, one per address family; the first is the primary one. Wins over `podCidr`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 2), inner(length(max = 64)))]
    #[x_kube(
        validation = Rule::new("self.all(r, isCIDR(r))").message("all podCidrs entries must be valid CIDRs"),
        validation = Rule::new(ONE_PER_FAMILY).message("of two podCidrs one must be IPv4 and the other IPv6")
    )]
    pub pod_cidrs: Vec<String>,
    /// Addresses of the cluster's DNS Service. Without them the tenth address of each range (the sixteenth for IPv6) is used.
    #[serde(default, rename = "dnsServiceIPs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 64)))]
    #[x_kube(validation = Rule::new("self.all(ip, isIP(ip))").message("every entry of dnsServiceIPs must be a valid IP address"))]
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
