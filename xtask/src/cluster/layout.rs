//! Where the local cluster keeps its files, and its addresses and names.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::{
    cache::{Cache, write_atomically},
    programs::Release,
};

/// The release that the management cluster runs.
pub const RELEASE: Release = Release::V1_34;

/// The only node's name.
pub const NODE: &str = "kamaji-local";

/// The node's address, on an interface of its own so that it is the same on every machine.
pub const NODE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// The interface with the node's address.
pub const NODE_INTERFACE: &str = "kamaji0";

/// The bridge that all Pods are on.
pub const POD_BRIDGE: &str = "kamaji-pods";

/// The Pods' addresses.
pub const POD_RANGE: &str = "10.244.0.0/16";

/// The Services' addresses.
pub const SERVICE_RANGE: &str = "10.96.0.0/16";

/// The address of the Service `kubernetes`.
pub const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

/// The address of the cluster's DNS Service.
pub const DNS_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

/// Where the API server answers.
pub const API_SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(NODE_ADDRESS), 6443);

/// etcd's port for clients; not the usual one, so that an etcd of the user or of a test can run beside it.
pub const ETCD_PORT: u16 = 12379;

/// etcd's port for other members, of which there are none.
pub const ETCD_PEER_PORT: u16 = 12380;

/// Where etcd says whether it is well, over plain HTTP.
pub const ETCD_HEALTH: SocketAddr = local(12381);

/// Where kubelet says whether it is well.
pub const KUBELET_HEALTH: SocketAddr = local(10248);

/// Where kube-proxy says whether it is well.
pub const KUBE_PROXY_HEALTH: SocketAddr = local(10256);

/// The longest path of the state folder, in bytes: sockets below it must stay under the kernel's 108.
const LONGEST_STATE: usize = 60;

/// The cluster's folders.
#[derive(Clone, Debug)]
pub struct Layout {
    /// What must outlive a reboot.
    pub state: PathBuf,
    /// Sockets and mounts.
    pub run: PathBuf,
}

impl Layout {
    /// The layout of the one cluster that a machine can have.
    pub fn of(cache: &Cache) -> Self {
        Self { state: cache.cluster(), run: PathBuf::from("/run/kamaji-cluster") }
    }

    /// Fails when the machine's local cluster is kept in another cache folder than this one.
    pub(super) fn require_ours(&self) -> Result<()> {
        let owner = fs::read_to_string(self.owner()).unwrap_or_default();
        ensure!(
            owner.is_empty() || Path::new(&owner) == self.state,
            "this machine's local cluster is the one in {owner}, and there can be only one; \
             end it with KAMAJI_CACHE set to the folder above that"
        );
        Ok(())
    }

    /// Makes the folders, and notes whose they are.
    pub(super) fn create(&self) -> Result<()> {
        self.require_ours()?;
        let length = self.state.as_os_str().len();
        ensure!(
            length <= LONGEST_STATE,
            "the path {} is too long ({length} bytes) for the sockets below it; set KAMAJI_CACHE to a shorter one",
            self.state.display()
        );
        for folder in
            [self.state.clone(), self.run.clone(), self.logs(), self.configuration(), self.network()]
        {
            fs::create_dir_all(&folder).with_context(|| format!("making the folder {}", folder.display()))?;
        }
        write_atomically(&self.owner(), self.state.as_os_str().as_encoded_bytes())
    }

    /// The file that says which cache folder the cluster belongs to.
    fn owner(&self) -> PathBuf {
        self.run.join("owner")
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state.join("kubeconfig")
    }

    /// The programs' logs, one file for each.
    pub fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }

    /// The operator's requests, one to a line.
    pub fn audit_log(&self) -> PathBuf {
        self.logs().join("audit.log")
    }

    /// The programs' configuration files.
    pub fn configuration(&self) -> PathBuf {
        self.state.join("configuration")
    }

    /// The folder that containerd reads its network configuration from.
    pub fn network(&self) -> PathBuf {
        self.state.join("network")
    }

    /// Keys and certificates.
    pub fn pki(&self) -> PathBuf {
        self.state.join("pki")
    }

    /// The components' kubeconfigs.
    pub fn kubeconfigs(&self) -> PathBuf {
        self.state.join("kubeconfigs")
    }

    /// containerd's socket.
    pub fn containerd_socket(&self) -> PathBuf {
        self.run.join("containerd.sock")
    }
}

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_belongs_to_one_cache() {
        let folder = PathBuf::from(format!("/tmp/kamaji-xtask-layout-{}", std::process::id()));
        let layout = |name: &str| Layout { state: folder.join(name), run: folder.join("run") };
        layout("mine").require_ours().unwrap();
        layout("mine").create().unwrap();
        layout("mine").require_ours().unwrap();
        let error = layout("yours").create().unwrap_err().to_string();
        assert!(error.contains(&folder.join("mine").display().to_string()), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }
}
