//! A real Kubernetes API: etcd and kube-apiserver as processes of ours, on free ports of this machine.
//!
//! There are no controllers and no nodes: the test plays the rest of the world.

pub mod front;
pub mod kine;
pub(crate) mod process;

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Namespace;
use kamaji_pki::{Authority, Leaf, Names, Pair, PrivateKey, Usage};
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
    core::ObjectMeta,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::sync::OnceCell;
use xtask::programs::{self, Program, Release};

use self::process::Process;

/// How long a certificate of ours lasts; a test run is over long before.
const VALIDITY: SignedDuration = SignedDuration::from_hours(24);
/// How long the servers may take to start on a machine that is busy with other things.
const START_DEADLINE: Duration = Duration::from_mins(2);
/// How often a server that starts is asked whether it is ready.
const READY_INTERVAL: Duration = Duration::from_millis(50);
/// Loopback addresses, so that what listens on a cluster IP can be reached on this machine.
const SERVICE_RANGES: &str = "127.96.0.0/16";
/// How often a start is tried: a port that was free may be taken by the time a server binds it.
const ATTEMPTS: usize = 3;

/// A Kubernetes API. Its processes and files are gone once this is dropped, or our own process has ended.
#[derive(Debug)]
pub struct ApiServer {
    // Dropped in this order: the API server before its store.
    server: Process,
    store: Process,
    command: Start,
    kubeconfig: PathBuf,
    etcd_endpoint: String,
    namespaces: AtomicUsize,
}

/// How kube-apiserver is started.
#[derive(Debug)]
struct Start {
    program: PathBuf,
    folder: PathBuf,
    arguments: Vec<String>,
}

/// A kube-apiserver that was started again. It ends when this is dropped.
#[derive(Debug)]
pub struct Again {
    _server: Process,
}

impl ApiServer {
    /// Starts an API of one's own, and waits until it is ready: about four seconds on an idle machine.
    ///
    /// # Errors
    /// When a program has not been built yet (the text says how), or a server does not become ready.
    pub async fn start() -> Result<Self> {
        Self::start_with(Release::V1_34, SERVICE_RANGES).await
    }

    /// The same of this release, with these ranges of Service addresses, separated by commas.
    pub async fn start_with(release: Release, service_ranges: &str) -> Result<Self> {
        let etcd = program(Program::Etcd)?;
        let api_server = program(Program::KubeApiserver(release))?;
        let mut last = None;
        for _ in 0..ATTEMPTS {
            match launch(&etcd, &api_server, service_ranges).await {
                Ok(api) => return Ok(api),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("at least one attempt was made")?)
    }

    /// The API that all tests of this process share; started by the first of them.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<ApiServer> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// A new client with all rights. It lives as long as the runtime it is made in, so each test makes its own.
    pub async fn client(&self) -> Result<Client> {
        Ok(Client::try_from(self.config().await?)?)
    }

    /// What a client needs to know, for clients with layers of their own.
    pub async fn config(&self) -> Result<Config> {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        config.proxy_url = None;
        Ok(config)
    }

    /// The kubeconfig of a user with all rights.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The store behind the API: `http://address:port`, no TLS, no authentication.
    pub fn etcd_endpoint(&self) -> &str {
        &self.etcd_endpoint
    }

    /// The process id of kube-apiserver, for tests that stop and continue it.
    pub fn process_id(&self) -> u32 {
        self.server.id()
    }

    /// Sends this to kube-apiserver: it is stopped, goes on, or is dead.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.process_id()).ok().and_then(Pid::from_raw);
        kill_process(id.context("a process has an id")?, signal).context("sending a signal to kube-apiserver")
    }

    /// After kube-apiserver was killed: it is started again, on the same port and the same data.
    pub fn start_again(&self) -> Result<Again> {
        let Start { program, folder, arguments } = &self.command;
        Ok(Again { _server: Process::start("kube-apiserver", program, folder, arguments)? })
    }

    /// Makes a namespace that nothing else uses, and returns its name.
    pub async fn fresh_namespace(&self) -> Result<String> {
        let name = format!("test-{}", self.namespaces.fetch_add(1, Ordering::Relaxed));
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some(name.clone()), ..Default::default() },
            ..Default::default()
        };
        let api = Api::<Namespace>::all(self.client().await?);
        api.create(&PostParams::default(), &namespace).await.context("making a namespace")?;
        Ok(name)
    }

    /// Waits until the API answers that it is ready.
    pub async fn wait_ready(&self) -> Result<()> {
        let client = self.client().await?;
        let mut tick = tokio::time::interval(READY_INTERVAL);
        let ready = async {
            loop {
                tick.tick().await;
                let request = http::Request::get("/readyz").body(Vec::new())?;
                if client.request_text(request).await.is_ok() {
                    return Ok(());
                }
                for process in [&self.store, &self.server] {
                    if !process.is_alive() {
                        bail!("a server died while it started; {}", process.last_words());
                    }
                }
            }
        };
        match tokio::time::timeout(START_DEADLINE, ready).await {
            Ok(ready) => ready,
            Err(_) => bail!(
                "the API server was not ready after {} s; {}",
                START_DEADLINE.as_secs(),
                self.server.last_words()
            ),
        }
    }
}

