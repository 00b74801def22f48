//! `cargo xtask`: see the library for what each command does.
#![allow(clippy::print_stdout, reason = "a command-line tool talks to the person who runs it")]

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::{
    bench::{self, Profile},
    cache::Cache,
    checks::{self, Extent},
    cluster::{self, worker},
    generate,
    programs::{self, Release},
    progress::Progress,
    quickstart,
};

/// Runs the local cluster, tries the operator out, tests everything.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// The local management cluster.
    #[command(subcommand)]
    Cluster(ClusterTask),
    /// Builds the upstream programs that the cluster and the tests use, as far as they are not there yet.
    Programs,
    /// Sets everything up, creates a sample tenant and shows it answering.
    Quickstart {
        /// Use the cluster of this kubeconfig, with the operator's published image, instead of the local one.
        #[arg(long, value_name = "FILE")]
        kubeconfig: Option<PathBuf>,
    },
    /// Tests everything: format, lints, generated files, units, real servers, whole tenants.
    Test {
        /// Only what needs no server.
        #[arg(long)]
        quick: bool,
    },
    /// Measures.
    #[command(subcommand)]
    Bench(BenchTask),
    /// Writes the files that are made from code: definitions, rights, reference.
    Generate {
        /// Write nothing; name the files that are stale, and fail if there are any.
        #[arg(long)]
        check: bool,
    },
}

#[derive(Subcommand)]
enum ClusterTask {
    /// Starts the cluster, or repairs one that runs.
    Up,
    /// Ends the cluster and leaves nothing of it but built programs and images.
    Down,
    /// Says what runs, and where the kubeconfig is.
    Status,
    /// Imports the images of an OCI or Docker archive.
    LoadImage {
        /// The archive.
        file: PathBuf,
    },
    /// Machines that join tenants.
    #[command(subcommand)]
    Worker(WorkerTask),
}

#[derive(Subcommand)]
enum WorkerTask {
    /// Makes a machine, runs this `kubeadm join` command on it, and waits until its Node is Ready.
    Add {
        /// What it is called, here and in the tenant.
        name: String,
        /// The command to join with, after `--`, as `kamaji join-command` prints it.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Ends a machine and leaves nothing of it; delete its Node in the tenant, too.
    Remove {
        /// What it is called.
        name: String,
    },
    /// Says which there are.
    List,
    /// Runs a command on a machine.
    Exec {
        /// What the machine is called.
        name: String,
        /// The command, after `--`.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

#[derive(Subcommand)]
enum BenchTask {
    /// How long a tenant takes to be Ready on the local cluster, beside what the machine allows at best.
    Provision {
        /// How often a lone tenant is made.
        #[arg(long, value_name = "N", default_value_t = 5)]
        runs: usize,
        /// How many tenants are made at once.
        #[arg(long, value_name = "N", default_value_t = 16)]
        tenants: usize,
    },
    /// What datastores of each kind cost: accounts, tenants and migrations, on servers of its own.
    Datastore {
        /// How many tenants are made on each kind, one after the other.
        #[arg(long, value_name = "N", default_value_t = 20)]
        tenants: usize,
        /// How many accounts are made and removed in each, one after the other.
        #[arg(long, value_name = "N", default_value_t = 100)]
        accounts: usize,
        /// How much data is moved between them, in MiB.
        #[arg(long, value_name = "MIB", default_value_t = 256)]
        mib: u32,
        /// Measure what `cargo build` makes, which is there already if the tests ran, not the released program.
        #[arg(long)]
        development: bool,
    },
    /// What changes of a tenant take on the local cluster, and what clients notice of them.
    Lifecycle {
        /// How often a tenant that nobody uses is changed.
        #[arg(long, value_name = "N", default_value_t = 3)]
        runs: usize,
    },
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error}");
            error.chain().skip(1).for_each(|cause| eprintln!("  because: {cause}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let cache = Cache::of_this_user()?;
    match Arguments::parse().task {
        Task::Cluster(task) => run_cluster_task(&cache, task),
        Task::Programs => programs::ensure(&cache, &Progress::default(), &checks::programs()),
        Task::Quickstart { kubeconfig } => quickstart::run(&cache, kubeconfig.as_deref()),
        Task::Test { quick: true } => checks::run(&cache, Extent::Hermetic),
        Task::Test { quick: false } => checks::run(&cache, Extent::Everything),
        Task::Bench(BenchTask::Provision { runs, tenants }) => {
            bench::provision(&cache, bench::Extent { runs, tenants })
        }
        Task::Bench(BenchTask::Datastore { tenants, accounts, mib, development }) => {
            let profile = if development { Profile::Development } else { Profile::Release };
            bench::datastore(&cache, profile, &bench::Amounts { tenants, accounts, mib })
        }
        Task::Bench(BenchTask::Lifecycle { runs }) => bench::lifecycle(&cache, runs),
        Task::Generate { check: true } => generate::check(),
        Task::Generate { check: false } => generate::write(),
    }
}

fn run_cluster_task(cache: &Cache, task: ClusterTask) -> Result<()> {
    let progress = Progress::default();
    match task {
        ClusterTask::Up => {
            cluster::up(cache, &progress, &Release::ALL)?;
            progress.line("the local cluster is up");
            println!("\nkubeconfig: {0}\n  export KUBECONFIG={0}", cluster::kubeconfig(cache).display());
            Ok(())
        }
        ClusterTask::Down => cluster::down(cache, &progress),
        ClusterTask::Status => cluster::status(cache),
        ClusterTask::LoadImage { file } => cluster::load_image(cache, &file),
        ClusterTask::Worker(task) => run_worker_task(cache, &progress, task),
    }
}

fn run_worker_task(cache: &Cache, progress: &Progress, task: WorkerTask) -> Result<()> {
    match task {
        WorkerTask::Add { name, command } => worker::add(cache, progress, &name, &command),
        WorkerTask::Remove { name } => progress.step("ending the worker", || worker::remove(cache, &name)),
        WorkerTask::List => {
            for worker in worker::list(cache)? {
                println!("{worker}");
            }
            Ok(())
        }
        WorkerTask::Exec { name, command } => worker::execute(cache, &name, &command),
    }
}
