//! Service routing on the nodes.
//!
//! | Object | |
//! |---|---|
//! | ServiceAccount `kube-system/kube-proxy`, `ClusterRoleBinding` `kubeadm:node-proxier` | what it may read |
//! | ConfigMap `kube-system/kube-proxy` | its [`configuration`]; a change of it replaces the Pods |
//! | Role and `RoleBinding` `kube-system/kube-proxy` | lets nodes that join read that ConfigMap |
//! | DaemonSet `kube-system/kube-proxy` | one Pod on each node, of the tenant's own version |
//!
//! The reference is what kubeadm of the tenant's minor version writes; `e2e/tests/api_addons.rs` compares the two on a real API server.
//!
//! # Example
//! ```
//! use kamaji_addons::{Interior, kube_proxy};
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
//!         "networkProfile": { "podCidrs": ["10.36.0.0/16"] },
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
//! let objects = kube_proxy::objects(&interior, &AddonImage::default());
//! let of_kind = |plural: &str| objects.iter().find(|object| object.identity().plural == plural).ok_or("missing");
//! let file = of_kind("configmaps")?.desired.data["data"]["config.conf"].as_str().ok_or("no text")?;
//! assert!(file.contains("clusterCIDR: \"10.36.0.0/16\""));
//! let container = &of_kind("daemonsets")?.desired.data["spec"]["template"]["spec"]["containers"][0];
//! assert_eq!(container["image"], "registry.k8s.io/kube-proxy:v1.34.4");
//! # Ok(())
//! # }
//! ```

pub mod configuration;
mod daemon_set;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding};
use kamaji_api::tenant::KubeVersion;
use kamaji_api::v1alpha1::AddonImage;
use kamaji_resources::checksum;

use crate::kubeadm::rbac::BOOTSTRAPPERS;
use crate::{Interior, Object, kube_system};

/// Name of its DaemonSet, ConfigMap, ServiceAccount, Role and `RoleBinding`.
pub const NAME: &str = "kube-proxy";
/// Name of the binding to what it may read everywhere.
pub const BINDING: &str = "kubeadm:node-proxier";

/// The registry of upstream's images.
const REGISTRY: &str = "registry.k8s.io";

/// Everything that kube-proxy consists of.
pub fn objects(interior: &Interior, image: &AddonImage) -> Vec<Object> {
    let files = configuration::files(&interior.tenant.network, &interior.endpoint);
    let account = kube_system::account(NAME);
    vec![
        Object::of(&kube_system::service_account(NAME)),
        Object::of(&kube_system::cluster_role_binding(BINDING, "system:node-proxier", account)),
        Object::of(&role()),
        Object::of(&role_binding()),
        Object::of(&daemon_set::build(
            &image_of(image, &interior.tenant.version),
            &checksum::of_texts(&files),
        )),
        Object::of(&config_map(files)),
    ]
}

fn config_map(files: BTreeMap<String, String>) -> ConfigMap {
    ConfigMap {
        metadata: kube_system::labelled(kube_system::metadata(NAME), [("app", NAME)]),
        data: Some(files),
        ..ConfigMap::default()
    }
}

/// `kubeadm join` reads it with the token that it joins with.
fn role() -> Role {
    Role {
        metadata: kube_system::metadata(NAME),
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec!["configmaps".to_owned()]),
            resource_names: Some(vec![NAME.to_owned()]),
            verbs: vec!["get".to_owned()],
            ..PolicyRule::default()
        }]),
    }
}

fn role_binding() -> RoleBinding {
    RoleBinding {
        metadata: kube_system::metadata(NAME),
        role_ref: kube_system::role_ref::<Role>(NAME),
        subjects: Some(vec![kube_system::principal("Group", BOOTSTRAPPERS)]),
    }
}

/// Repository and tag of the user's, each filled up apart from the other.
fn image_of(wish: &AddonImage, kubernetes: &KubeVersion) -> String {
    let repository = match wish.image_repository.trim_end_matches('/') {
        "" => REGISTRY,
        mirror => mirror,
    };
    let tag = if wish.image_tag.is_empty() { kubernetes.to_string() } else { wish.image_tag.clone() };
    format!("{repository}/kube-proxy:{tag}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_and_tag_are_wished_for_apart() {
        let kubernetes = KubeVersion::parse("v1.35.4").unwrap();
        let image = |repository: &str, tag: &str| {
            image_of(&AddonImage { image_repository: repository.into(), image_tag: tag.into() }, &kubernetes)
        };
        assert_eq!(image("", ""), "registry.k8s.io/kube-proxy:v1.35.4");
        assert_eq!(image("", "v1.35.3"), "registry.k8s.io/kube-proxy:v1.35.3");
        assert_eq!(image("example.com:5000/k8s/", ""), "example.com:5000/k8s/kube-proxy:v1.35.4");
    }
}
