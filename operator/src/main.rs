//! The `kamaji` program: see `kamaji --help`.

use kamaji_operator::{Cli, run};

/// The operator waits far more than it works.
const THREADS: usize = 2;
/// Reading a large object takes deep calls; what is not used costs no memory.
const STACK: usize = 16 << 20;

fn main() -> anyhow::Result<std::process::ExitCode> {
    let arguments: Vec<_> = std::env::args_os().collect();
    let cli = Cli::called(&arguments).unwrap_or_else(|error| error.exit());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_stack_size(STACK)
        .enable_all()
        .build()?;
    runtime.block_on(run(cli))
}
