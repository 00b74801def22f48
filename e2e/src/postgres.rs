//! A real PostgreSQL as tenants share it: TLS, passwords, and an administrator with no more rights than are needed.

use std::{
    fs,
    ops::Deref,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use jiff::SignedDuration;
use kamaji_datastore::config::{BasicAuth, Deadlines, Endpoint, Settings, Tls};
use kamaji_pki::{Authority, Pair};
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer, pki_types::pem::PemObject};
use tokio::{sync::OnceCell, task::JoinSet};
use tokio_postgres::{Config, config::SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;
use zeroize::Zeroizing;

use crate::{
    api_server::{self, process::Process},
    credentials::{self, Shown},
    etcd::{client_leaf, now},
};

/// The server's own administrator, who may do everything.
pub const SUPERUSER: &str = "postgres";
/// What the operator is: it may make roles and databases.
pub const OPERATOR: &str = "kamaji-operator";
/// An operator that shows a certificate too.
pub const BOTH: &str = "kamaji-both";
/// An operator that shows a certificate and has no password.
pub const CERTIFIED: &str = "kamaji-certified";
/// An operator that the server asks nothing.
pub const TRUSTED: &str = "kamaji-trusted";
/// An operator that may come in clear text.
pub const CLEAR: &str = "kamaji-clear";
/// The password of all of them.
pub const PASSWORD: &str = "only-for-a-test";

/// Where Debian has the programs of the version that the tests are for.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
/// Whom the server runs as when we are root, which it refuses to be.
const ACCOUNT: &str = "postgres";
/// How long a server may take to start on a machine that is busy with other things.
const START_DEADLINE: Duration = Duration::from_mins(1);
/// How often a server that starts is asked whether it is ready.
const READY_INTERVAL: Duration = Duration::from_millis(50);
/// How often a start is tried: a port that was free may be taken by the time the server binds it.
const ATTEMPTS: usize = 3;
/// How long a certificate of ours lasts.
const VALIDITY: SignedDuration = SignedDuration::from_hours(24);
/// Ends the server with whoever started it, even if that is killed: it then leaves nothing in the kernel.
const TETHER: &str = r#""$@" & wait"#;

/// Who may come how.
const HOSTS: &str = "\
hostssl all kamaji-certified all cert
hostssl all kamaji-both      all scram-sha-256 clientcert=verify-full
host    all kamaji-trusted   all trust
host    all kamaji-clear     all scram-sha-256
hostssl all all              all scram-sha-256
";

/// What the server's log tells of statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statements {
    /// Those that failed.
    Failed,
    /// All.
    All,
}

/// One PostgreSQL with an authority of its own. Its processes and files are gone once this is dropped, or our own process
/// has ended.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    folder: PathBuf,
    authority: Authority,
    endpoint: Endpoint,
}

/// A connection of a test. It ends when this is dropped.
pub struct Session {
    client: tokio_postgres::Client,
    _carrier: JoinSet<()>,
}

impl Deref for Session {
    type Target = tokio_postgres::Client;

    fn deref(&self) -> &Self::Target {
        &self.client
    }
}

impl Postgres {
    /// Starts a server of one's own and waits until it answers: a few seconds.
    ///
    /// # Errors
    /// When it is not installed (the text says how), or does not answer.
    pub async fn start() -> Result<Self> {
        Self::start_with(Statements::Failed, Shown::Sound).await
    }

    /// Starts a server of one's own with these options.
    pub async fn start_with(statements: Statements, shown: Shown) -> Result<Self> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            match launch(statements, shown).await {
                Ok(postgres) => return Ok(postgres),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("at least one attempt was made")?)
    }

    /// The server that all tests of this process share; started by the first of them.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The authority that signs its certificate and those of its clients.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// All that the server has logged so far.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.folder.join("log"))?).into_owned())
    }

    /// What the operator needs: the least right that will do, and no pause after a failure.
    pub fn settings(&self) -> Settings {
        self.settings_as(OPERATOR, PASSWORD)
    }

    /// What whoever has this name and password needs.
    pub fn settings_as(&self, user: &str, password: &str) -> Settings {
        Settings {
            endpoints: vec![self.endpoint.clone()],
            tls: Some(Tls { ca_pem: self.authority.certificate().pem().into(), client: None }),
            basic_auth: Some(BasicAuth {
                username: user.to_owned(),
                password: Zeroizing::new(password.to_owned()),
            }),
            deadlines: Deadlines { pause: Duration::ZERO, ..Deadlines::default() },
        }
    }

    /// A client certificate for this user.
    pub fn certificate_of(&self, user: &str) -> Result<Pair> {
        Ok(self.authority.issue(&client_leaf(user), now())?)
    }

    /// A connection of the one who may do everything.
    pub async fn superuser(&self, database: &str) -> Result<Session> {
        Ok(self.connect(SUPERUSER, PASSWORD, database).await?)
    }

    /// A connection of whoever has this name and password.
    ///
    /// # Panics
    /// Never: ring has what TLS 1.3 needs.
    pub async fn connect(
        &self,
        user: &str,
        password: &str,
        database: &str,
    ) -> Result<Session, tokio_postgres::Error> {
        let mut roots = RootCertStore::empty();
        let anchors = CertificateDer::pem_slice_iter(self.authority.certificate().pem().as_bytes());
        roots.add_parsable_certificates(anchors.filter_map(Result::ok));
        let tls = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("the provider has TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut config = Config::new();
        config.host(self.endpoint.address()).port(self.endpoint.port()).user(user).password(password);
        config.dbname(database).ssl_mode(SslMode::Require);
        let (client, connection) = config.connect(MakeRustlsConnect::new(tls)).await?;
        let mut carrier = JoinSet::new();
        carrier.spawn(async move { drop(connection.await) });
        Ok(Session { client, _carrier: carrier })
    }

    /// It shows this certificate to whoever comes from now on; the operator's connections are ended.
    pub async fn show(&self, superuser: &Session, shown: Shown) -> Result<()> {
        // Files that are there already keep their owner and their mode.
        credentials::write(&self.folder, &self.authority, "postgres", shown)?;
        superuser.batch_execute("SELECT pg_reload_conf()").await?;
        // The setting is in force when the server shows it to somebody new.
        let mut tick = tokio::time::interval(READY_INTERVAL);
        while self.superuser("postgres").await.is_ok() != (shown == Shown::Sound) {
            tick.tick().await;
        }
        self.end_sessions(superuser, OPERATOR).await
    }

    /// All connections of this user are ended.
    pub async fn end_sessions(&self, superuser: &Session, user: &str) -> Result<()> {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1";
        superuser.execute(end, &[&user]).await?;
        Ok(())
    }

    async fn wait_ready(&self) -> Result<Session> {
        let mut tick = tokio::time::interval(READY_INTERVAL);
        let ready = async {
            loop {
                if let Ok(session) = self.superuser("postgres").await {
                    return Ok(session);
                }
                tick.tick().await;
                if !self.process.is_alive() {
                    bail!("PostgreSQL died while it started; {}", self.process.last_words());
                }
            }
        };
        match tokio::time::timeout(START_DEADLINE, ready).await {
            Ok(ready) => ready,
            Err(_) => bail!("PostgreSQL did not answer within a minute; {}", self.process.last_words()),
        }
    }
}

