//! `cargo xtask test`: everything that must hold before a change is pushed.

use std::process::Command;

use anyhow::Result;

use crate::{
    cache::Cache,
    cluster, command, install, kubectl, packages,
    programs::{self, Program, Release},
    progress::Progress,
    workspace,
};

/// How much is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What needs no server.
    Hermetic,
    /// Everything, on real servers and the local cluster.
    Everything,
}

/// A check that is one call of cargo.
struct Check {
    name: &'static str,
    arguments: &'static [&'static str],
}

const HERMETIC: &[Check] = &[
    Check { name: "format", arguments: &["fmt", "--all", "--check"] },
    Check { name: "generated files", arguments: &["xtask", "generate", "--check"] },
    Check { name: "lints", arguments: &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"] },
    Check { name: "unit and golden tests", arguments: &["test"] },
];

/// Most of their time these tests wait for servers, so there are more of them at once than processors on a small machine.
const INTEGRATION: Check = Check {
    name: "integration tests (etcd, kube-apiserver)",
    arguments: &["test", "--package", "kamaji-e2e", "--test", "api_*", "--", "--test-threads=4"],
};

const END_TO_END: Check = Check {
    name: "end-to-end tests (local cluster)",
    arguments: &["test", "--package", "kamaji-e2e", "--test", "tenant_*"],
};

/// Runs the checks in order, the quick ones first, up to the first that fails; then says what took how long.
pub fn run(cache: &Cache, extent: Extent) -> Result<()> {
    let progress = Progress::default();
    let result = all(cache, &progress, extent);
    println!("\nwhat took how long:\n{}", progress.summary());
    result?;
    println!("\nall checks passed");
    Ok(())
}

fn all(cache: &Cache, progress: &Progress, extent: Extent) -> Result<()> {
    packages::ensure(progress, packages::Need::Compiling)?;
    HERMETIC.iter().try_for_each(|check| check.run(progress))?;
    if extent == Extent::Hermetic {
        return Ok(());
    }
    packages::ensure(progress, packages::Need::Cluster)?;
    programs::ensure(cache, progress, &programs())?;
    INTEGRATION.run(progress)?;
    with_cluster(cache, progress, || {
        install::in_local_cluster(cache, progress, &Release::ALL)?;
        END_TO_END.run(progress)
    })
}

/// Does this on the local cluster, which ends afterwards, also on failure, unless it ran before.
fn with_cluster(cache: &Cache, progress: &Progress, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let ran_before = cluster::is_up(cache)?;
    let result = work();
    if ran_before {
        progress.line("the local cluster ran before, so it goes on; `cargo xtask cluster down` ends it");
        return result;
    }
    let ended = cluster::down(cache, progress);
    // The first failure is the one to look at.
    result.and(ended)
}

/// The upstream programs that the tests use.
pub fn programs() -> Vec<Program> {
    let mut programs = cluster::programs(&Release::ALL);
    programs.extend([Program::Etcdctl, Program::Helm, Program::Kine, Program::Nats, kubectl::PROGRAM]);
    programs.extend(Release::ALL.into_iter().flat_map(cluster::worker::programs));
    programs.extend([Release::V1_33, Release::V1_34, Release::V1_35, Release::V1_36].map(Program::Kubeadm));
    programs
}

impl Check {
    fn run(&self, progress: &Progress) -> Result<()> {
        progress.speaking_step(self.name, || {
            command::show(Command::new("cargo").current_dir(workspace::root()).args(self.arguments))
        })
    }
}
