//! The configuration of CoreDNS, and how a tenant adds to it.
//!
//! The ConfigMap with the Corefile is ours, and edits to it are undone. A tenant adds to it in a ConfigMap of its own,
//! [`CUSTOM`], which we only read: the keys that end in `.override` stand inside the server block, those that end in `.server`
//! beside it, and all others are files that either can name, in [`CUSTOM_DIRECTORY`]. CoreDNS notices changes by itself.

use kamaji_api::tenant::KubeVersion;

/// Name of the tenant's own ConfigMap in `kube-system`; it may be absent.
pub const CUSTOM: &str = "coredns-custom";
/// Where the Pods see its keys as files.
pub const CUSTOM_DIRECTORY: &str = "/etc/coredns/custom";

/// Key of the Corefile in our ConfigMap.
pub(super) const KEY: &str = "Corefile";

/// Files of ours beside the tenant's: CoreDNS complains twice a minute about a pattern that matches no file.
pub(super) const PLACEHOLDERS: [(&str, &str); 2] = [
    (
        "empty.override",
        "# Keys of the ConfigMap kube-system/coredns-custom that end in .override stand here, inside the server block.\n",
    ),
    (
        "empty.server",
        "# Keys of the ConfigMap kube-system/coredns-custom that end in .server stand here, beside the server block.\n",
    ),
];

/// The first minor version whose kubeadm keeps cluster names out of the cache.
const UNCACHED_SINCE: u64 = 32;

/// The Corefile: what kubeadm of this minor version writes, and the two places for the tenant's additions.
///
/// The place inside is before `forward`: of several the first that matches a name is asked, and ours matches every name.
pub(super) fn text(domain: &str, kubernetes: &KubeVersion) -> String {
    let domain = word(domain);
    let cache = if kubernetes.minor() < UNCACHED_SINCE {
        "cache 30".to_owned()
    } else {
        format!("cache 30 {{\n       disable success {domain}\n       disable denial {domain}\n    }}")
    };
    format!(
        ".:53 {{
    errors
    health {{
       lameduck 5s
    }}
    ready
    kubernetes {domain} in-addr.arpa ip6.arpa {{
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }}
    prometheus :9153
    import {CUSTOM_DIRECTORY}/*.override
    forward . /etc/resolv.conf {{
       max_concurrent 1000
    }}
    {cache}
    loop
    reload
    loadbalance
}}
import {CUSTOM_DIRECTORY}/*.server
"
    )
}

/// One word of a Corefile: whatever else is in a domain, it does not become configuration.
fn word(domain: &str) -> String {
    domain.chars().filter(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corefile(domain: &str, kubernetes: &str) -> String {
        text(domain, &KubeVersion::parse(kubernetes).unwrap())
    }

    #[test]
    fn cluster_names_are_not_cached_where_kubeadm_keeps_them_out() {
        assert!(corefile("cluster.local", "v1.31.14").contains("\n    cache 30\n"));
        assert!(corefile("corp.example", "v1.32.0").contains("disable success corp.example\n"));
    }

    #[test]
    fn a_domain_is_a_domain_and_nothing_more() {
        let text = corefile("a.b {\n}\nhealth # \"", "v1.34.4");
        assert!(text.contains("kubernetes a.bhealth in-addr.arpa"), "{text}");
        assert_eq!(text.lines().count(), corefile("a.b", "v1.34.4").lines().count());
    }
}
