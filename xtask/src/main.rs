//! `cargo xtask`: see the library for what each command does.
#![allow(clippy::print_stdout, reason = "a command-line tool talks to the person who runs it")]

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::{cache::Cache, cluster, generate, progress::Progress};

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
}

fn main() -> Result<()> {
    let cache = Cache::of_this_user()?;
    match Arguments::parse().task {
        Task::Cluster(task) => run_cluster_task(&cache, task),
        Task::Generate { check } => generate::run(check),
    }
}

fn run_cluster_task(cache: &Cache, task: ClusterTask) -> Result<()> {
    let progress = Progress::default();
    match task {
        ClusterTask::Up => {
            cluster::up(cache, &progress)?;
            progress.line("the local cluster is up");
            println!("\nkubeconfig: {0}\n  export KUBECONFIG={0}", cluster::kubeconfig(cache).display());
            Ok(())
        }
        ClusterTask::Down => cluster::down(cache, &progress),
        ClusterTask::Status => cluster::status(cache),
        ClusterTask::LoadImage { file } => cluster::load_image(cache, &file),
    }
}
