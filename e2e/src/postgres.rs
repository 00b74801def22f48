//! A real PostgreSQL as tenants share it: TLS, passwords, and an administrator with no more rights than are needed.

use std::{fs, ops::Deref, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use kamaji_api::v1alpha1::Driver;
use kamaji_datastore::{config::Settings, store::Store};
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer, pki_types::pem::PemObject};
use tokio::{sync::OnceCell, task::JoinSet};
use tokio_postgres::{Config, config::SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

pub use crate::database::{BOTH, CERTIFIED, CLEAR, OPERATOR, PASSWORD, TRUSTED};
use crate::{
    api_server::process::Process,
    database::{Change, Database, Disk, Host, Open, Site, attempt, on},
};

/// The server's own administrator, who may do everything.
pub const SUPERUSER: &str = "postgres";

/// Where Debian has the programs of the version that the tests are for.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
/// Where it keeps databases.
const DATABASES: &str = "data/base";
/// Whom the server runs as when we are root, which it refuses to be.
const ACCOUNT: &str = "postgres";
/// Ends the server with whoever started it, even if that is killed: it then leaves nothing in the kernel.
const TETHER: &str = r#""$@" & wait"#;

/// The table as kine makes it.
pub const KINE: &str = "\
CREATE TABLE IF NOT EXISTS kine (id BIGSERIAL PRIMARY KEY, name text COLLATE \"C\", created INTEGER, deleted INTEGER, \
 create_revision BIGINT, prev_revision BIGINT, lease INTEGER, value bytea, old_value bytea); \
CREATE INDEX IF NOT EXISTS kine_name_index ON kine (name); \
CREATE INDEX IF NOT EXISTS kine_name_id_index ON kine (name,id); \
CREATE INDEX IF NOT EXISTS kine_id_deleted_index ON kine (id,deleted); \
CREATE INDEX IF NOT EXISTS kine_prev_revision_index ON kine (prev_revision); \
CREATE UNIQUE INDEX IF NOT EXISTS kine_name_prev_revision_uindex ON kine (name, prev_revision); \
CREATE INDEX IF NOT EXISTS kine_list_query_index on kine(name, id DESC, deleted)";
/// So many values of 512 KiB that do not compress and differ in their first bytes, made by the server itself. All else is
/// made once for all of them, or it would take longer than what is to be measured.
const VALUES: &str = "\
INSERT INTO kine (name, created, deleted, create_revision, prev_revision, lease, value) \
 SELECT '/registry/big/' || i, 1, 0, 0, 0, 0, sha512(i::text::bytea) || base.value \
 FROM generate_series($1::int4, $2::int4) AS i, \
 (SELECT string_agg(sha512(j::text::bytea), ''::bytea) AS value FROM generate_series(1, 8191) AS j) AS base";

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

/// One PostgreSQL with an authority of its own.
#[derive(Debug)]
pub struct Postgres(Host);

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

impl Session {
    /// The tenant whose session this is has kine's table, and in it so many values of 512 KiB that do not compress.
    pub async fn fill_kine(&self, values: i32) -> Result<()> {
        self.batch_execute(KINE).await?;
        for first in (1..=values).step_by(16) {
            self.execute(VALUES, &[&first, &values.min(first + 15)]).await?;
        }
        Ok(())
    }
}

impl Deref for Postgres {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.0
    }
}

impl Database for Postgres {
    const DRIVER: Driver = Driver::PostgreSql;
    const OPEN: Open = Store::postgres;

    async fn start() -> Result<Self> {
        Self::start().await
    }

