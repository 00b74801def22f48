//! Workers for tenants: machines of their own as far as a kubelet can tell, made of this machine's namespaces.

mod groups;
mod images;
mod join;
mod machine;
mod network;
mod record;

use std::{fmt, net::Ipv4Addr, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail, ensure};

pub use join::{join, release_of, wait_until_ready};

use self::{machine::Machine, record::Record};
use super::{
    layout::Layout,
    process::{self, Ending, is_alive},
    state::{Identity, State},
};
use crate::{
    cache::Cache,
    command, packages,
    programs::{self, Program, Release},
    progress::Progress,
};

/// A worker that was made.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Its name, which is also its host name and its Node's.
    pub name: String,
    /// The release of its kubelet.
    pub release: Release,
    /// Its address, which this machine and the tenants reach.
    pub address: Ipv4Addr,
    folder: PathBuf,
    process: Identity,
}

/// What runs on workers of this release.
pub fn programs(release: Release) -> Vec<Program> {
    let mut programs = crate::images::worker_programs(release);
    programs.extend([Program::Kubelet(release), Program::Kubeadm(release)]);
    programs
}

/// Makes a worker of this name run, with the images that a tenant's add-ons need; it has joined nothing yet.
///
/// One that runs already stays as it is; one that has ended, with the machine for example, begins anew.
pub fn start(cache: &Cache, progress: &Progress, name: &str, release: Release) -> Result<Worker> {
    super::require_root("worker add")?;
    ensure_name(name)?;
    let layout = Layout::of(cache);
    layout.require_ours()?;
    require_cluster(&layout)?;
    programs::ensure(cache, progress, &programs(release))?;
    // The images are made only once, also when several workers start at once.
    let archives = images::archives(cache, release)?;
    let worker = ensure_machine(cache, &layout, name, release)?;
    images::ensure(&worker, &archives)?;
    Ok(worker)
}

/// Makes a worker, lets it join the tenant that this `kubeadm join` command leads to, and returns when its Node is Ready.
pub fn add(cache: &Cache, progress: &Progress, name: &str, join_command: &[String]) -> Result<()> {
    let release = release_of(cache, join_command)?;
    let worker = progress
        .step(&format!("starting the worker {name}"), || start(cache, &Progress::default(), name, release))?;
    if worker.has_joined() {
        progress.line(&format!(
            "the worker {name} has joined already; remove it first to let it join another tenant"
        ));
    } else {
        print!("{}", progress.step("joining the tenant", || join(&worker, join_command))?);
    }
    progress.step("waiting for the Node to be Ready", || wait_until_ready(cache, &worker))
}

/// Runs a command on a worker, with our own terminal.
pub fn execute(cache: &Cache, name: &str, words: &[String]) -> Result<()> {
    let worker = find(cache, name)?;
    ensure!(worker.is_running(), "the worker {name} does not run any more; remove it, and add it again");
    let [program, arguments @ ..] = words else { bail!("there is no command to run") };
    command::show(worker.command(program).args(arguments))
}

/// The workers that there are, by name.
pub fn list(cache: &Cache) -> Result<Vec<Worker>> {
    let layout = Layout::of(cache);
    let records = record::all(&layout)?;
    Ok(records.into_iter().map(|record| Worker::of(&layout, record)).collect())
}

/// The worker of this name.
pub fn find(cache: &Cache, name: &str) -> Result<Worker> {
    let found = list(cache)?.into_iter().find(|worker| worker.name == name);
    found.with_context(|| {
        format!("there is no worker {name}; `cargo xtask cluster worker list` shows those that there are")
    })
}

/// Ends a worker and leaves nothing of it on this machine; its Node stays in its tenant until somebody deletes it.
pub fn remove(cache: &Cache, name: &str) -> Result<()> {
    super::require_root("worker remove")?;
    let layout = Layout::of(cache);
    layout.require_ours()?;
    let _lock = cache.lock("workers")?;
    match record::read(&layout, name)? {
        Some(record) => remove_worker(&Worker::of(&layout, record)),
        None => Ok(()),
    }
}

/// Ends all workers, and removes what they have in common.
pub(super) fn remove_all(cache: &Cache, layout: &Layout) -> Result<()> {
    let _lock = cache.lock("workers")?;
    for record in record::all(layout)? {
        remove_worker(&Worker::of(layout, record))?;
    }
    network::remove()
}

impl fmt::Display for Worker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (self.is_running(), self.has_joined()) {
            (false, _) => "not running",
            (true, false) => "running, in no tenant",
            (true, true) => "running, in a tenant",
        };
        write!(formatter, "{:<24} {:<12} {:<10} {state}", self.name, self.address, self.release.version())
    }
}

