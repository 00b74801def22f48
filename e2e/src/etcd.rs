//! A real etcd as tenants share it: TLS, client certificates demanded, authentication on.

pub mod proxy;

use std::{fs, ops::Deref, path::Path, time::Duration};

use anyhow::{Result, bail};
use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions, UserAddOptions};
use jiff::{SignedDuration, Timestamp};
use kamaji_api::v1alpha1::Driver;
use kamaji_datastore::{
    config::{Deadlines, Settings, Tls},
    store::Store,
};
use kamaji_pki::{Authority, Leaf, Names, Pair, Usage};
use tokio::sync::OnceCell;
use xtask::programs::Program;
use zeroize::Zeroizing;

use crate::{
    api_server::{self, process::Process},
    database::{Change, Database, Host, Open, Site, attempt},
};

/// How long a certificate of ours lasts; a test run is over long before.
const VALIDITY: SignedDuration = SignedDuration::from_hours(24);
/// How long a client of a test waits for one answer.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// Whether etcd asks who makes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// It does; `root` may do everything.
    On,
    /// It does not, as when it was installed and nobody turned it on.
    Off,
}

/// What to start.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether it asks who makes a request.
    pub authentication: Authentication,
    /// How large its data may grow, in bytes; 0 for etcd's default.
    pub quota_bytes: u64,
}

/// One etcd with an authority of its own.
#[derive(Debug)]
pub struct Etcd {
    host: Host,
    root: Pair,
}

impl Deref for Etcd {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl Database for Etcd {
    const DRIVER: Driver = Driver::Etcd;
    const OPEN: Open = Store::etcd;

    async fn start() -> Result<Self> {
        Self::start().await
    }

    fn settings(&self) -> Settings {
        self.settings_with(&self.root)
    }

    async fn change(&self, change: Change) -> Result<()> {
        bail!("etcd keeps what it was started with: {change:?}")
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { authentication: Authentication::On, quota_bytes: 0 }
    }
}

impl Etcd {
    /// Starts an etcd of one's own, and waits until it answers: less than a second on an idle machine.
    ///
    /// # Errors
    /// When it has not been built yet (the text says how), or does not answer.
    pub async fn start() -> Result<Self> {
        Self::start_with(Options::default()).await
    }

    /// Starts an etcd of one's own with these options.
    pub async fn start_with(options: Options) -> Result<Self> {
        attempt(async || launch(Site::new("etcd")?, options, &[]).await).await
    }

    /// Starts an etcd of one's own whose certificate this authority has signed, and which lets in clients of these too.
    pub async fn start_under(authority: &Authority, clients_of: &[&Authority]) -> Result<Self> {
        let site = || Site::under("etcd", authority.clone());
        attempt(async || launch(site()?, Options::default(), clients_of).await).await
    }

    /// The etcd that all tests of this process share; started by the first of them.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Etcd> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// What the operator needs: the identity `root`, and no pause after a failure.
    pub fn settings(&self) -> Settings {
        Database::settings(self)
    }

    /// What the user of this name needs.
    pub fn settings_as(&self, user: &str) -> Result<Settings> {
        Ok(self.settings_with(&self.certificate_of(user)?))
    }

    /// What whoever holds this certificate needs.
    pub fn settings_with(&self, client: &Pair) -> Settings {
        let key = Zeroizing::new(client.key().pem().as_bytes().to_vec());
        Settings {
            endpoints: vec![self.endpoint().clone()],
            tls: Some(Tls {
                ca_pem: self.authority().certificate().pem().into(),
                client: Some((client.certificate().pem().into(), key)),
            }),
            basic_auth: None,
            deadlines: Deadlines { pause: Duration::ZERO, ..Deadlines::default() },
        }
    }

    /// A client that may do everything. It lives as long as the runtime it is made in.
    pub async fn root(&self) -> Result<Client> {
        self.client_with(&self.root).await
    }

    /// A client that is the user of this name. It lives as long as the runtime it is made in.
    pub async fn client(&self, user: &str) -> Result<Client> {
        self.client_with(&self.certificate_of(user)?).await
    }

    async fn client_with(&self, pair: &Pair) -> Result<Client> {
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(self.authority().certificate().pem()))
            .identity(Identity::from_pem(pair.certificate().pem(), pair.key().pem()));
        let options = ConnectOptions::new().with_tls(tls).with_timeout(REQUEST_DEADLINE);
        Ok(Client::connect([format!("https://{}", self.endpoint())], Some(options)).await?)
    }

    async fn turn_authentication_on(&self) -> Result<()> {
        let mut client = self.root().await?;
        client.role_add("root").await?;
        client.user_add("root", "", Some(UserAddOptions::new().with_no_pwd())).await?;
        client.user_grant_role("root", "root").await?;
        client.auth_enable().await?;
        Ok(())
    }
}

/// A client certificate for the user of this name.
pub fn client_leaf(user: &str) -> Leaf {
    Leaf {
        common_name: user.to_owned(),
        organizations: Vec::new(),
        usage: Usage::Client,
        names: Names::default(),
        valid_for: VALIDITY,
    }
}

/// The time by which real servers judge certificates.
#[expect(clippy::disallowed_methods, reason = "certificates that a real server judges by the real time")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

async fn launch(site: Site, options: Options, clients_of: &[&Authority]) -> Result<Etcd> {
    let program = api_server::program(Program::Etcd)?;
    let [peer_port] = api_server::free_ports()?;
    let trusted = [&site.authority].into_iter().chain(clients_of.iter().copied());
    let trusted: Vec<&str> = trusted.map(|authority| authority.certificate().pem()).collect();
    fs::write(site.folder.join("ca.crt"), trusted.join("\n"))?;
    let arguments = arguments(&site.folder, site.port, peer_port, options);
    let process = Process::start("etcd", &program, &site.folder, &arguments)?;
    let root = site.authority.issue(&client_leaf("root"), now())?;
    let etcd = Etcd { host: site.host(process)?, root };
    let client = etcd.root().await?;
    etcd.until(async || client.clone().get("/", None).await).await?;
    if options.authentication == Authentication::On {
        etcd.turn_authentication_on().await?;
    }
    Ok(etcd)
}

fn arguments(folder: &Path, client_port: u16, peer_port: u16, options: Options) -> Vec<String> {
    let file = |name: &str| folder.join(name).display().to_string();
    let (client, peer) =
        (format!("https://127.0.0.1:{client_port}"), format!("http://127.0.0.1:{peer_port}"));
    vec![
        format!("--data-dir={}", file("data")),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        format!("--trusted-ca-file={}", file("ca.crt")),
        format!("--cert-file={}", file("server.crt")),
        format!("--key-file={}", file("server.key")),
        "--client-cert-auth".to_owned(),
        // It would need a client certificate of its own.
        "--enable-grpc-gateway=false".to_owned(),
        format!("--quota-backend-bytes={}", options.quota_bytes),
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ]
}
