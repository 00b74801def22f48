//! Starting the process that a worker is.

use std::{
    fs::{self, OpenOptions},
    net::Ipv4Addr,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::{
    Worker, groups, network,
    record::{self, Record},
};
use crate::{
    cache::Cache,
    cluster::{layout::Layout, process},
    images, packages,
    programs::{Program, Release},
    wait,
};

/// Run by the worker's first process, inside of it.
const INIT: &str = include_str!("init.sh");

/// Run before, to enter control groups and namespaces.
const ENTER: &str = include_str!("enter.sh");

/// How long a process may take to get from one program to the next.
const LIMIT: Duration = Duration::from_secs(20);

/// A worker to be started.
pub(super) struct Machine<'a> {
    pub(super) cache: &'a Cache,
    pub(super) layout: &'a Layout,
    pub(super) name: &'a str,
    pub(super) release: Release,
    pub(super) number: u8,
}

impl Machine<'_> {
    /// Starts it and connects it; its containerd does not answer yet.
    pub(super) fn start(&self) -> Result<Worker> {
        let folder = record::folder(self.layout, self.name);
        self.write_files(&folder)?;
        let groups = groups::make(self.name)?;
        let identity = {
            let log_path = process::log_of(&folder.join("logs"), "init");
            let log = OpenOptions::new()
                .create(true)
                .append(true)
                .open(&log_path)
                .with_context(|| format!("opening {}", log_path.display()))?;
            let errors = log.try_clone().with_context(|| format!("opening {}", log_path.display()))?;
            let child = Command::new("setsid")
                .args(["sh", "-c", ENTER, "enter"])
                .args([Path::new("sh"), &folder.join("init.sh"), &folder])
                .args([self.name, &network::address_with_prefix(self.number), &network::GATEWAY.to_string()])
                .args(network::REACHED)
                .current_dir("/")
                .env_clear()
                .env("PATH", format!("{}:{}", folder.join("programs").display(), packages::PATH))
                .env("HOME", "/root")
                .env(
                    "GROUPS",
                    groups.iter().map(|group| group.display().to_string()).collect::<Vec<_>>().join(" "),
                )
                .stdin(Stdio::null())
                .stdout(log)
                .stderr(errors)
                .spawn()
                .with_context(|| format!("starting the worker {}", self.name))?;
            let pid = i32::try_from(child.id()).context("reading a process number")?;
            process::identity(pid)
                .with_context(|| format!("the worker {} ended as soon as it was started", self.name))?
        };
        let record = Record {
            name: self.name.to_owned(),
            release: self.release,
            number: self.number,
            process: identity,
        };
        record::write(self.layout, &record)?;
        let worker = Worker::of(self.layout, record);
        wait_for_network(&worker)?;
        network::attach(self.number, worker.process.pid)?;
        Ok(worker)
    }

    fn write_files(&self, folder: &Path) -> Result<()> {
        let programs = folder.join("programs");
        for folder in [folder, &programs, &folder.join("logs")] {
            fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
        }
        for program in [Program::Kubelet(self.release), Program::Kubeadm(self.release)] {
            let link = programs.join(program.name());
            symlink(program.path_in(self.cache), &link)
                .with_context(|| format!("linking {}", link.display()))?;
        }
        let address = network::address_of(self.number);
        let files = [
            ("init.sh", INIT.to_owned()),
            ("containerd.toml", containerd_configuration(folder)),
            ("network.json.template", network_configuration()),
            ("hosts", format!("127.0.0.1 localhost\n{address} {}\n", self.name)),
            ("resolv.conf", resolver_configuration(network::GATEWAY)),
        ];
        for (name, content) in files {
            let path = folder.join(name);
            fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}

/// Waits until the process has left this machine's network, so that it can be connected in its own.
fn wait_for_network(worker: &Worker) -> Result<()> {
    let network = |process: &str| fs::read_link(format!("/proc/{process}/ns/net"));
    let ours = network("self").context("looking at our own network")?;
    wait::until(&format!("the network of the worker {}", worker.name), LIMIT, || {
        match network(&worker.process.pid.to_string()) {
            Ok(found) if worker.is_running() => Ok((found != ours).then_some(())),
            _ => bail!("the worker {} has ended; {}", worker.name, worker.last_words()),
        }
    })
}

/// Nobody answers there, which is said at once: names outside of the cluster are not known, and a `CoreDNS` that asked
/// a Service of its own cluster would go round in circles.
fn resolver_configuration(nobody: Ipv4Addr) -> String {
    format!("nameserver {nobody}\n")
}

fn containerd_configuration(folder: &Path) -> String {
    format!(
        r#"version = 2
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[debug]
  level = "warn"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Without CAP_SYS_RESOURCE no process may lower its score, and each sandbox would fail.
  restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_template = "{folder}/network.json.template"

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
"#,
        pause = images::PAUSE,
        folder = folder.display(),
    )
}

/// containerd puts in the range that the tenant gives to the Node.
fn network_configuration() -> String {
    let bridge = json!({
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": true,
        "ipMasq": true,
        "hairpinMode": true,
        "ipam": {
            "type": "host-local",
            "ranges": [[{ "subnet": "{{.PodCIDR}}" }]],
            "routes": [{ "dst": "0.0.0.0/0" }],
        },
    });
    let ports = json!({ "type": "portmap", "capabilities": { "portMappings": true }, "snat": true });
    json!({ "cniVersion": "0.4.0", "name": "worker", "plugins": [bridge, ports] }).to_string()
}
