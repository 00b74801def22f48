//! The wire types of `kamaji.clastix.io/v1alpha1`: what users write and what they read back.
//!
//! Field docs are user documentation: they become the schema that `kubectl explain` shows.

#![allow(unreachable_pub, reason = "kube's KubeSchema derive makes public helper types inside functions")]

mod datastore;
mod embedded;
mod kubeconfig_generator;
mod spec;
mod status;
mod tenant_control_plane;

pub use datastore::*;
pub use kubeconfig_generator::*;
pub use spec::*;
pub use status::*;
pub use tenant_control_plane::*;
