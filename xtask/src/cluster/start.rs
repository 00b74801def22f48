//! Starting the cluster, and repairing one that is not whole.

use std::{collections::BTreeSet, fs, thread, time::Duration};

use anyhow::{Context, Result, bail};

use super::{
    daemons, dns, is_api_ready, is_running,
    layout::{API_SERVICE, ETCD_HEALTH, KUBE_PROXY_HEALTH, KUBELET_HEALTH, Layout, NODE},
    machine, pki,
    process::{self, Daemon, Ending},
    runtime,
    state::{Decision, Recorded, State, decide},
};
use crate::{
    cache::Cache,
    command, images,
    kubectl::{Kubectl, has_condition},
    packages,
    programs::{self, Release},
    progress::Progress,
    wait::{self, http_ok},
};

/// How long any one condition may take on a slow machine.
const LIMIT: Duration = Duration::from_mins(2);

/// Makes the whole cluster run: programs built, images imported, node Ready, DNS answering.
///
/// On a running cluster it only repairs what is missing. The images for tenants of these releases are there then.
pub fn up(cache: &Cache, progress: &Progress, tenants: &[Release]) -> Result<()> {
    super::require_root("up")?;
    packages::ensure(progress, packages::Need::Cluster)?;
    programs::ensure(cache, progress, &super::programs(tenants))?;
    let _lock = cache.lock("cluster")?;
    let archives = progress.step("packing images", || {
        images::upstream(cache, tenants)?
            .iter()
            .map(|image| images::ensure_archive(cache, image))
            .collect::<Result<Vec<_>>>()
    })?;
    let layout = Layout::of(cache);
    layout.create()?;
    let mut start = Start {
        cache,
        ensured: BTreeSet::new(),
        state: State::read(&layout)?,
        kubectl: Kubectl::new(cache, &layout.kubeconfig()),
        layout,
    };
    progress.step("preparing the machine", || start.prepare())?;
    progress.step("starting etcd and containerd", || start.foundations())?;
    progress.step("importing images, starting the API server", || start.images_and_api_server(&archives))?;
    progress.step("starting the other programs", || start.the_rest())?;
    progress.step("waiting for the node", || start.node())?;
    progress.step("waiting for DNS", || start.dns())
}

/// A start in progress.
struct Start<'a> {
    cache: &'a Cache,
    /// The programs that should run by now; others may not run yet, or not any more.
    ensured: BTreeSet<&'static str>,
    layout: Layout,
    state: State,
    kubectl: Kubectl,
}

impl Start<'_> {
    fn prepare(&mut self) -> Result<()> {
        machine::look_at(&mut self.state)?;
        self.state.write(&self.layout)?;
        machine::prepare()?;
        pki::ensure(self.cache, &self.layout)
    }

    fn foundations(&mut self) -> Result<()> {
        self.ensure_running(&daemons::etcd(self.cache, &self.layout))?;
        self.ensure_running(&daemons::containerd(&self.layout))?;
        self.wait_for("etcd's health", || http_ok(ETCD_HEALTH, "/health"))?;
        self.wait_for("containerd's answer", || runtime::answers(&self.layout.containerd_socket()))
    }

    fn images_and_api_server(&mut self, archives: &[images::Archive]) -> Result<()> {
        self.ensure_running(&daemons::kube_apiserver(self.cache, &self.layout))?;
        thread::scope(|scope| {
            let import = scope.spawn(|| runtime::import_missing(&self.layout.containerd_socket(), archives));
            self.wait_for("the API server to be ready", || is_api_ready(&self.kubectl))?;
            import.join().expect("importing returns its errors instead of panicking").map(drop)
        })
    }

    fn the_rest(&mut self) -> Result<()> {
        self.ensure_running(&daemons::controller_manager(self.cache, &self.layout))?;
        self.ensure_running(&daemons::scheduler(self.cache, &self.layout))?;
        self.ensure_running(&daemons::kube_proxy(self.cache, &self.layout))?;
        self.ensure_running(&daemons::kubelet(self.cache, &self.layout))?;
        let forward = if daemons::has_name_server() { dns::FORWARD } else { "" };
        let objects = [include_str!("rights.yaml"), &dns::manifest(forward)].concat();
        self.kubectl.apply(&objects).map(drop)
    }

    fn node(&self) -> Result<()> {
        self.wait_for("kube-proxy's health", || http_ok(KUBE_PROXY_HEALTH, "/healthz"))?;
        self.wait_for("kubelet's health", || http_ok(KUBELET_HEALTH, "/healthz"))?;
        self.wait_for("the node to be Ready", || {
            self.kubectl.get(&["node", NODE]).is_ok_and(|node| has_condition(&node, "Ready"))
        })?;
        self.wait_for("the controller manager's first service account", || {
            self.kubectl.get(&["serviceaccount", "default", "--namespace=default"]).is_ok()
        })
    }

    fn dns(&self) -> Result<()> {
        self.wait_for("CoreDNS to be Ready", || dns::is_rolled_out(&self.kubectl).unwrap_or(false))?;
        self.wait_for("the cluster's DNS to know the API server", || {
            dns::resolve("kubernetes.default.svc.cluster.local") == Some(API_SERVICE)
        })
    }

    /// Starts the program unless it runs as wanted already.
    fn ensure_running(&mut self, daemon: &Daemon) -> Result<()> {
        self.ensured.insert(daemon.name);
        let digest = daemon.digest();
        let recorded = self.state.processes.get(daemon.name);
        match (decide(recorded, process::is_alive, &digest), recorded) {
            (Decision::Keep, _) => return Ok(()),
            (Decision::Restart, Some(recorded)) => process::end(&recorded.identity, Ending::Gently)?,
            (Decision::Start | Decision::Restart, _) => {}
        }
        let identity = daemon.start(&self.layout.logs()).with_context(|| self.last_words(daemon.name))?;
        self.state.processes.insert(daemon.name.to_owned(), Recorded { identity, digest });
        self.state.write(&self.layout)
    }

    /// Waits for a condition, but not longer than every started program lives.
    fn wait_for(&self, what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
        wait::until(what, LIMIT, || {
            if holds() {
                return Ok(Some(()));
            }
            match self.ensured.iter().find(|name| !is_running(&self.state, name)) {
                Some(dead) => bail!("{dead} has ended while we waited for {what}; {}", self.last_words(dead)),
                None => Ok(None),
            }
        })
        .with_context(|| {
            format!("the cluster did not come up; its logs are in {}", self.layout.logs().display())
        })
    }

    fn last_words(&self, name: &str) -> String {
        let log = process::log_of(&self.layout.logs(), name);
        let text = fs::read(&log).unwrap_or_default();
        format!("the end of {}:\n{}", log.display(), command::tail(&String::from_utf8_lossy(&text)))
    }
}
