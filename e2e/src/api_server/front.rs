//! A kube-apiserver over one account of a shared datastore, and the same one again over another: its address, its
//! authority and its clients' credentials stay.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use xtask::programs::{Program, Release};

use super::{READY_INTERVAL, SERVICE_RANGES, START_DEADLINE, process::Process};

/// Where an API server is, and who may come. Its files are gone once this is dropped.
#[derive(Debug)]
pub struct Site {
    folder: PathBuf,
    port: u16,
}

/// What an API server keeps its data in.
#[derive(Clone, Debug)]
pub enum Behind {
    /// A prefix of an etcd, by certificate.
    Etcd {
        /// `https://address:port`.
        endpoint: String,
        /// The prefix, without its slash.
        schema: String,
        /// Who signed etcd's certificate.
        ca_pem: String,
        /// The user's certificate.
        certificate_pem: String,
        /// Its key.
        key_pem: String,
    },
    /// kine before a database.
    Kine {
        /// As kine's `--endpoint` has it.
        endpoint: String,
        /// Who signed the server's certificate.
        ca_pem: String,
    },
}

/// A running API server, with its kine. Both are gone once this is dropped.
#[derive(Debug)]
pub struct Front {
    // Dropped in this order: the API server before what it asks.
    server: Process,
    kine: Option<Process>,
}

impl Site {
    /// A place for API servers. Nothing runs there yet.
    pub fn new() -> Result<Self> {
        let [port] = super::free_ports()?;
        let folder = super::fresh_folder("site")?;
        super::write_credentials(&folder, port)?;
        Ok(Self { folder, port })
    }

    /// An API server over this, once it is ready.
    ///
    /// # Errors
    /// When a program has not been built yet (the text says how), or does not become ready.
    pub async fn start(&self, behind: &Behind) -> Result<Front> {
        let (server, kine) = match behind {
            Behind::Etcd { endpoint, schema, ca_pem, certificate_pem, key_pem } => {
                let folder = super::fresh_folder("front")?;
                fs::write(folder.join("etcd-ca.crt"), ca_pem)?;
                fs::write(folder.join("etcd.crt"), certificate_pem)?;
                fs::write(folder.join("etcd.key"), key_pem)?;
                let file = |name: &str| folder.join(name).display().to_string();
                let more = vec![
                    format!("--etcd-cafile={}", file("etcd-ca.crt")),
                    format!("--etcd-certfile={}", file("etcd.crt")),
                    format!("--etcd-keyfile={}", file("etcd.key")),
                    format!("--etcd-prefix=/{schema}"),
                    "--etcd-compaction-interval=0".to_owned(),
                ];
                (self.serve(&folder, endpoint, more)?, None)
            }
            Behind::Kine { endpoint, ca_pem } => {
                let kine = kine(endpoint, ca_pem)?;
                let socket = format!("unix://{}", kine.1.display());
                (self.serve(&super::fresh_folder("front")?, &socket, Vec::new())?, Some(kine.0))
            }
        };
        let front = Front { server, kine };
        self.wait_ready(&front).await?;
        Ok(front)
    }

    /// A new client with all rights, which is the same before whichever API server.
    pub async fn client(&self) -> Result<Client> {
        let kubeconfig = Kubeconfig::read_from(self.folder.join("admin.conf"))?;
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        config.proxy_url = None;
        // One that has gone must be noticed by whoever waits for its answer.
        config.read_timeout = Some(Duration::from_secs(10));
        Ok(Client::try_from(config)?)
    }

    fn serve(&self, folder: &Path, endpoint: &str, more: Vec<String>) -> Result<Process> {
        let program = super::program(Program::KubeApiserver(Release::V1_34))?;
        let mut arguments = super::api_server_arguments(&self.folder, endpoint, self.port);
        arguments.push(format!("--service-cluster-ip-range={SERVICE_RANGES}"));
        arguments.extend(more);
        Process::start("kube-apiserver", &program, folder, &arguments)
    }

    async fn wait_ready(&self, front: &Front) -> Result<()> {
        let client = self.client().await?;
        let mut tick = tokio::time::interval(READY_INTERVAL);
        let ready = async {
            loop {
                tick.tick().await;
                let request = http::Request::get("/readyz").body(Vec::new())?;
                if client.request_text(request).await.is_ok() {
                    return Ok(());
                }
                for process in std::iter::once(&front.server).chain(&front.kine) {
                    if !process.is_alive() {
                        bail!("a server died while it started; {}", process.last_words());
                    }
                }
            }
        };
        let ready = tokio::time::timeout(START_DEADLINE, ready).await;
        ready
            .with_context(|| format!("the API server was not ready in time; {}", front.server.last_words()))?
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Nothing to do about a failure here: it lies among temporary files.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// kine, and the socket that it listens at.
fn kine(endpoint: &str, ca_pem: &str) -> Result<(Process, PathBuf)> {
    let folder = super::fresh_folder("kine")?;
    fs::write(folder.join("ca.crt"), ca_pem)?;
    let socket = folder.join("kine");
    let arguments = [
        format!("--listen-address=unix://{}", socket.display()),
        format!("--endpoint={endpoint}"),
        format!("--ca-file={}", folder.join("ca.crt").display()),
        "--metrics-bind-address=0".to_owned(),
    ];
    let process = Process::start("kine", &super::program(Program::Kine)?, &folder, &arguments)?;
    Ok((process, socket))
}
