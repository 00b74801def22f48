//! The tunnel from a tenant's API server to nodes that it cannot reach: the end in the management cluster.
//!
//! The server runs beside the API server and is told what to do over a Unix socket. Agents on the nodes dial it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kamaji_api::tenant::KubeVersion;
use kamaji_api::{Child, TenantId, labels};

use crate::{checksum, object};

/// The server's user in the tenant, and the name of its binding there. Agents show tokens that are made out to it.
pub const SERVER_USER: &str = "system:konnectivity-server";
/// Namespace of the agents in the tenant.
pub const AGENT_NAMESPACE: &str = "kube-system";
/// Name of the agents and of their ServiceAccount in the tenant.
pub const AGENT_NAME: &str = "konnectivity-agent";
/// Name of the Service's port that agents dial.
pub const SERVICE_PORT: &str = "konnectivity-server";

/// Directory of the socket, in both containers.
pub(crate) const SOCKET_DIRECTORY: &str = "/run/konnectivity";
/// The socket over which the API server speaks to the tunnel's server.
pub(crate) const SOCKET: &str = "/run/konnectivity/konnectivity-server.socket";
/// Key in the ConfigMap, and name of the file.
pub(crate) const EGRESS_FILE: &str = "egress-selector-configuration.yaml";

/// The children that a tenant has with konnectivity, and only then.
pub const CHILDREN: [Child; 4] = [
    Child::EgressSelector,
    Child::KonnectivityCertificate,
    Child::KonnectivityKubeconfig,
    Child::KonnectivityServer,
];

/// The ConfigMap that tells the API server to reach everything in the tenant's network through the tunnel
/// (`EgressSelectorConfiguration` of `apiserver.k8s.io/v1beta1`).
pub fn egress_selector(tenant: &TenantId) -> ConfigMap {
    let data = egress_data();
    let annotations = BTreeMap::from([(labels::CHECKSUM.to_owned(), checksum::of_texts(&data))]);
    ConfigMap {
        metadata: ObjectMeta {
            annotations: Some(annotations),
            ..object::metadata(tenant, Child::EgressSelector)
        },
        data: Some(data),
        ..ConfigMap::default()
    }
}

/// The checksum of that ConfigMap's data: the API server reads it once, at its start.
pub fn egress_selector_checksum() -> String {
    checksum::of_texts(&egress_data())
}

/// Keys in alphabetical order, as the Go operator has them: what it wrote stays to the byte.
fn egress_data() -> BTreeMap<String, String> {
    let file = format!(
        "apiVersion: apiserver.k8s.io/v1beta1
egressSelections:
- connection:
    proxyProtocol: GRPC
    transport:
      uds:
        udsName: {SOCKET}
  name: cluster
kind: EgressSelectorConfiguration
"
    );
    BTreeMap::from([(EGRESS_FILE.to_owned(), file)])
}

/// An image of the tunnel with its tag. Without a `version` it is the one that is released for the tenant's Kubernetes.
///
/// An image that is pinned by a digest is that image, whatever the version says.
pub fn image(image: &str, version: &str, kubernetes: &KubeVersion) -> String {
    if image.contains('@') {
        image.to_owned()
    } else if version.is_empty() {
        format!("{image}:v0.{}.0", kubernetes.minor())
    } else {
        format!("{image}:{version}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_follows_kubernetes_unless_it_is_chosen() {
        let kubernetes = KubeVersion::parse("v1.35.4").unwrap();
        let found = |name, version| image(name, version, &kubernetes);
        assert_eq!(found("example.com:5000/server", ""), "example.com:5000/server:v0.35.0");
        assert_eq!(found("server", "v0.28.6"), "server:v0.28.6");
        assert_eq!(found("server@sha256:0123", "v0.28.6"), "server@sha256:0123");
    }
}
