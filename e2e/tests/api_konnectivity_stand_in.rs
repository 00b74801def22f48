//! What stands in for konnectivity in our tests is a program of our own, so it must be tested itself: in its own language.

use std::process::Command;

use anyhow::Result;
use xtask::{command, programs::stand_in};

#[test]
fn the_stand_in_passes_its_own_tests() -> Result<()> {
    let mut go = Command::new("go");
    go.current_dir(stand_in::sources()).env("CGO_ENABLED", "0").env("GOWORK", "off").env_remove("GOFLAGS");
    command::output(go.args(["test", "-mod=readonly", "./..."])).map(drop)
}