async fn launch(statements: Statements, shown: Shown) -> Result<Postgres> {
    let [port] = api_server::free_ports()?;
    let folder = api_server::fresh_folder("postgres")?;
    let authority = Authority::create("kamaji-e2e-postgres", now(), VALIDITY)?;
    credentials::write(&folder, &authority, "postgres", shown)?;
    initialise(&folder)?;
    let arguments = arguments(&folder, port, statements);
    let process = Process::start("PostgreSQL", Path::new("sh"), &folder, &arguments)?;
    let endpoint = Endpoint::parse(&format!("127.0.0.1:{port}"))?;
    let postgres = Postgres { process, folder, authority, endpoint };
    if shown == Shown::Sound {
        let superuser = postgres.wait_ready().await?;
        for operator in [OPERATOR, BOTH, CERTIFIED, TRUSTED, CLEAR] {
            let make = format!("CREATE ROLE \"{operator}\" LOGIN CREATEROLE CREATEDB PASSWORD '{PASSWORD}'");
            superuser.batch_execute(&make).await?;
        }
    }
    Ok(postgres)
}

/// The files of a new server, which belong to the account that it runs as.
fn initialise(folder: &Path) -> Result<()> {
    let program = format!("{PROGRAMS}/initdb");
    ensure!(
        Path::new(&program).is_file(),
        "{program} does not exist; `apt-get install postgresql-15` brings it, and `cargo xtask test` does so itself"
    );
    fs::write(folder.join("hosts"), HOSTS)?;
    fs::write(folder.join("password"), PASSWORD)?;
    let files = ["ca.crt", "server.crt", "server.key", "hosts", "password"].map(|name| folder.join(name));
    if rustix::process::geteuid().is_root() {
        run(Command::new("chown").arg(format!("{ACCOUNT}:")).arg(folder).args(&files))?;
    }
    run(Command::new("chmod").arg("600").args(&files))?;
    let mut command = as_account();
    command.push(program);
    let mut initdb = Command::new(&command[0]);
    initdb.args(&command[1..]).arg("--pgdata").arg(folder.join("data"));
    initdb.arg("--pwfile").arg(folder.join("password"));
    initdb.args(["--username", SUPERUSER, "--auth=scram-sha-256", "--no-sync", "--encoding=UTF8"]);
    run(initdb.args(["--locale=C", "--no-instructions"]))
}

/// What comes before a program that must not be root's.
fn as_account() -> Vec<String> {
    let mut words = vec!["setpriv", "--pdeathsig", "QUIT"];
    if rustix::process::geteuid().is_root() {
        words.extend(["--reuid", ACCOUNT, "--regid", ACCOUNT, "--clear-groups"]);
    }
    words.into_iter().map(str::to_owned).collect()
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.current_dir("/").output().with_context(|| format!("running {command:?}"))?;
    ensure!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn arguments(folder: &Path, port: u16, statements: Statements) -> Vec<String> {
    let file = |name: &str| folder.join(name).display().to_string();
    let logged = if statements == Statements::All { "all" } else { "none" };
    let mut words: Vec<String> = ["-c", TETHER, "sh"].map(str::to_owned).into();
    words.extend(as_account());
    words.extend([format!("{PROGRAMS}/postgres"), "-D".to_owned(), file("data")]);
    let settings = [
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        format!("hba_file={}", file("hosts")),
        "ssl=on".to_owned(),
        format!("ssl_cert_file={}", file("server.crt")),
        format!("ssl_key_file={}", file("server.key")),
        format!("ssl_ca_file={}", file("ca.crt")),
        format!("log_statement={logged}"),
        "dynamic_shared_memory_type=mmap".to_owned(),
        "shared_buffers=16MB".to_owned(),
        "max_connections=60".to_owned(),
        "fsync=off".to_owned(),
        "full_page_writes=off".to_owned(),
        "synchronous_commit=off".to_owned(),
    ];
    words.extend(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]));
    words
}
