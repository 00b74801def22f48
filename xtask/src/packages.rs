//! The Debian packages that the local cluster and the tests need.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use crate::{command, progress::Progress};

/// A Debian package, and a file of it by which its presence is known.
struct Package {
    name: &'static str,
    probe: &'static str,
}

/// Where programs of root are looked for, whatever the caller's `PATH` says.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const PACKAGES: &[Package] = &[
    Package {
        name: "containerd",
        probe: "containerd",
    },
    Package {
        name: "runc",
        probe: "runc",
    },
    Package {
        name: "containernetworking-plugins",
        probe: "/usr/lib/cni/bridge",
    },
    Package {
        name: "iproute2",
        probe: "ip",
    },
    Package {
        name: "iptables",
        probe: "iptables-save",
    },
    Package {
        name: "conntrack",
        probe: "conntrack",
    },
    Package {
        name: "ethtool",
        probe: "ethtool",
    },
    Package {
        name: "socat",
        probe: "socat",
    },
    Package {
        name: "busybox-static",
        probe: "busybox",
    },
    Package {
        name: "gcc",
        probe: "gcc",
    },
    Package {
        name: "libc6-dev",
        probe: "/usr/include/stdio.h",
    },
    Package {
        name: "protobuf-compiler",
        probe: "protoc",
    },
];

/// Makes every package present: installs what is missing when we are root, else ends with the command to run.
pub fn ensure(progress: &Progress) -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if program("apt-get").is_none() {
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

/// The full path of a program that root can run.
pub fn program(name: &str) -> Option<PathBuf> {
    PATH.split(':')
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
}

fn missing() -> Vec<&'static str> {
    PACKAGES
        .iter()
        .filter(|package| !is_present(package))
        .map(|package| package.name)
        .collect()
}

fn is_present(package: &Package) -> bool {
    Path::new(package.probe).is_absolute() && Path::new(package.probe).exists()
        || program(package.probe).is_some()
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
    command
        .args(["install", "--yes", "--no-install-recommends"])
        .args(names);
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
        assert!(is_present(&Package {
            name: "dash",
            probe: "sh"
        }));
        assert!(is_present(&Package {
            name: "base-files",
            probe: "/etc/passwd"
        }));
        assert!(!is_present(&Package {
            name: "none",
            probe: "no-such-program-here"
        }));
        assert!(!is_present(&Package {
            name: "none",
            probe: "/no/such/file"
        }));
    }
}
