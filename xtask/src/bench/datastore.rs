//! `cargo xtask bench datastore`, whose work is done by a program that may use the database drivers.

use std::process::Command;

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

/// How much is measured.
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
    let (flag, folder) = match profile {
        Profile::Release => (Some("--release"), "release"),
        Profile::Development => (None, "debug"),
    };
    let what =
        ["--package=kamaji-operator", "--bin=kamaji", "--package=kamaji-e2e", "--example=bench_datastore"];
    progress.speaking_step("building what is measured", || {
        let mut cargo = Command::new("cargo");
        command::show(cargo.current_dir(workspace::root()).arg("build").args(what).args(flag))
    })?;
    let program = workspace::root().join("target").join(folder).join("examples/bench_datastore");
    progress.speaking_step("measuring", || {
        let Amounts { tenants, accounts, mib } = amounts;
        let mut bench = Command::new(program);
        bench.arg(format!("--tenants={tenants}")).arg(format!("--accounts={accounts}"));
        command::show(bench.arg(format!("--mib={mib}")))
    })
}
