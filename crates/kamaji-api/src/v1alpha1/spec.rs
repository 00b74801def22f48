//! The parts of a TenantControlPlane's spec.

mod addons;
mod control_plane;
mod deployment;
mod kubernetes;
mod network_profile;
mod storage;

pub use addons::*;
pub use control_plane::*;
pub use deployment::*;
pub use kubernetes::*;
pub use network_profile::*;
pub use storage::*;
