//! A real MariaDB as tenants share it: TLS, passwords, and an administrator with no more rights than are needed.

use std::{
    fmt::Write as _,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use jiff::SignedDuration;
use kamaji_datastore::config::{BasicAuth, Deadlines, Endpoint, Settings, Tls};
use kamaji_pki::{Authority, Pair};
use mysql_async::{Conn, OptsBuilder, SslOpts};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use crate::{
    api_server::{self, process::Process},
    credentials::{self, Shown},
    etcd::{client_leaf, now},
};

/// The server's own administrator, who may do everything.
pub const SUPERUSER: &str = "root";
/// What the operator is: it has the rights that our documentation asks for.
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
/// What our documentation asks an administrator to grant.
pub const RIGHTS: &str =
    "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, INDEX, ALTER, CREATE USER, PROCESS, CONNECTION ADMIN";

const PROGRAM: &str = "/usr/sbin/mariadbd";
/// What a new server's own tables are made by, in the order in which its installer reads them.
const TABLES: [&str; 3] = [
    "/usr/share/mysql/mysql_system_tables.sql",
    "/usr/share/mysql/mysql_performance_tables.sql",
    "/usr/share/mysql/mysql_system_tables_data.sql",
];
/// How long a server may take to start on a machine that is busy with other things.
const START_DEADLINE: Duration = Duration::from_mins(1);
/// How often a server that starts is asked whether it is ready.
const READY_INTERVAL: Duration = Duration::from_millis(50);
/// How often a start is tried: a port that was free may be taken by the time the server binds it.
const ATTEMPTS: usize = 3;
/// How long a certificate of ours lasts.
const VALIDITY: SignedDuration = SignedDuration::from_hours(24);

/// What the server's general log tells of statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statements {
    /// Nothing.
    None,
    /// All.
    All,
}

/// One MariaDB with an authority of its own. Its process and files are gone once this is dropped, or our own process has
/// ended.
#[derive(Debug)]
pub struct MariaDb {
    process: Process,
    folder: PathBuf,
    authority: Authority,
    endpoint: Endpoint,
}

impl MariaDb {
    /// Starts a server of one's own and waits until it answers: a few seconds.
    ///
    /// # Errors
    /// When it is not installed (the text says how), or does not answer.
    pub async fn start() -> Result<Self> {
        Self::start_with(Statements::None, Shown::Sound).await
    }

    /// Starts a server of one's own with these options.
    pub async fn start_with(statements: Statements, shown: Shown) -> Result<Self> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            match launch(statements, shown).await {
                Ok(mariadb) => return Ok(mariadb),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("at least one attempt was made")?)
    }

    /// The server that all tests of this process share; started by the first of them.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<MariaDb> = OnceCell::const_new();
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

    /// All that the server has logged of statements so far.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.folder.join("statements"))?).into_owned())
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
    pub async fn superuser(&self) -> Result<Conn> {
        Ok(self.connect(SUPERUSER, PASSWORD, None).await?)
    }

    /// A connection of whoever has this name and password.
    pub async fn connect(
        &self,
        user: &str,
        password: &str,
        database: Option<&str>,
    ) -> Result<Conn, mysql_async::Error> {
        let anchor = self.authority.certificate().pem().as_bytes().to_vec();
        let tls = SslOpts::default().with_root_certs(vec![anchor.into()]).with_disable_built_in_roots(true);
        let options = OptsBuilder::default()
            .ip_or_hostname(self.endpoint.address())
            .tcp_port(self.endpoint.port())
            .user(Some(user))
            .pass(Some(password))
            .db_name(database)
            .prefer_socket(false)
            .stmt_cache_size(1)
            .ssl_opts(tls);
        Conn::new(options).await
    }

    async fn wait_ready(&self) -> Result<()> {
        let mut tick = tokio::time::interval(READY_INTERVAL);
        let ready = async {
            loop {
                if self.superuser().await.is_ok() {
                    return Ok(());
                }
                tick.tick().await;
                if !self.process.is_alive() {
                    bail!("MariaDB died while it started; {}", self.process.last_words());
                }
            }
        };
        match tokio::time::timeout(START_DEADLINE, ready).await {
            Ok(ready) => ready,
            Err(_) => bail!("MariaDB did not answer within a minute; {}", self.process.last_words()),
        }
    }
}

