//! What the inside of a tenant is made from.

use kamaji_api::Tenant;
use kamaji_resources::{Endpoint, Storage};

/// Everything that the objects inside a tenant depend on.
#[derive(Clone, Debug, PartialEq)]
pub struct Interior {
    /// The tenant.
    pub tenant: Tenant,
    /// Where nodes and Pods reach its API server.
    pub endpoint: Endpoint,
    /// Where its data is kept; kubeadm's configuration names it.
    pub storage: Storage,
    /// Certificate of its authority, as PEM.
    pub authority: String,
}
