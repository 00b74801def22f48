//! Kamaji's vocabulary: the CRD types, the names and labels of everything derived from them, and [`Tenant`], the spec once
//! it has been read and is known to be sound.
//!
//! This crate reaches nothing and knows no clock: it can be used by any program that reads or writes Kamaji's objects.
//!
//! ```
//! use kamaji_api::{Tenant, tenant::Settings, v1alpha1::TenantControlPlane};
//!
//! let written_by_a_user = serde_json::json!({
//!     "apiVersion": "kamaji.clastix.io/v1alpha1",
//!     "kind": "TenantControlPlane",
//!     "metadata": { "name": "blue", "namespace": "teams", "uid": "4746b6dc-a96d-4b56-9a1c-e561fad1fc10" },
//!     "spec": {
//!         "dataStore": "default",
//!         "controlPlane": { "service": { "serviceType": "ClusterIP" } },
//!         "kubernetes": { "version": "v1.34.4", "kubelet": {} },
//!     },
//! });
//! let tcp: TenantControlPlane = serde_json::from_value(written_by_a_user)?;
//!
//! let tenant = Tenant::resolve(&tcp, &Settings::default()).expect("a sound spec");
//! assert_eq!(tenant.version.minor(), 34);
//! assert_eq!(tenant.images.api_server, "registry.k8s.io/kube-apiserver:v1.34.4");
//! assert_eq!(kamaji_api::Child::Ca.name(&tenant.id.name), "blue-ca");
//! # Ok::<(), serde_json::Error>(())
//! ```

pub mod admission;
mod child;
pub mod crd;
pub mod labels;
mod pause;
pub mod tenant;
pub mod v1alpha1;

pub use child::Child;
pub use pause::Pause;
pub use tenant::{Complaints, Tenant, TenantId};
