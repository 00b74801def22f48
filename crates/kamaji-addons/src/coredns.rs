//! Cluster DNS.
//!
//! | Object | |
//! |---|---|
//! | `ClusterRole` and `ClusterRoleBinding` `system:coredns`, ServiceAccount `kube-system/coredns` | what it may read |
//! | ConfigMap `kube-system/coredns` | its configuration, see [`corefile`] for how tenants add to it |
//! | Deployment `kube-system/coredns` | two Pods, in the [version](version::tag) that fits the tenant's Kubernetes |
//! | Service `kube-system/kube-dns` | at the addresses that kubelets are told |
//!
//! The reference is what kubeadm of the tenant's minor version writes; `e2e/tests/api_addons.rs` compares the two on a real API server.
//!
//! # Example
//! ```
//! use kamaji_addons::{Interior, coredns};
//! use kamaji_api::tenant::{Settings, Tenant};
//! use kamaji_api::v1alpha1::{AddonImage, Driver};
//! use kamaji_resources::{Endpoint, Storage};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tcp = serde_json::from_value(serde_json::json!({
//!     "apiVersion": "kamaji.clastix.io/v1alpha1",
//!     "kind": "TenantControlPlane",
//!     "metadata": { "name": "blue", "namespace": "teams", "uid": "4746b6dc-a96d-4b56-9a1c-e561fad1fc10" },
//!     "spec": {
//!         "dataStore": "default",
//!         "controlPlane": { "service": { "serviceType": "ClusterIP" } },
//!         "kubernetes": { "version": "v1.34.4", "kubelet": {} },
//!         "networkProfile": { "serviceCidrs": ["10.97.0.0/16", "fd00:97::/108"] },
//!     },
//! }))?;
//! let address = "192.0.2.10".parse()?;
//! let interior = Interior {
//!     tenant: Tenant::resolve(&tcp, &Settings::default())?,
//!     endpoint: Endpoint { address, advertised: address, port: 6443 },
//!     storage: Storage {
//!         driver: Driver::Etcd,
//!         data_store: "default".to_owned(),
//!         endpoints: vec!["etcd.kamaji-system.svc:2379".to_owned()],
//!         schema: "teams_blue".to_owned(),
//!         user: "teams_blue".to_owned(),
//!     },
//!     authority: "-----BEGIN CERTIFICATE-----\n…".to_owned(),
//! };
//!
//! let objects = coredns::objects(&interior, &AddonImage::default());
//! let service = objects.iter().find(|object| object.identity().name == "kube-dns").ok_or("missing")?;
//! assert_eq!(service.desired.data["spec"]["clusterIPs"], serde_json::json!(["10.97.0.10", "fd00:97::10"]));
//!
//! // A tag is honoured with or without a repository.
//! let mirrored = AddonImage { image_tag: "v1.12.4".to_owned(), ..AddonImage::default() };
//! let objects = coredns::objects(&interior, &mirrored);
//! let deployment = objects.iter().find(|object| object.identity().plural == "deployments").ok_or("missing")?;
//! let container = &deployment.desired.data["spec"]["template"]["spec"]["containers"][0];
//! assert_eq!(container["image"], "registry.k8s.io/coredns/coredns:v1.12.4");
//! # Ok(())
//! # }
//! ```

pub mod corefile;
mod deployment;
mod service;
pub mod version;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kamaji_api::v1alpha1::AddonImage;

use crate::{Interior, Object, kube_system};

/// Name of its role, and of the binding.
pub const ROLE: &str = "system:coredns";
/// Name of its Deployment, ConfigMap and ServiceAccount.
pub const NAME: &str = "coredns";
/// Name of its Service.
pub const SERVICE: &str = "kube-dns";

/// The label of its Pods, by which Service and Deployment find them.
const POD: (&str, &str) = ("k8s-app", "kube-dns");

/// Everything that cluster DNS consists of.
pub fn objects(interior: &Interior, image: &AddonImage) -> Vec<Object> {
    let tenant = &interior.tenant;
    vec![
        Object::of(&cluster_role()),
        Object::of(&kube_system::cluster_role_binding(ROLE, ROLE, kube_system::account(NAME))),
        Object::of(&kube_system::service_account(NAME)),
        Object::of(&config_map(tenant)),
        Object::of(&deployment::build(&version::image(image, &tenant.version))),
        Object::of(&service::build(&tenant.network)),
    ]
}

fn cluster_role() -> ClusterRole {
    ClusterRole {
        metadata: kube_system::cluster_wide(ROLE),
        rules: Some(vec![
            may_watch("", &["endpoints", "services", "pods", "namespaces"]),
            may_watch("discovery.k8s.io", &["endpointslices"]),
        ]),
        aggregation_rule: None,
    }
}

fn may_watch(group: &str, plurals: &[&str]) -> PolicyRule {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(owned(plurals)),
        verbs: owned(&["list", "watch"]),
        ..PolicyRule::default()
    }
}

fn config_map(tenant: &kamaji_api::Tenant) -> ConfigMap {
    let corefile = corefile::text(&tenant.network.cluster_domain, &tenant.version);
    let files = [(corefile::KEY, corefile.as_str())].into_iter().chain(corefile::PLACEHOLDERS);
    ConfigMap {
        metadata: kube_system::metadata(NAME),
        data: Some(files.map(|(key, text)| (key.to_owned(), text.to_owned())).collect::<BTreeMap<_, _>>()),
        ..ConfigMap::default()
    }
}
