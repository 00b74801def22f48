//! The `kamaji` program, for tests that start it as a process.

use kamaji_operator::{Cli, run};

#[tokio::main]
async fn main() -> anyhow::Result<std::process::ExitCode> {
    let arguments: Vec<_> = std::env::args_os().collect();
    let cli = Cli::called(&arguments).unwrap_or_else(|error| error.exit());
    Box::pin(run(cli)).await
}
