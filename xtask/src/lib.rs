//! Generates, checks, runs the local cluster, tests and measures: `cargo xtask help`.
