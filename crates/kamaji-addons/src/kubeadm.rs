//! What `kubeadm init` would have put into the cluster, so that `kubeadm join` finds it there.
//!
//! | Phase of kubeadm | Objects |
//! |---|---|
//! | `upload-config kubeadm` | [`cluster_configuration`]: ConfigMap `kubeadm-config` and who may read it |
//! | `upload-config kubelet` | [`kubelet`]: ConfigMap `kubelet-config` and who may read it |
//! | `bootstrap-token` | [`bootstrap`]: what a token may do; [`cluster_info`]: where the API server is and whom to trust |
//! | (with the first `admin.conf`) | [`rbac::cluster_admins`] |
//!
//! The reference is the kubeadm of the tenant's own minor version, not the newest one; a test runs the real programs and compares.
//! No token is made here: tokens live for a while and belong to whoever asks for one.
//!
//! # Example
//! ```
//! use kamaji_addons::{Interior, kubeadm};
//! use kamaji_api::tenant::{Settings, Tenant};
//! use kamaji_api::v1alpha1::Driver;
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
//!         "kubernetes": {
//!             "version": "v1.34.4",
//!             "kubelet": { "configurationJSONPatches": [{ "op": "add", "path": "/maxPods", "value": 250 }] },
//!         },
//!     },
//! }))?;
//! let address = "10.97.11.12".parse()?;
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
//! let objects = kubeadm::objects(&interior)?;
//! let kubelet = objects.iter().find(|object| object.identity().name == "kubelet-config").ok_or("missing")?;
//! let file = kubelet.desired.data["data"]["kubelet"].as_str().ok_or("no text")?;
//! assert!(file.contains("\nmaxPods: 250\n"));
//!
//! // A patch that cannot be carried out is told apart, with its index.
//! let mut interior = interior;
//! interior.tenant.kubelet.configuration_json_patches[0].path = "/no/such/place".to_owned();
//! let error = kubeadm::objects(&interior).unwrap_err();
//! assert!(error.to_string().contains("spec.kubernetes.kubelet.configurationJSONPatches[0]"));
//! # Ok(())
//! # }
//! ```

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kamaji_api::labels;
use serde_json::Value;

use crate::{Interior, Object};

pub mod bootstrap;
pub mod cluster_configuration;
pub mod cluster_info;
mod error;
pub mod kubelet;
mod patch;
pub mod rbac;

pub use error::{Error, PatchProblem};

/// Every object that kubeadm's phases leave in a cluster; [`rbac::cluster_admins`] is the first.
///
/// Only what [`kubelet::objects`] makes depends on what users write freely, so only that can fail for their sake.
pub fn objects(interior: &Interior) -> Result<Vec<Object>, Error> {
    let mut objects = vec![Object::of(&rbac::cluster_admins())];
    objects.extend(bootstrap::objects());
    objects.extend(cluster_info::objects(interior)?);
    objects.extend(cluster_configuration::objects(interior)?);
    objects.extend(kubelet::objects(&interior.tenant)?);
    Ok(objects)
}

/// Metadata of an object of ours; `namespace` is `None` for kinds that have none.
fn metadata(namespace: Option<&str>, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: namespace.map(str::to_owned),
        labels: Some([(labels::PROJECT.to_owned(), labels::PROJECT_VALUE.to_owned())].into()),
        ..ObjectMeta::default()
    }
}

/// A document as people read it in a ConfigMap, and as Go's YAML reads it without changing a type.
fn yaml(config_map: &'static str, document: &Value) -> Result<String, Error> {
    // Lines stay as they are: a folded certificate would be as right, and surprise whoever searches for it.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(document, options)
        .map_err(|source| Error::Encode { config_map, source: Box::new(source) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Go reads YAML 1.1 first: what it would take for a number, a bool or null must stand in quotes.
    #[test]
    fn a_string_stays_a_string_for_every_reader() {
        for risky in [
            "on",
            "off",
            "y",
            "No",
            "0",
            "1e3",
            "0x1F",
            "012",
            "1_000",
            "1:30",
            "~",
            "",
            "<<",
            "2026-11-23",
            "fd00::",
            "a: b",
            "a #b",
        ] {
            let text = yaml("kubelet-config", &json!({ "key": risky })).unwrap();
            assert!(text.contains(&format!("\"{risky}\"")), "{text}");
        }
        let long = "words ".repeat(40);
        assert!(!yaml("kubelet-config", &json!({ "key": long })).unwrap().contains('>'));
    }
}
