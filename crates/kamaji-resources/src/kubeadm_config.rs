//! The tenant's cluster configuration, as kubeadm writes it (`kubeadm.k8s.io/v1beta4` ClusterConfiguration).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kamaji_api::{Child, Tenant, labels};
use serde_json::{Value, json};

use crate::storage::Storage;
use crate::{Endpoint, checksum, kine, object};

/// The ConfigMap that keeps what kubeadm would have been started with.
pub fn build(tenant: &Tenant, endpoint: &Endpoint, storage: &Storage) -> ConfigMap {
    let data = BTreeMap::from([
        ("ClusterConfiguration".to_owned(), cluster_configuration(tenant, endpoint, storage).to_string()),
        ("InitConfiguration".to_owned(), init_configuration(endpoint).to_string()),
    ]);
    let annotations = BTreeMap::from([(labels::CHECKSUM.to_owned(), checksum::of_texts(&data))]);
    ConfigMap {
        metadata: ObjectMeta {
            annotations: Some(annotations),
            ..object::metadata(&tenant.id, Child::KubeadmConfig)
        },
        data: Some(data),
        ..ConfigMap::default()
    }
}

/// The ClusterConfiguration of a tenant.
pub fn cluster_configuration(tenant: &Tenant, endpoint: &Endpoint, storage: &Storage) -> Value {
    let network = &tenant.network;
    let host = tenant.id.service_host();
    let mut sans = vec![
        "127.0.0.1".to_owned(),
        "localhost".to_owned(),
        tenant.id.name.clone(),
        format!("{host}.cluster.local"),
        host,
        endpoint.advertised.to_string(),
    ];
    sans.extend(network.san_names.iter().cloned());
    sans.extend(network.san_ips.iter().map(ToString::to_string));
    let endpoints = etcd_endpoints(storage);
    json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "ClusterConfiguration",
        "clusterName": tenant.id.name,
        "kubernetesVersion": tenant.offered().to_string(),
        "controlPlaneEndpoint": std::net::SocketAddr::new(endpoint.advertised, endpoint.port).to_string(),
        "networking": {
            "dnsDomain": network.cluster_domain,
            "podSubnet": joined(&network.pod_cidrs),
            "serviceSubnet": joined(&network.service_cidrs),
        },
        "apiServer": { "certSANs": sans },
        "etcd": { "external": { "endpoints": endpoints, "caFile": "", "certFile": "", "keyFile": "" } },
        "certificatesDir": "/etc/kubernetes/pki",
        "imageRepository": tenant.deployment.registry_settings.registry,
        "encryptionAlgorithm": "ECDSA-P256",
        "certificateValidityPeriod": "8760h0m0s",
        "caCertificateValidityPeriod": "87600h0m0s",
    })
}

/// kine has no address; kubeadm refuses a socket, so the one stands here that etcd would have.
fn etcd_endpoints(storage: &Storage) -> Vec<String> {
    if kine::serves(storage.driver) {
        return vec!["http://127.0.0.1:2379".to_owned()];
    }
    storage.endpoints.iter().map(|endpoint| format!("https://{endpoint}")).collect()
}

fn init_configuration(endpoint: &Endpoint) -> Value {
    json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "InitConfiguration",
        "localAPIEndpoint": { "advertiseAddress": endpoint.address.to_string(), "bindPort": endpoint.port },
        "nodeRegistration": { "name": "node" },
    })
}

/// Ranges in the user's order, as flags and kubeadm take them.
pub(crate) fn joined<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