    async fn change(&self, change: Change) -> Result<()> {
        let statement = match change {
            Change::Shows(shown) => {
                self.write_certificate(shown)?;
                let file = fs::read_to_string(self.file("data/postmaster.pid"))?;
                return self.reload(file.lines().next().context("its number comes first")?.parse()?);
            }
            Change::Password(password) => format!("ALTER ROLE \"{OPERATOR}\" PASSWORD '{password}'"),
            Change::ReadOnly => "ALTER SYSTEM SET default_transaction_read_only = on".to_owned(),
            Change::Writable => "ALTER SYSTEM RESET default_transaction_read_only".to_owned(),
            Change::Full => return self.fill(DATABASES),
            Change::Roomy => return self.empty(DATABASES),
        };
        let root = self.superuser("postgres").await?;
        root.batch_execute(&statement).await?;
        Ok(root.batch_execute("SELECT pg_reload_conf()").await?)
    }
}

impl Postgres {
    /// Starts a server of one's own and waits until it answers: a few seconds.
    ///
    /// # Errors
    /// When it is not installed (the text says how), or does not answer.
    pub async fn start() -> Result<Self> {
        Self::start_with(Statements::Failed).await
    }

    /// Starts a server of one's own that logs these statements.
    pub async fn start_with(statements: Statements) -> Result<Self> {
        attempt(async || launch(statements, Disk::Shared).await).await
    }

    /// Starts a server of one's own whose databases are on a disk that can be filled; its log of transactions is not, or it
    /// would stop altogether.
    pub async fn start_on_small_disk() -> Result<Self> {
        attempt(async || launch(Statements::Failed, Disk::Small).await).await
    }

    /// The server that all tests of this process share; started by the first of them.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// All that the server has logged so far.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.file("log"))?).into_owned())
    }

    /// What the operator needs: the least right that will do, and no pause after a failure.
    pub fn settings(&self) -> Settings {
        Database::settings(self)
    }

    /// A connection of the one who may do everything.
    pub async fn superuser(&self, database: &str) -> Result<Session> {
        Ok(self.connect(SUPERUSER, PASSWORD, database).await?)
    }

    /// What the Go operator does for a tenant, statement by statement: a database and a role of this name.
    pub async fn make_as_go(&self, name: &str, password: &str) -> Result<()> {
        let operator = self.superuser("postgres").await?;
        for statement in [
            format!("CREATE DATABASE \"{name}\""),
            format!("CREATE ROLE \"{name}\" LOGIN PASSWORD '{password}'"),
            format!("GRANT CONNECT, CREATE ON DATABASE \"{name}\" TO \"{name}\""),
            format!("ALTER DATABASE \"{name}\" OWNER TO \"{name}\""),
        ] {
            operator.batch_execute(&statement).await?;
        }
        Ok(())
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
        let anchors = CertificateDer::pem_slice_iter(self.authority().certificate().pem().as_bytes());
        roots.add_parsable_certificates(anchors.filter_map(Result::ok));
        let tls = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("the provider has TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut config = Config::new();
        config.host(self.endpoint().address()).port(self.endpoint().port()).user(user).password(password);
        config.dbname(database).ssl_mode(SslMode::Require);
        let (client, connection) = config.connect(MakeRustlsConnect::new(tls)).await?;
        let mut carrier = JoinSet::new();
        carrier.spawn(async move { drop(connection.await) });
        Ok(Session { client, _carrier: carrier })
    }
}

async fn launch(statements: Statements, disk: Disk) -> Result<Postgres> {
    let site = Site::new("postgres")?;
    initialise(&site.folder)?;
    let arguments = arguments(&site.folder, site.port, statements);
    let (program, arguments) = on(disk, &site.folder.join(DATABASES), "sh", arguments);
    let process = Process::start("PostgreSQL", &program, &site.folder, &arguments)?;
    let postgres = Postgres(site.host(process)?);
    let superuser = postgres.until(async || postgres.superuser("postgres").await).await?;
    for operator in [OPERATOR, BOTH, CERTIFIED, TRUSTED, CLEAR] {
        let make = format!("CREATE ROLE \"{operator}\" LOGIN CREATEROLE CREATEDB PASSWORD '{PASSWORD}'");
        superuser.batch_execute(&make).await?;
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
