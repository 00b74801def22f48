//! One controller per kind.

pub(crate) mod datastore;
pub(crate) mod tenant_control_plane;
