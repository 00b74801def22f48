//! From a [`Tenant`](kamaji_api::Tenant) to the objects inside the tenant cluster.
//!
//! Builders only: they return values, and the caller applies them with a client of the tenant's own API server.
//!
//! ```
//! use kamaji_addons::kubeadm::rbac;
//!
//! let binding = rbac::cluster_admins();
//! assert_eq!(binding.role_ref.name, "cluster-admin");
//! // One group, and the administrator's certificate names it as its organisation.
//! let subjects = binding.subjects.unwrap_or_default();
//! assert_eq!(subjects.len(), 1);
//! assert_eq!(subjects[0].name, "kubeadm:cluster-admins");
//! ```

mod interior;
pub mod kubeadm;
mod object;

pub use interior::Interior;
pub use object::{Identity, Object};
