//! `cargo xtask bench lifecycle`: what changes of a tenant take on the local cluster, and what its users notice of them.
//! docs/benchmarks.md says what the figures are.
#![allow(clippy::print_stdout, reason = "figures for who runs it")]

mod alone;
mod used;

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Parser;
use kamaji_e2e::{figures, tenant::in_lab};

/// How much is measured, and against what.
#[derive(Parser)]
struct Arguments {
    /// How often a tenant that nobody uses is changed.
    #[arg(long)]
    runs: usize,
    /// How long a bare Deployment of a tenant's containers takes to be ready, in milliseconds.
    #[arg(long)]
    floor: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { runs, floor } = Arguments::parse();
    ensure!(runs > 0 && floor > 0, "nothing is measured with 0 runs or a floor of 0 ms");
    in_lab("bench-lifecycle", async |lab| {
        let mut lines = alone::measure(lab, runs, Duration::from_millis(floor)).await?;
        lines.extend(used::measure(lab).await?);
        println!("\n{}", figures::table(&lines));
        Ok(())
    })
    .await
}