/// The built program, or what to do about its absence.
pub(crate) fn program(program: Program) -> Result<PathBuf> {
    let path = programs::path(program)?;
    if !path.is_file() {
        bail!(
            "{} {} is not built yet ({} does not exist); `cargo xtask test` builds it",
            program.name(),
            program.version(),
            path.display()
        );
    }
    Ok(path)
}

async fn launch(etcd: &Path, api_server: &Path, service_ranges: &str) -> Result<ApiServer> {
    let [client_port, peer_port, secure_port] = free_ports()?;
    let etcd_endpoint = format!("http://127.0.0.1:{client_port}");
    let etcd_folder = fresh_folder("etcd")?;
    let store =
        Process::start("etcd", etcd, &etcd_folder, &etcd_arguments(&etcd_folder, &etcd_endpoint, peer_port))?;
    let folder = fresh_folder("kube-apiserver")?;
    write_credentials(&folder, secure_port)?;
    let mut arguments = api_server_arguments(&folder, &etcd_endpoint, secure_port);
    arguments.push(format!("--service-cluster-ip-range={service_ranges}"));
    let server = Process::start("kube-apiserver", api_server, &folder, &arguments)?;
    let kubeconfig = folder.join("admin.conf");
    let command = Start { program: api_server.to_owned(), folder, arguments };
    let api =
        ApiServer { server, store, command, kubeconfig, etcd_endpoint, namespaces: AtomicUsize::new(0) };
    api.wait_ready().await?;
    Ok(api)
}

/// Ports that nobody used a moment ago.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let listeners =
        (0..N).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<Vec<_>, _>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

pub(crate) fn fresh_folder(name: &str) -> Result<PathBuf> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("kamaji-e2e-{}-{count}-{name}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("making the folder {}", folder.display()))?;
    Ok(folder)
}

fn etcd_arguments(folder: &Path, endpoint: &str, peer_port: u16) -> Vec<String> {
    let peer = format!("http://127.0.0.1:{peer_port}");
    vec![
        format!("--data-dir={}/data", folder.display()),
        format!("--listen-client-urls={endpoint}"),
        format!("--advertise-client-urls={endpoint}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ]
}

fn api_server_arguments(folder: &Path, etcd_endpoint: &str, port: u16) -> Vec<String> {
    let file = |name: &str| folder.join(name).display().to_string();
    vec![
        format!("--etcd-servers={etcd_endpoint}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        format!("--client-ca-file={}", file("ca.crt")),
        format!("--tls-cert-file={}", file("server.crt")),
        format!("--tls-private-key-file={}", file("server.key")),
        "--authorization-mode=RBAC".to_owned(),
        // As in every tenant: kube-proxy asks for it.
        "--allow-privileged=true".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", file("sa.key")),
        format!("--service-account-signing-key-file={}", file("sa.key")),
        // Nobody here makes the service accounts that this one asks for.
        "--disable-admission-plugins=ServiceAccount".to_owned(),
        // The Service `kubernetes` needs an address that is not a loopback one.
        "--endpoint-reconciler-type=none".to_owned(),
    ]
}

/// Writes a PKI that is thrown away with the folder, and a kubeconfig that points into it.
fn write_credentials(folder: &Path, port: u16) -> Result<()> {
    let now = now();
    let authority = Authority::create("kamaji-e2e", now, VALIDITY)?;
    let names = Names {
        dns: BTreeSet::from(["localhost".to_owned()]),
        ips: BTreeSet::from([IpAddr::V4(Ipv4Addr::LOCALHOST)]),
    };
    let server = authority.issue(&leaf("kube-apiserver", &[], Usage::Server, names), now)?;
    let admin = authority.issue(&leaf("e2e", &["system:masters"], Usage::Client, Names::default()), now)?;
    fs::write(folder.join("ca.crt"), authority.certificate().pem())?;
    fs::write(folder.join("sa.key"), PrivateKey::generate()?.pem())?;
    write_pair(folder, "server", &server)?;
    write_pair(folder, "admin", &admin)?;
    // JSON is YAML.
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "e2e", "cluster": {
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority": folder.join("ca.crt"),
        } }],
        "users": [{ "name": "e2e", "user": {
            "client-certificate": folder.join("admin.crt"),
            "client-key": folder.join("admin.key"),
        } }],
        "contexts": [{ "name": "e2e", "context": { "cluster": "e2e", "user": "e2e", "namespace": "default" } }],
        "current-context": "e2e",
    });
    fs::write(folder.join("admin.conf"), kubeconfig.to_string())?;
    Ok(())
}

fn leaf(common_name: &str, organizations: &[&str], usage: Usage, names: Names) -> Leaf {
    Leaf {
        common_name: common_name.to_owned(),
        organizations: organizations.iter().map(|&name| name.to_owned()).collect(),
        usage,
        names,
        valid_for: VALIDITY,
    }
}

fn write_pair(folder: &Path, name: &str, pair: &Pair) -> Result<()> {
    fs::write(folder.join(name).with_extension("crt"), pair.certificate().pem())?;
    fs::write(folder.join(name).with_extension("key"), pair.key().pem())?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "certificates that a real server judges by the real time")]
fn now() -> Timestamp {
    Timestamp::now()
}
