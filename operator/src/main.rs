//! The `kamaji` program: see `kamaji --help`.

use clap::Parser;
use kamaji_operator::{Cli, run};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    run(Cli::parse()).await
}