async fn launch(statements: Statements, shown: Shown) -> Result<MariaDb> {
    // The client has no other way to be told: one provider for the whole process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let [port] = api_server::free_ports()?;
    let folder = api_server::fresh_folder("mariadb")?;
    let authority = Authority::create("kamaji-e2e-mariadb", now(), VALIDITY)?;
    credentials::write(&folder, &authority, "mariadb", shown)?;
    initialise(&folder)?;
    let process =
        Process::start("MariaDB", Path::new(PROGRAM), &folder, &arguments(&folder, port, statements))?;
    let endpoint = Endpoint::parse(&format!("127.0.0.1:{port}"))?;
    let mariadb = MariaDb { process, folder, authority, endpoint };
    if shown == Shown::Sound {
        mariadb.wait_ready().await?;
    }
    Ok(mariadb)
}

/// The files of a new server, as its installer makes them, and whom it knows.
fn initialise(folder: &Path) -> Result<()> {
    ensure!(
        Path::new(PROGRAM).is_file(),
        "{PROGRAM} does not exist; `apt-get install --no-install-recommends mariadb-server-core` brings it, and \
         `cargo xtask test` does so itself"
    );
    for name in ["data", "temporary"] {
        fs::create_dir(folder.join(name))?;
    }
    let mut tables = "CREATE DATABASE mysql;\nUSE mysql;\n".to_owned();
    for file in TABLES {
        tables.push_str(&fs::read_to_string(file).with_context(|| format!("reading {file}"))?);
    }
    fs::write(folder.join("tables"), tables)?;
    fs::write(folder.join("users"), users())?;
    let mut words = common_arguments(folder);
    words.extend(["--bootstrap", "--skip-networking"].map(str::to_owned));
    let output = Command::new(PROGRAM)
        .args(words)
        .stdin(Stdio::from(File::open(folder.join("tables"))?))
        .current_dir(folder)
        .output()
        .context("making the tables of a new MariaDB")?;
    ensure!(output.status.success(), "MariaDB cannot be set up: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The statements that make those whom the server knows, one a line.
fn users() -> String {
    let mut users = "DELETE FROM mysql.global_priv WHERE User = 'root';\nFLUSH PRIVILEGES;\n".to_owned();
    for (user, password, require) in [
        (SUPERUSER, PASSWORD, "SSL".to_owned()),
        (OPERATOR, PASSWORD, "SSL".to_owned()),
        (BOTH, PASSWORD, format!("SUBJECT '/CN={BOTH}'")),
        (CERTIFIED, "", format!("SUBJECT '/CN={CERTIFIED}'")),
        (TRUSTED, "", "NONE".to_owned()),
        (CLEAR, PASSWORD, "NONE".to_owned()),
    ] {
        let rights = if user == SUPERUSER { "ALL PRIVILEGES" } else { RIGHTS };
        let _ = writeln!(users, "CREATE USER '{user}'@'%' IDENTIFIED BY '{password}' REQUIRE {require};");
        let _ = writeln!(users, "GRANT {rights} ON *.* TO '{user}'@'%' WITH GRANT OPTION;");
    }
    users
}

fn common_arguments(folder: &Path) -> Vec<String> {
    let mut words = vec![
        "--no-defaults".to_owned(),
        format!("--datadir={}", folder.join("data").display()),
        // A server that starts deletes what it takes for its own of an earlier life, in the folder for all.
        format!("--tmpdir={}", folder.join("temporary").display()),
        "--innodb-flush-method=nosync".to_owned(),
        "--innodb-flush-log-at-trx-commit=0".to_owned(),
        "--innodb-doublewrite=0".to_owned(),
        "--innodb-buffer-pool-size=16M".to_owned(),
        "--innodb-log-file-size=8M".to_owned(),
        "--skip-sync-frm".to_owned(),
    ];
    if rustix::process::geteuid().is_root() {
        words.push("--user=root".to_owned());
    }
    words
}

fn arguments(folder: &Path, port: u16, statements: Statements) -> Vec<String> {
    let file = |name: &str| folder.join(name).display().to_string();
    let mut words = common_arguments(folder);
    words.extend([
        format!("--port={port}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--socket={}", file("socket")),
        format!("--pid-file={}", file("pid")),
        format!("--init-file={}", file("users")),
        format!("--ssl-cert={}", file("server.crt")),
        format!("--ssl-key={}", file("server.key")),
        format!("--ssl-ca={}", file("ca.crt")),
        "--skip-name-resolve".to_owned(),
        "--max-connections=60".to_owned(),
        "--log-output=FILE".to_owned(),
        format!("--general-log-file={}", file("statements")),
        format!("--general-log={}", u8::from(statements == Statements::All)),
    ]);
    words
}
