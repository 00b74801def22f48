//! What a migration takes: a tenant's data goes on a way through servers, and each part of the way is measured.

use std::{
    fs,
    ops::Deref,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use kamaji_api::v1alpha1::Driver;
use kamaji_datastore::migrate::{Asked, Migration, Next, Position, Servers};
use kamaji_e2e::{
    database::{Database, Host},
    etcd::{Etcd, Options},
    figures::Line,
    mariadb::MariaDb,
    nats::{self, JetStream, Nats},
    postgres::Postgres,
};
use kamaji_operator::migrate::{KeyPair, Login, Route, Station};

use crate::accounts::{PASSWORD, account};

/// The way, on which every pair is passed. What cannot be passed yet is said, and the way goes on behind it.
const WAY: [Driver; 11] = [
    Driver::PostgreSql,
    Driver::PostgreSql,
    Driver::Etcd,
    Driver::Etcd,
    Driver::PostgreSql,
    Driver::MySql,
    Driver::MySql,
    Driver::PostgreSql,
    Driver::Nats,
    Driver::Nats,
    Driver::PostgreSql,
];
/// The word that makes a process of this program what `kamaji` is when it migrates.
pub(crate) const PROGRAM: &str = "migrate";
/// The tenant, and its names everywhere.
const NAME: &str = "bench";
/// More than any amount that is measured needs.
const QUOTA_BYTES: u64 = 8 << 30;
/// How often the source is asked whether it is fenced.
const GLANCE: Duration = Duration::from_millis(50);
/// How often the kernel is asked for the peak of a process, which only grows.
const LOOK: Duration = Duration::from_millis(5);

/// A server on the way.
struct Ground {
    station: Station,
    _server: Box<dyn Deref<Target = Host>>,
}

/// What one part of the way took.
struct Cost {
    time: Duration,
    /// How long nobody could have written.
    freeze: Duration,
    peak_kib: u64,
}

/// Every part of the way with so much data.
pub(crate) async fn all(mib: u32) -> Result<Vec<Line>> {
    let mut here = beginning(mib).await?;
    let mut lines = Vec::new();
    for pair in WAY.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let what = format!("{mib} MiB from {} to {}", from.as_str(), to.as_str());
        println!("moving {what}");
        if here.station.driver != from {
            lines.push(Line::new(what, "not in this version".to_owned()));
            continue;
        }
        let there = start(to).await?;
        let route = route(&here, &there, lines.len())?;
        if let Err(error) = route.migration() {
            lines.push(Line::new(what, format!("not in this version: {}", error.root_cause())));
            continue;
        }
        let Cost { time, freeze, peak_kib } = pass(&route).await?;
        let speed = f64::from(mib) / time.as_secs_f64();
        let measured = format!(
            "{speed:.1} MiB/s ({:.1} s), freeze {:.1} s (promised: ≤ {:.0} s), peak {} MiB",
            time.as_secs_f64(),
            freeze.as_secs_f64(),
            10.0 + f64::from(mib) / 10.0,
            peak_kib / 1024
        );
        println!("  {measured}");
        lines.push(Line::new(what, measured));
        here = there;
    }
    Ok(lines)
}

/// A PostgreSQL with the tenant and so much data.
async fn beginning(mib: u32) -> Result<Ground> {
    let postgres = Postgres::start().await?;
    let account = account(Driver::PostgreSql, NAME)?;
    Postgres::OPEN(postgres.settings())?.ensure(&account).await?;
    postgres.connect(NAME, PASSWORD, NAME).await?.fill_kine(2 * i32::try_from(mib)?).await?;
    ground(postgres)
}

async fn start(driver: Driver) -> Result<Ground> {
    match driver {
        Driver::Etcd => {
            ground(Etcd::start_with(Options { quota_bytes: QUOTA_BYTES, ..Options::default() }).await?)
        }
        Driver::PostgreSql => ground(Postgres::start().await?),
        Driver::MySql => ground(MariaDb::start().await?),
        Driver::Nats => {
            let jet_stream = JetStream::UpTo(QUOTA_BYTES);
            ground(Nats::start_with(nats::Options { jet_stream, ..nats::Options::default() }).await?)
        }
    }
}

fn ground<D: Database + 'static>(server: D) -> Result<Ground> {
    let settings = server.settings();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).context("PEM is text");
    let tls = settings.tls.context("TLS is set")?;
    let shown = |certificate: Vec<u8>, key: &[u8]| -> Result<KeyPair> {
        Ok(KeyPair { certificate: text(certificate)?, key: text(key.to_vec())?.into() })
    };
    let tenant = server.certificate_of(NAME)?;
    let has_password = matches!(D::DRIVER, Driver::PostgreSql | Driver::MySql);
    let station = Station {
        driver: D::DRIVER,
        endpoints: vec![server.endpoint().to_string()],
        authority: Some(text(tls.ca_pem)?),
        client: tls.client.map(|(certificate, key)| shown(certificate, &key)).transpose()?,
        login: settings.basic_auth.map(|login| Login { username: login.username, password: login.password }),
        schema: NAME.to_owned(),
        user: NAME.to_owned(),
        password: has_password.then(|| PASSWORD.to_owned().into()),
        tenant: (D::DRIVER == Driver::Etcd)
            .then(|| shown(tenant.certificate().pem().into(), tenant.key().pem().as_bytes()))
            .transpose()?,
    };
    Ok(Ground { station, _server: Box::new(server) })
}

fn route(from: &Ground, to: &Ground, number: usize) -> Result<Route> {
    let owner = account(from.station.driver, NAME)?.owner.to_string();
    let (from, to) = (from.station.clone(), to.station.clone());
    Ok(Route { token: format!("bench-{number}"), owner, from, to })
}

/// The data is moved by the program itself; what follows when the tenant's API servers are gone is done here.
async fn pass(route: &Route) -> Result<Cost> {
    let file = std::env::temp_dir().join(format!("kamaji-bench-{}.json", std::process::id()));
    fs::write(&file, route.text()?)?;
    let migration = route.migration()?;
    let started = Instant::now();
    let moved = tokio::try_join!(watched(&file), fenced(&migration));
    fs::remove_file(&file)?;
    let ((peak_kib, fenced), time) = (moved?, started.elapsed());
    let next = migration.run(Servers::Gone, &mut |_| {}).await?;
    ensure!(next == Next::Done, "the migration stops before its end: {next:?}");
    Ok(Cost { time, freeze: fenced.elapsed(), peak_kib })
}

/// When the source was first seen to be fenced; it stays so.
async fn fenced(migration: &Migration) -> Result<Instant> {
    let mut tick = tokio::time::interval(GLANCE);
    while migration.sight(Asked::Source).await?.position == Position::Open {
        tick.tick().await;
    }
    Ok(Instant::now())
}

/// The same as `kamaji migrate` has ended; returns the most memory that it had, in KiB.
async fn watched(route: &Path) -> Result<u64> {
    let words = [PROGRAM, "--tenant-control-plane=bench/bench", "--target-datastore=bench", "--timeout=1h"];
    let mut program = Command::new(std::env::current_exe()?)
        .args(words)
        .arg("--route")
        .arg(route)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("starting this program again")?;
    let mut peak = 0;
    let status = loop {
        peak = peak_of(&program).unwrap_or(peak);
        if let Some(status) = program.try_wait()? {
            break status;
        }
        tokio::time::sleep(LOOK).await;
    };
    ensure!(status.success(), "the migration failed");
    Ok(peak)
}

fn peak_of(program: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", program.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}
