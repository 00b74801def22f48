//! A real MariaDB as tenants share it: TLS, passwords, and an administrator with no more rights than are needed.

use std::{
    fmt::Write as _,
    fs::{self, File},
    ops::Deref,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use kamaji_api::v1alpha1::Driver;
use kamaji_datastore::{config::Settings, store::Store};
use mysql_async::{Conn, OptsBuilder, SslOpts, prelude::Queryable};
use tokio::sync::OnceCell;

pub use crate::database::{BOTH, CERTIFIED, CLEAR, OPERATOR, PASSWORD, TRUSTED};
use crate::{
    api_server::process::Process,
    database::{Change, Database, Disk, Host, Open, Site, attempt, on},
};

/// The server's own administrator, who may do everything.
pub const SUPERUSER: &str = "root";
/// What our documentation asks an administrator to grant.
pub const RIGHTS: &str =
    "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, INDEX, ALTER, CREATE USER, PROCESS, CONNECTION ADMIN";

/// Where it keeps everything.
const DATA: &str = "data";
const PROGRAM: &str = "/usr/sbin/mariadbd";
/// What a new server's own tables are made by, in the order in which its installer reads them.
const TABLES: [&str; 3] = [
    "/usr/share/mysql/mysql_system_tables.sql",
    "/usr/share/mysql/mysql_performance_tables.sql",
    "/usr/share/mysql/mysql_system_tables_data.sql",
];
/// What the server's general log tells of statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statements {
    /// Nothing.
    None,
    /// All.
    All,
}

/// One MariaDB with an authority of its own.
#[derive(Debug)]
pub struct MariaDb(Host);

impl Deref for MariaDb {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.0
    }
}

impl Database for MariaDb {
    const DRIVER: Driver = Driver::MySql;
    const OPEN: Open = Store::mysql;

    async fn start() -> Result<Self> {
        Self::start().await
    }

    async fn change(&self, change: Change) -> Result<()> {
        let mut root = self.superuser().await?;
        let statement = match change {
            Change::Shows(shown) => {
                self.write_certificate(shown)?;
                "FLUSH SSL".to_owned()
            }
            Change::Password(password) => format!("ALTER USER '{OPERATOR}'@'%' IDENTIFIED BY '{password}'"),
            Change::ReadOnly => "SET GLOBAL read_only = 1".to_owned(),
            Change::Writable => "SET GLOBAL read_only = 0".to_owned(),
            Change::Full => return self.fill(DATA),
            Change::Roomy => return self.empty(DATA),
        };
        root.query_drop(statement).await?;
        Ok(root.disconnect().await?)
    }
}

impl MariaDb {
    /// Starts a server of one's own and waits until it answers: a few seconds.
    ///
    /// # Errors
    /// When it is not installed (the text says how), or does not answer.
    pub async fn start() -> Result<Self> {
        Self::start_with(Statements::None).await
    }

    /// Starts a server of one's own that logs these statements.
    pub async fn start_with(statements: Statements) -> Result<Self> {
        attempt(async || launch(statements, Disk::Shared).await).await
    }

    /// Starts a server of one's own whose data is on a disk that can be filled.
    pub async fn start_on_small_disk() -> Result<Self> {
        attempt(async || launch(Statements::None, Disk::Small).await).await
    }

    /// The server that all tests of this process share; started by the first of them.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<MariaDb> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// All that the server has logged of statements so far.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.file("statements"))?).into_owned())
    }

    /// What the operator needs: the least right that will do, and no pause after a failure.
    pub fn settings(&self) -> Settings {
        Database::settings(self)
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
        // Whoever cures a certificate must get in before it is sound; what the operator accepts is another matter.
        let tls = SslOpts::default().with_danger_accept_invalid_certs(true);
        let options = OptsBuilder::default()
            .ip_or_hostname(self.endpoint().address())
            .tcp_port(self.endpoint().port())
            .user(Some(user))
            .pass(Some(password))
            .db_name(database)
            .prefer_socket(false)
            .stmt_cache_size(1)
            .ssl_opts(tls);
        Conn::new(options).await
    }
}

async fn launch(statements: Statements, disk: Disk) -> Result<MariaDb> {
    // The client has no other way to be told: one provider for the whole process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let site = Site::new("mariadb")?;
    initialise(&site.folder)?;
    let arguments = arguments(&site.folder, site.port, statements);
    let (program, arguments) = on(disk, &site.folder.join(DATA), PROGRAM, arguments);
    let process = Process::start("MariaDB", &program, &site.folder, &arguments)?;
    let mariadb = MariaDb(site.host(process)?);
    mariadb.until(async || mariadb.superuser().await).await?;
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
