//! How each program of the cluster is run.

mod control_plane;
mod node;

pub(super) use control_plane::{controller_manager, etcd, kube_apiserver, scheduler};
pub(super) use node::{containerd, has_name_server, kube_proxy, kubelet};

use std::path::Path;

/// A flag with a path.
fn path_flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}
