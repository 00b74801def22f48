//! A worker that has joined a tenant, and what people do with it.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kamaji_api::Child as Part;
use kamaji_operator::{JoinRequest, TimeToLive, join_command};
use kube::{
    Api, Client,
    config::{AuthInfo, Kubeconfig},
};
use xtask::{
    cache::Cache,
    cluster::worker::{self, Worker},
    command,
    kubectl::Kubectl,
    programs::Release,
    progress::Progress,
};

use crate::tenant::{LIMIT, Lab, client_of, eventually};

/// How long a worker may take to join.
const LIFETIME: Duration = Duration::from_mins(10);

/// Where the administrator's kubeconfig is.
const ADMINISTRATOR: &str = "administrator.kubeconfig";

/// A worker in a tenant. It ends when this is dropped.
pub struct Guest {
    machine: Machine,
    /// `kubectl` of the tenant's administrator.
    pub kubectl: Kubectl,
    /// The tenant's administrator.
    pub administrator: Client,
}

/// A worker that ends when this is dropped, also when nobody waits any more for its start to be over.
struct Machine {
    worker: Worker,
    cache: Cache,
}

impl Guest {
    /// A worker that has joined this tenant, and whose Node is Ready.
    ///
    /// It is called as the tenant is, with the namespace before that.
    pub async fn join(lab: &Lab, tenant: &str, release: Release) -> Result<Self> {
        let cache = Cache::of_this_user()?;
        let name = format!("{}-{tenant}", lab.namespace());
        let machine = on_thread(move || {
            // What an earlier run has left would belong to a tenant that is gone.
            worker::remove(&cache, &name)?;
            let worker = worker::start(&cache, &Progress::default(), &name, release)?;
            Ok(Machine { worker, cache })
        })
        .await?;
        let kubeconfig = machine.worker.file(ADMINISTRATOR);
        let guest = Self {
            kubectl: Kubectl::new(&machine.cache, &kubeconfig),
            administrator: lab.administrator(tenant).await?,
            machine,
        };
        guest.write_kubeconfig(lab, tenant).await?;
        Box::pin(guest.join_as_told(lab, tenant)).await?;
        guest.ready().await?;
        Ok(guest)
    }

    /// The administrator is given the kubeconfig as it is now.
    pub async fn is_given_a_new_kubeconfig(&mut self, lab: &Lab, tenant: &str) -> Result<()> {
        self.administrator = lab.administrator(tenant).await?;
        self.write_kubeconfig(lab, tenant).await
    }

    async fn write_kubeconfig(&self, lab: &Lab, tenant: &str) -> Result<()> {
        let secret = lab.secret(tenant, Part::AdminKubeconfig).await?;
        let content = secret.get("admin.conf").context("there is no admin.conf")?;
        fs::write(self.worker().file(ADMINISTRATOR), content)
            .context("writing the administrator's kubeconfig")
    }

    /// The machine.
    pub fn worker(&self) -> &Worker {
        &self.machine.worker
    }

    /// The command that makes a machine join, as the tenant's administrator gets it.
    pub async fn invitation(&self, lab: &Lab, tenant: &str) -> Result<String> {
        let request = JoinRequest {
            namespace: lab.namespace().to_owned(),
            name: tenant.to_owned(),
            time_to_live: TimeToLive::new(LIFETIME).context("the token lives too long")?,
            patience: LIMIT,
        };
        Ok(Box::pin(join_command(&lab.client(), &request)).await?.line)
    }

    async fn join_as_told(&self, lab: &Lab, tenant: &str) -> Result<()> {
        let line = self.invitation(lab, tenant).await?;
        let worker = self.worker().clone();
        on_thread(move || {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            worker::join(&worker, &words)
        })
        .await
        .map(drop)
    }

    /// Waits until its Node is Ready.
    pub async fn ready(&self) -> Result<()> {
        let nodes = Api::<Node>::all(self.administrator.clone());
        eventually(&format!("the Node {} to be Ready", self.worker().name), async || {
            let node = nodes.get_opt(&self.worker().name).await?;
            let conditions = node.and_then(|node| node.status?.conditions).unwrap_or_default();
            let is_ready = conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True");
            Ok(is_ready.then_some(()))
        })
        .await
    }

    /// Runs `kubectl` with these arguments, and returns what it printed.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.kubectl.command();
        command.args(arguments);
        on_thread(move || command::output(&mut command)).await
    }

    /// Runs a program on the machine, and returns what it printed.
    pub async fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut command = self.worker().command(program);
        command.args(arguments);
        on_thread(move || command::output(&mut command)).await
    }

    /// A client with the rights of its kubelet.
    pub async fn kubelet(&self) -> Result<Client> {
        let mut kubeconfig = Kubeconfig::read_from(self.worker().kubeconfig())?;
        // The kubeconfig names the certificate by a path that is right inside of the worker only.
        let path = self.worker().file("/var/lib/kubelet/pki/kubelet-client-current.pem");
        let target = fs::read_link(&path).with_context(|| format!("reading the link {}", path.display()))?;
        let identity = self.worker().file(&target.to_string_lossy()).display().to_string();
        let info = AuthInfo {
            client_certificate: Some(identity.clone()),
            client_key: Some(identity),
            ..AuthInfo::default()
        };
        kubeconfig.auth_infos.iter_mut().for_each(|named| named.auth_info = Some(info.clone()));
        client_of(kubeconfig).await
    }

    /// Forwards a port of this machine to one of a Pod.
    pub async fn forward(&self, pod: &str, port: u16) -> Result<Forward> {
        let mut command = self.kubectl.command();
        command.args(["port-forward", pod, &format!(":{port}")]);
        on_thread(move || Forward::start(&mut command)).await
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Err(error) = worker::remove(&self.cache, &self.worker.name) {
            eprintln!("the worker {} stays behind: {error:#}", self.worker.name);
        }
    }
}

/// A forwarded port, for as long as this lives.
pub struct Forward {
    /// The port of this machine.
    pub port: u16,
    process: Child,
    // kubectl would end at its next word if nobody listened any more.
    output: BufReader<ChildStdout>,
}

impl Forward {
    fn start(command: &mut Command) -> Result<Self> {
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let output = process.stdout.take().context("kubectl has no output")?;
        let mut forward = Self { port: 0, process, output: BufReader::new(output) };
        let mut line = String::new();
        forward.output.read_line(&mut line)?;
        // As in `Forwarding from 127.0.0.1:40123 -> 8080`.
        let port = line.split(" -> ").next().and_then(|from| from.rsplit(':').next()?.parse().ok());
        ensure!(port.is_some(), "kubectl port-forward says `{line}`");
        forward.port = port.unwrap_or_default();
        Ok(forward)
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // One that has ended already is what we want.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Does this where it may block.
pub async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("a thread has panicked")?
}
