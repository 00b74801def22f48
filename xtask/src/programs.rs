//! The upstream programs: which, from which Go module, and where their built files lie.

mod build;
pub mod stand_in;

use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

pub use build::ensure;

use crate::cache::Cache;

/// A Kubernetes release that we build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Release {
    /// 1.33, of which only kubeadm is built.
    V1_33,
    /// 1.34, which the local management cluster runs.
    V1_34,
    /// 1.35, the newest that tenants run.
    V1_35,
    /// 1.36, of which only kubeadm is built.
    V1_36,
}

impl Release {
    /// Every release that is built whole, oldest first.
    pub const ALL: [Self; 2] = [Self::V1_34, Self::V1_35];

    /// The release with its patch level, as in `v1.34.4`.
    pub const fn version(self) -> &'static str {
        match self {
            Self::V1_33 => "v1.33.13",
            Self::V1_34 => "v1.34.4",
            Self::V1_35 => "v1.35.4",
            Self::V1_36 => "v1.36.3",
        }
    }

    /// The minor version, as in 34.
    pub const fn minor(self) -> u32 {
        match self {
            Self::V1_33 => 33,
            Self::V1_34 => 34,
            Self::V1_35 => 35,
            Self::V1_36 => 36,
        }
    }

    const fn folder(self) -> &'static str {
        match self {
            Self::V1_33 => "kubeadm-1.33",
            Self::V1_34 => "kubernetes-1.34",
            Self::V1_35 => "kubernetes-1.35",
            Self::V1_36 => "kubeadm-1.36",
        }
    }

    /// Tells the programs who they are; without it they call themselves v0.0.0.
    fn link_flags(self) -> String {
        let version = self.version();
        let mut parts = version.trim_start_matches('v').split('.');
        let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"]
            .map(|package| {
                format!(" -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}")
            })
            .concat()
    }
}

/// A program that is built from its published Go module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Program {
    /// `kube-apiserver`.
    KubeApiserver(Release),
    /// `kube-controller-manager`.
    KubeControllerManager(Release),
    /// `kube-scheduler`.
    KubeScheduler(Release),
    /// `kubeadm`.
    Kubeadm(Release),
    /// `kubelet`.
    Kubelet(Release),
    /// `kube-proxy`.
    KubeProxy(Release),
    /// `kubectl`.
    Kubectl(Release),
    /// `etcd`.
    Etcd,
    /// `etcdctl`.
    Etcdctl,
    /// `coredns`.
    CoreDns,
    /// `helm`.
    Helm,
    /// `kine`.
    Kine,
    /// `nats-server`.
    Nats,
}

impl Program {
    /// What the program's file is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KubeApiserver(_) => "kube-apiserver",
            Self::KubeControllerManager(_) => "kube-controller-manager",
            Self::KubeScheduler(_) => "kube-scheduler",
            Self::Kubeadm(_) => "kubeadm",
            Self::Kubelet(_) => "kubelet",
            Self::KubeProxy(_) => "kube-proxy",
            Self::Kubectl(_) => "kubectl",
            Self::Etcd => "etcd",
            Self::Etcdctl => "etcdctl",
            Self::CoreDns => "coredns",
            Self::Helm => "helm",
            Self::Kine => "kine",
            Self::Nats => "nats-server",
        }
    }

    /// The version of its Go module, with the leading `v`.
    pub const fn version(self) -> &'static str {
        match self {
            Self::KubeApiserver(release)
            | Self::KubeControllerManager(release)
            | Self::KubeScheduler(release)
            | Self::Kubeadm(release)
            | Self::Kubelet(release)
            | Self::KubeProxy(release)
            | Self::Kubectl(release) => release.version(),
            Self::Etcd | Self::Etcdctl => "v3.6.16",
            Self::CoreDns => "v1.12.1",
            Self::Helm => "v3.18.6",
            Self::Kine => "v0.17.5",
            Self::Nats => "v2.15.2",
        }
    }

    /// Where the built program lies in this cache, whether it is there yet or not.
    pub fn path_in(self, cache: &Cache) -> PathBuf {
        cache.programs().join(format!("{}-{}", self.name(), self.version())).join(self.name())
    }

    /// The folder under `e2e/programs` that pins it.
    const fn folder(self) -> &'static str {
        match self {
            Self::KubeApiserver(release)
            | Self::KubeControllerManager(release)
            | Self::KubeScheduler(release)
            | Self::Kubeadm(release)
            | Self::Kubelet(release)
            | Self::KubeProxy(release)
            | Self::Kubectl(release) => release.folder(),
            Self::Etcd | Self::Etcdctl => "etcd",
            Self::CoreDns => "coredns",
            Self::Helm => "helm",
            Self::Kine => "kine",
            Self::Nats => "nats",
        }
    }

    /// The Go package of its `main`.
    fn package(self) -> String {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3".to_owned(),
            Self::Etcdctl => "go.etcd.io/etcd/etcdctl/v3".to_owned(),
            Self::CoreDns => "github.com/coredns/coredns".to_owned(),
            Self::Helm => "helm.sh/helm/v3/cmd/helm".to_owned(),
            Self::Kine => "github.com/k3s-io/kine".to_owned(),
            Self::Nats => "github.com/nats-io/nats-server/v2".to_owned(),
            kubernetes => format!("k8s.io/kubernetes/cmd/{}", kubernetes.name()),
        }
    }

    fn link_flags(self) -> String {
        let identity = match self {
            Self::KubeApiserver(release)
            | Self::KubeControllerManager(release)
            | Self::KubeScheduler(release)
            | Self::Kubeadm(release)
            | Self::Kubelet(release)
            | Self::KubeProxy(release)
            | Self::Kubectl(release) => release.link_flags(),
            Self::Etcd | Self::Etcdctl | Self::CoreDns | Self::Nats => String::new(),
            Self::Kine => format!(" -X github.com/k3s-io/kine/pkg/version.Version={}", self.version()),
            // Charts ask for a Kubernetes version also where helm has no cluster to ask (`template`, `lint`).
            Self::Helm => ["pkg/chartutil", "pkg/lint/rules"].iter().fold(
                format!(" -X helm.sh/helm/v3/internal/version.version={}", self.version()),
                |flags, package| {
                    format!(
                        "{flags} -X helm.sh/helm/v3/{package}.k8sVersionMajor=1 \
                         -X helm.sh/helm/v3/{package}.k8sVersionMinor=34"
                    )
                },
            ),
        };
        format!("-s -w{identity}")
    }
}

