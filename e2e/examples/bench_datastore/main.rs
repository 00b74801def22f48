//! `cargo xtask bench datastore`: what a datastore of each kind costs, on real servers. docs/benchmarks.md says what the
//! figures are.
#![allow(clippy::print_stdout, reason = "figures for who runs it")]

mod accounts;
mod migration;
mod tenants;

use anyhow::{Result, ensure};
use clap::Parser;
use kamaji_e2e::figures::{self, Line};
use kamaji_e2e::{database::Database, etcd::Etcd, mariadb::MariaDb, nats::Nats, postgres::Postgres};

/// How much is measured.
#[derive(Parser)]
struct Arguments {
    /// How many tenants are made on each kind of datastore, one after the other.
    #[arg(long)]
    tenants: usize,
    /// How many accounts are made and removed in each, one after the other.
    #[arg(long)]
    accounts: usize,
    /// How much data is moved, in MiB.
    #[arg(long)]
    mib: u32,
}

#[tokio::main]
async fn main() -> Result<std::process::ExitCode> {
    // What is measured of a migration is measured of a process that does nothing else: this one, called in another way.
    if std::env::args().nth(1).is_some_and(|word| word == migration::PROGRAM) {
        return kamaji_operator::run(kamaji_operator::Cli::parse()).await;
    }
    let arguments = Arguments::parse();
    ensure!(
        arguments.tenants > 0 && arguments.accounts > 0 && arguments.mib > 0,
        "0 of anything is no measure"
    );
    let mut lines = Vec::new();
    lines.extend(Box::pin(of_one_kind::<Etcd>(&arguments)).await?);
    lines.extend(Box::pin(of_one_kind::<Postgres>(&arguments)).await?);
    lines.extend(Box::pin(of_one_kind::<MariaDb>(&arguments)).await?);
    lines.extend(Box::pin(of_one_kind::<Nats>(&arguments)).await?);
    lines.push(Box::pin(tenants::beside_a_dead_datastore(arguments.tenants)).await?);
    lines.extend(Box::pin(migration::all(arguments.mib)).await?);
    println!("\n{}", figures::table(&lines));
    Ok(std::process::ExitCode::SUCCESS)
}

async fn of_one_kind<D: Database>(arguments: &Arguments) -> Result<Vec<Line>> {
    let driver = D::DRIVER.as_str();
    println!("measuring {driver}");
    let database = D::start().await?;
    let accounts = accounts::measure(&database, arguments.accounts).await?;
    let made = tenants::measure(&database, arguments.tenants).await?;
    Ok(vec![
        Line::of_times(format!("{driver}: an account made (`ensure`)"), &accounts.ensure),
        Line::of_times(format!("{driver}: an account removed (`remove`)"), &accounts.remove),
        Line::of_times(format!("{driver}: a tenant made, all but its Pods"), &made),
    ])
}
