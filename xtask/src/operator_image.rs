//! The operator's static binary, which runs in an image made FROM scratch.

use std::{path::PathBuf, process::Command};

use anyhow::{Result, ensure};

use crate::{cache::Cache, command, workspace};

/// Naming the target keeps build scripts, which are no static programs, apart from the operator.
const TARGET: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };

/// A table of relocations that is read at the start, and so stays in memory, takes a hundredth of its usual size.
const COMPACT: &str = "-C link-arg=-Wl,-z,pack-relative-relocs";

/// Builds the operator as one static binary and returns where it lies.
///
/// Cargo's target folder for it is in the cache, so that a checkout's own builds and this one leave each other alone.
pub fn build(cache: &Cache) -> Result<PathBuf> {
    let target = cache.target();
    command::show(
        Command::new("cargo")
            .current_dir(workspace::root())
            .env("RUSTFLAGS", format!("-C target-feature=+crt-static {COMPACT}"))
            .env("CARGO_TARGET_DIR", &target)
            .args(["build", "--quiet", "--release", "--target", TARGET, "--package", "kamaji-operator"]),
    )?;
    let binary = target.join(TARGET).join("release").join("kamaji");
    ensure!(binary.is_file(), "cargo built the operator, but there is no {}", binary.display());
    Ok(binary)
}