impl Worker {
    fn of(layout: &Layout, record: Record) -> Self {
        Self {
            folder: record::folder(layout, &record.name),
            address: network::address_of(record.number),
            name: record.name,
            release: record.release,
            process: record.process,
        }
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        is_alive(&self.process)
    }

    /// Whether it belongs to a tenant.
    pub fn has_joined(&self) -> bool {
        self.kubeconfig().is_file()
    }

    /// The kubeconfig of its kubelet, on this machine, which is there once it has joined.
    pub fn kubeconfig(&self) -> PathBuf {
        self.file("/etc/kubernetes/kubelet.conf")
    }

    /// Where one of its own files is on this machine, as far as it is not this machine's anyway.
    pub fn file(&self, path: &str) -> PathBuf {
        self.folder.join(path.trim_start_matches('/'))
    }

    /// The logs of its containerd and kubelet.
    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// A command that runs inside of it; programs of its release come first.
    pub fn command(&self, program: &str) -> Command {
        let namespaces = format!("/proc/{}/ns", self.process.pid);
        let mut command = Command::new("nsenter");
        command.env_clear().env("PATH", self.search_path()).env("HOME", "/root");
        for kind in ["cgroup", "uts", "ipc", "net"] {
            command.arg(format!("--{kind}={namespaces}/{kind}"));
        }
        command
            .arg(format!("--pid={namespaces}/pid_for_children"))
            .arg(format!("--mount={namespaces}/mnt"))
            .args(["--", program]);
        command
    }

    fn search_path(&self) -> String {
        format!("{}:{}", self.programs().display(), packages::PATH)
    }

    /// Links to the programs of its release.
    fn programs(&self) -> PathBuf {
        self.folder.join("programs")
    }

    /// Its containerd's socket, seen from outside.
    fn socket(&self) -> PathBuf {
        format!("/proc/{}/root/run/containerd/containerd.sock", self.process.pid).into()
    }

    /// The end of its logs, for errors.
    fn last_words(&self) -> String {
        let ends = ["init", "containerd", "kubelet"].map(|name| {
            let path = process::log_of(&self.logs(), name);
            let text = std::fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            if text.is_empty() {
                return String::new();
            }
            format!("the end of {}:\n{}\n", path.display(), command::tail(&text))
        });
        ends.concat()
    }
}

/// The name becomes a host name, a Node's name and a part of paths.
fn ensure_name(name: &str) -> Result<()> {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_good = name.bytes().all(is_inner) && !name.starts_with('-') && !name.ends_with('-');
    if is_good && (1..=40).contains(&name.len()) {
        return Ok(());
    }
    bail!("a worker cannot be called `{name}`; use up to 40 lower-case letters, digits and hyphens")
}

fn require_cluster(layout: &Layout) -> Result<()> {
    let state = State::read(layout)?;
    ensure!(
        super::is_running(&state, "kube-proxy"),
        "the local cluster is not running; start it with `cargo xtask cluster up`"
    );
    Ok(())
}

fn ensure_machine(cache: &Cache, layout: &Layout, name: &str, release: Release) -> Result<Worker> {
    let _lock = cache.lock("workers")?;
    if let Some(record) = record::read(layout, name)? {
        let worker = Worker::of(layout, record);
        if worker.is_running() {
            ensure!(
                worker.release == release,
                "the worker {name} runs Kubernetes {}, not {}; remove it first, or choose another name",
                worker.release.version(),
                release.version()
            );
            return Ok(worker);
        }
        remove_worker(&worker)?;
    }
    network::prepare()?;
    let number = record::free_number(layout)?;
    let machine = Machine { cache, layout, name, release, number };
    // Whatever of it was started is removed again when something fails.
    machine.start().inspect_err(|_| {
        if let Ok(Some(record)) = record::read(layout, name) {
            let _ = remove_worker(&Worker::of(layout, record));
        }
    })
}

fn remove_worker(worker: &Worker) -> Result<()> {
    if worker.is_running() {
        process::end(&worker.process, Ending::AtOnce)
            .with_context(|| format!("ending the worker {}", worker.name))?;
    }
    groups::remove(&worker.name)?;
    network::detach(worker.address)?;
    super::machine::remove(&worker.folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_a_host_can_have() {
        for good in ["w1", "a", "blue-2"] {
            ensure_name(good).unwrap();
        }
        for bad in ["", "-w", "w-", "W1", "../w", "w.1", &"w".repeat(41)] {
            ensure_name(bad).unwrap_err();
        }
    }
}
