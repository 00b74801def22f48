//! The Debian packages that the local cluster and the tests need.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use crate::{command, progress::Progress};

/// A Debian package, a file of it by which its presence is known, and who needs it.
struct Package {
    name: &'static str,
    probe: &'static str,
    need: Need,
}

/// What packages are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Compiling this workspace.
    Compiling,
    /// The local cluster and its images, which needs everything.
    Cluster,
}

/// Where programs of root are looked for, whatever the caller's `PATH` says.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const PACKAGES: &[Package] = &[
    package("protobuf-compiler", "protoc", Need::Compiling),
    package("containerd", "containerd", Need::Cluster),
    package("runc", "runc", Need::Cluster),
    package("containernetworking-plugins", "/usr/lib/cni/bridge", Need::Cluster),
    package("iproute2", "ip", Need::Cluster),
    package("iptables", "iptables-save", Need::Cluster),
    package("nftables", "nft", Need::Cluster),
    package("conntrack", "conntrack", Need::Cluster),
    package("ethtool", "ethtool", Need::Cluster),
    package("socat", "socat", Need::Cluster),
    package("busybox-static", "busybox", Need::Cluster),
    package("postgresql-15", "/usr/lib/postgresql/15/bin/postgres", Need::Cluster),
    package("mariadb-server-core", "mariadbd", Need::Cluster),
    package("gcc", "gcc", Need::Cluster),
    package("libc6-dev", "/usr/include/stdio.h", Need::Cluster),
];

const fn package(name: &'static str, probe: &'static str, need: Need) -> Package {
    Package { name, probe, need }
}

/// Makes these packages present: installs what is missing when we are root, else ends with the command to run.
pub fn ensure(progress: &Progress, need: Need) -> Result<()> {
    let missing = missing(need);
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if find("apt-get").is_none() {
        bail!(
            "these programs are missing: {names} (names of Debian packages); install them and run this again"
        );
    }
    if !rustix::process::geteuid().is_root() {
        bail!(
            "these Debian packages are missing: {names}; run\n  sudo apt-get update && sudo apt-get install --yes --no-install-recommends {names}"
        );
    }
    progress.step(&format!("installing {names}"), || install(&missing))
}

/// The full path of a program that root can run, or just its name when it is missing, to fail where it is started.
pub fn program(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| name.into())
}

fn find(name: &str) -> Option<PathBuf> {
    PATH.split(':').map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

fn missing(need: Need) -> Vec<&'static str> {
    let needed = PACKAGES.iter().filter(|package| package.need <= need);
    needed.filter(|package| !is_present(package)).map(|package| package.name).collect()
}

fn is_present(package: &Package) -> bool {
    Path::new(package.probe).is_absolute() && Path::new(package.probe).exists()
        || find(package.probe).is_some()
}

fn install(names: &[&str]) -> Result<()> {
    // The lists of a fresh machine may be empty or old: they are only fetched when the first try fails.
    if command::output(&mut apt_get_install(names)).is_ok() {
        return Ok(());
    }
    command::output(apt_get().arg("update"))?;
    command::output(&mut apt_get_install(names)).map(drop)
}

fn apt_get_install(names: &[&str]) -> Command {
    let mut command = apt_get();
    command.args(["install", "--yes", "--no-install-recommends"]).args(names);
    command
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_known_by_its_file() {
        assert!(is_present(&package("dash", "sh", Need::Cluster)));
        assert!(is_present(&package("base-files", "/etc/passwd", Need::Cluster)));
        assert!(!is_present(&package("none", "no-such-program-here", Need::Cluster)));
        assert!(!is_present(&package("none", "/no/such/file", Need::Cluster)));
    }
}
