//! The local management cluster: one node made of plain processes of this machine.

mod daemons;
mod dns;
mod firewall;
pub mod layout;
mod machine;
mod pki;
mod process;
mod runtime;
mod start;
mod state;
mod stop;
pub mod worker;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

pub use start::up;
pub use stop::down;

use self::{
    layout::{Layout, RELEASE},
    process::is_alive,
    state::State,
};
use crate::{
    cache::Cache,
    images,
    kubectl::{self, Kubectl},
    programs::{Program, Release},
};

/// The names of the cluster's programs, in the order in which they start.
const DAEMONS: [&str; 7] = [
    "etcd",
    "containerd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
];

/// The programs that the cluster and its images are made of, for tenants of these releases.
pub fn programs(tenants: &[Release]) -> Vec<Program> {
    let mut programs = images::upstream_programs(tenants);
    programs.extend([
        Program::KubeApiserver(RELEASE),
        Program::KubeControllerManager(RELEASE),
        Program::KubeScheduler(RELEASE),
        Program::Kubeadm(RELEASE),
        Program::Kubelet(RELEASE),
        Program::KubeProxy(RELEASE),
        Program::Etcd,
        kubectl::PROGRAM,
    ]);
    programs
}

/// The administrator's kubeconfig, which exists once the cluster was started.
pub fn kubeconfig(cache: &Cache) -> PathBuf {
    Layout::of(cache).kubeconfig()
}

/// Whether every program of the cluster runs and its API server is ready.
pub fn is_up(cache: &Cache) -> Result<bool> {
    let layout = Layout::of(cache);
    let state = State::read(&layout)?;
    Ok(DAEMONS.iter().all(|name| is_running(&state, name))
        && is_api_ready(&Kubectl::new(cache, &layout.kubeconfig())))
}

/// Prints what runs and where the kubeconfig is; fails when the cluster is not whole.
pub fn status(cache: &Cache) -> Result<()> {
    let layout = Layout::of(cache);
    let state = State::read(&layout)?;
    if state.processes.is_empty() {
        bail!("there is no local cluster; `cargo xtask cluster up` starts one");
    }
    for name in DAEMONS {
        let place = state.processes.get(name).filter(|_| is_running(&state, name));
        let line = place.map_or_else(
            || "not running".to_owned(),
            |record| format!("running, pid {}", record.identity.pid),
        );
        println!("{name:<24} {line}");
    }
    let kubectl = Kubectl::new(cache, &layout.kubeconfig());
    let api_ready = is_api_ready(&kubectl);
    println!("{:<24} {}", "API", if api_ready { "ready" } else { "not ready" });
    if api_ready {
        print!("\n{}", kubectl.run(&["get", "nodes,pods", "--all-namespaces", "--output=wide"])?);
    }
    println!("\nkubeconfig: {}\nlogs:       {}", layout.kubeconfig().display(), layout.logs().display());
    ensure!(is_up(cache)?, "the local cluster is not whole; `cargo xtask cluster up` repairs it");
    Ok(())
}

/// Imports the images of an OCI or Docker archive, replacing those of the same names.
pub fn load_image(cache: &Cache, archive: &Path) -> Result<()> {
    let layout = Layout::of(cache);
    ensure!(archive.is_file(), "there is no file {}", archive.display());
    ensure!(
        is_running(&State::read(&layout)?, "containerd"),
        "the local cluster is not running; start it with `cargo xtask cluster up`"
    );
    print!("{}", runtime::import(&layout.containerd_socket(), archive)?);
    Ok(())
}

/// Makes this archive's image the one that the cluster runs under its name; returns whether it was not yet.
pub fn ensure_image(cache: &Cache, archive: &images::Archive) -> Result<bool> {
    let socket = Layout::of(cache).containerd_socket();
    Ok(!runtime::import_missing(&socket, std::slice::from_ref(archive))?.is_empty())
}

fn is_running(state: &State, name: &str) -> bool {
    state.processes.get(name).is_some_and(|record| is_alive(&record.identity))
}

fn is_api_ready(kubectl: &Kubectl) -> bool {
    kubectl.run(&["get", "--raw=/readyz", "--request-timeout=2s"]).is_ok_and(|text| text == "ok")
}

fn require_root(verb: &str) -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    bail!(
        "the local cluster makes interfaces, mounts and containers, which only root may do; \
         run `sudo --preserve-env=PATH,HOME cargo xtask cluster {verb}`"
    )
}