/// Where the built program lies in this user's cache, whether it is there yet or not; see [`ensure`].
pub fn path(program: Program) -> Result<PathBuf> {
    Ok(program.path_in(&Cache::of_this_user()?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::workspace;

    fn every_program() -> Vec<Program> {
        let kubernetes = [
            Program::KubeApiserver,
            Program::KubeControllerManager,
            Program::KubeScheduler,
            Program::Kubeadm,
            Program::Kubelet,
            Program::KubeProxy,
            Program::Kubectl,
        ];
        Release::ALL
            .into_iter()
            .flat_map(|release| kubernetes.map(|program| program(release)))
            .chain([Release::V1_33, Release::V1_36].map(Program::Kubeadm))
            .chain([
                Program::Etcd,
                Program::Etcdctl,
                Program::CoreDns,
                Program::Helm,
                Program::Kine,
                Program::Nats,
            ])
            .collect()
    }

    /// Module path to version, of one `go.mod`.
    fn required(folder: &str) -> BTreeMap<String, String> {
        let path = workspace::path("e2e/programs").join(folder).join("go.mod");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{} is missing", path.display()));
        text.lines()
            .map(|line| line.trim_start_matches("require").trim())
            .filter_map(|line| line.split_once(' '))
            .map(|(module, version)| (module.to_owned(), version.to_owned()))
            .collect()
    }

    #[test]
    fn the_table_names_the_versions_that_go_mod_pins() {
        for program in every_program() {
            let required = required(program.folder());
            let package = program.package();
            let module = required
                .keys()
                .filter(|module| package == **module || package.starts_with(&format!("{module}/")))
                .max_by_key(|module| module.len())
                .unwrap_or_else(|| panic!("{package} has no module in {}", program.folder()));
            assert_eq!(required[module], program.version(), "{program:?}");
        }
    }

    #[test]
    fn each_package_is_imported_by_the_tools_file_of_its_folder() {
        for program in every_program() {
            let path = workspace::path("e2e/programs").join(program.folder()).join("tools.go");
            let text = std::fs::read_to_string(path).unwrap();
            assert!(text.contains(&format!("_ \"{}\"", program.package())), "{program:?}");
        }
    }

    #[test]
    fn a_kubernetes_program_is_told_its_version() {
        let flags = Program::Kubeadm(Release::V1_35).link_flags();
        assert!(flags.contains("-X k8s.io/component-base/version.gitVersion=v1.35.4 "), "{flags}");
        assert!(flags.contains("-X k8s.io/component-base/version.gitMinor=35 "), "{flags}");
    }

    #[test]
    fn the_file_is_keyed_by_name_and_version() {
        let folder = std::env::temp_dir().join(format!("kamaji-xtask-paths-{}", std::process::id()));
        let cache = Cache::at(folder.clone()).unwrap();
        assert_eq!(
            Program::KubeApiserver(Release::V1_34).path_in(&cache),
            folder.join("programs/kube-apiserver-v1.34.4/kube-apiserver")
        );
        std::fs::remove_dir(folder).unwrap();
    }
}
