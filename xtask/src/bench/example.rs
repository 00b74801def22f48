//! `cargo xtask bench datastore` and `cargo xtask bench lifecycle`, whose work is done by programs that may use all our crates.

use std::{process::Command, time::Duration};

use anyhow::Result;

use crate::{
    cache::Cache,
    command,
    packages::{self, Need},
    programs::{self, Program, Release},
    progress::Progress,
    workspace,
};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// The program as it is released, and the measure built alike.
    Release,
    /// What `cargo build` makes.
    Development,
}

/// How much is measured of datastores.
#[derive(Clone, Copy, Debug)]
pub struct Amounts {
    /// How many tenants are made on each kind of datastore.
    pub tenants: usize,
    /// How many accounts are made and removed in each.
    pub accounts: usize,
    /// How much data is moved, in MiB.
    pub mib: u32,
}

/// Measures on servers that it starts and ends itself, and prints the figures.
pub fn datastore(cache: &Cache, profile: Profile, amounts: &Amounts) -> Result<()> {
    let progress = Progress::default();
    packages::ensure(&progress, Need::Cluster)?;
    let needed = [Program::Etcd, Program::Nats, Program::KubeApiserver(Release::V1_34)];
    programs::ensure(cache, &progress, &needed)?;
    let Amounts { tenants, accounts, mib } = amounts;
    let words = [format!("--tenants={tenants}"), format!("--accounts={accounts}"), format!("--mib={mib}")];
    run(&progress, "bench_datastore", profile, &words)
}

/// Measures changes of tenants on the local cluster, and prints the figures. A bare Deployment takes as long as `floor`.
///
/// The operator is the installed one; what asks it need not be fast.
pub(super) fn lifecycle(progress: &Progress, runs: usize, floor: Duration) -> Result<()> {
    let words = [format!("--runs={runs}"), format!("--floor={}", floor.as_millis())];
    run(progress, "bench_lifecycle", Profile::Development, &words)
}

fn run(progress: &Progress, example: &str, profile: Profile, words: &[String]) -> Result<()> {
    let cargo = |verb: &str| {
        let mut cargo = Command::new("cargo");
        cargo.current_dir(workspace::root()).args([verb, "--package=kamaji-e2e", "--example", example]);
        if profile == Profile::Release {
            cargo.arg("--release");
        }
        cargo
    };
    progress.speaking_step("building what is measured", || command::show(&mut cargo("build")))?;
    progress.speaking_step("measuring", || {
        // Clients warn of servers that have not started yet; failures come with the result.
        command::show(cargo("run").env("RUST_LOG", "off").args(["--quiet", "--"]).args(words))
    })
}
