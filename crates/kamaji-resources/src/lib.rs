//! From a [`Tenant`](kamaji_api::Tenant) and its inputs to the objects, phase and status in the management cluster.

pub mod anchors;
pub mod checksum;
pub mod conditions;
pub mod credentials;
pub mod deployment;
pub mod endpoint;
mod error;
pub mod kubeadm_config;
pub mod kubeconfig;
pub mod memory;
pub mod object;
pub mod phase;
pub mod rollout;
mod secret;
pub mod service;
pub mod status;
pub mod storage;

pub use anchors::Anchors;
pub use credentials::{Clock, Credentials};
pub use endpoint::{Endpoint, NoAddress};
pub use error::Error;
pub use kubeconfig::Kubeconfig;
pub use memory::{Claim, Memory};
pub use secret::HeldSecrets;
pub use storage::{Storage, StorageCredentials};
