//! A kube-apiserver as a plain process: no Pod, no other component.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::floor::{Model, RELEASE};
use crate::{
    cache::Cache,
    cluster, command,
    kubectl::{self, Kubectl},
    programs::Program,
    wait,
};

/// How long each may take to start on a busy machine.
const LIMIT: Duration = Duration::from_mins(2);

/// Where the containers find their keys and certificates.
const CONTAINER_FOLDER: &str = "/etc/kubernetes/pki";

/// From the start of the process to `/readyz`, with the arguments of a tenant's API server and an etcd of its own.
pub(super) fn measure(cache: &Cache, model: &Model) -> Result<Duration> {
    let folder = std::env::temp_dir().join(format!("kamaji-bench-lone-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("making the folder {}", folder.display()))?;
    let measured = measure_in(cache, model, &folder);
    fs::remove_dir_all(&folder).with_context(|| format!("removing the folder {}", folder.display()))?;
    measured
}

fn measure_in(cache: &Cache, model: &Model, folder: &Path) -> Result<Duration> {
    let [client, peer, secure] = free_ports()?;
    model.write_files(folder)?;
    let kubeconfig = folder.join("admin.conf");
    let management = Kubectl::new(cache, &cluster::kubeconfig(cache));
    fs::write(&kubeconfig, Model::kubeconfig(&management)?)
        .with_context(|| format!("writing {}", kubeconfig.display()))?;

    let etcd = format!("http://127.0.0.1:{client}");
    let _etcd = Process::start(&Program::Etcd.path_in(cache), &etcd_arguments(folder, &etcd, peer))?;
    let etcdctl = Program::Etcdctl.path_in(cache);
    wait::until("etcd to answer", LIMIT, || {
        let healthy =
            command::succeeds(Command::new(&etcdctl).args([&format!("--endpoints={etcd}"), "get", "/"]));
        Ok(healthy.then_some(()))
    })?;

    let arguments = arguments(model.api_server_arguments(), folder, &etcd, secure);
    let started = Instant::now();
    let _server = Process::start(&Program::KubeApiserver(RELEASE).path_in(cache), &arguments)?;
    wait::until("the lone kube-apiserver to be ready", LIMIT, || {
        let mut ask = Command::new(kubectl::PROGRAM.path_in(cache));
        ask.arg("--kubeconfig")
            .arg(&kubeconfig)
            .args([&format!("--server=https://127.0.0.1:{secure}"), "--tls-server-name=kubernetes"])
            .args(["get", "--raw=/readyz"]);
        Ok(command::succeeds(&mut ask).then(|| started.elapsed()))
    })
}

fn etcd_arguments(folder: &Path, endpoint: &str, peer_port: u16) -> Vec<String> {
    let peer = format!("http://127.0.0.1:{peer_port}");
    vec![
        format!("--data-dir={}", folder.join("etcd-data").display()),
        format!("--listen-client-urls={endpoint}"),
        format!("--advertise-client-urls={endpoint}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--unsafe-no-fsync".to_owned(),
        "--log-level=error".to_owned(),
    ]
}

/// The arguments of a tenant's API server, with files, port and store of this machine.
fn arguments(theirs: &[String], folder: &Path, etcd: &str, port: u16) -> Vec<String> {
    let folder = folder.display().to_string();
    let ours = [format!("--etcd-servers={etcd}"), format!("--secure-port={port}")];
    theirs
        .iter()
        .filter(|argument| {
            !["--etcd-servers=", "--etcd-cafile=", "--etcd-certfile=", "--etcd-keyfile=", "--secure-port="]
                .iter()
                .any(|flag| argument.starts_with(flag))
        })
        .map(|argument| argument.replace(CONTAINER_FOLDER, &folder))
        .chain(ours)
        .collect()
}

fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let listeners = (0..N)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<Vec<_>, _>>()
        .context("finding free ports")?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr().context("finding a free port")?.port();
    }
    Ok(ports)
}

/// A process that ends with this value.
struct Process(Child);

impl Process {
    fn start(program: &Path, arguments: &[String]) -> Result<Self> {
        Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Self)
            .with_context(|| format!("starting {}", program.display()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already is what we want.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_port_and_store_differ_from_a_tenants() {
        let theirs = [
            "--client-ca-file=/etc/kubernetes/pki/ca.crt",
            "--etcd-cafile=/etc/kubernetes/pki/etcd/ca.crt",
            "--etcd-prefix=/t",
            "--etcd-servers=https://e:2379",
            "--secure-port=6443",
        ]
        .map(str::to_owned);
        assert_eq!(
            arguments(&theirs, Path::new("/f"), "http://127.0.0.1:1", 2),
            [
                "--client-ca-file=/f/ca.crt",
                "--etcd-prefix=/t",
                "--etcd-servers=http://127.0.0.1:1",
                "--secure-port=2"
            ]
        );
    }
}
