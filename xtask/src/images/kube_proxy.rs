//! The image of kube-proxy, with the packet filter's programs of this machine.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::{Entry, Image};
use crate::{
    cache::Cache,
    command, packages,
    programs::{Program, Release},
};

/// One program does it all; under which name it is called says what it does.
const FILTER: &str = "xtables-nft-multi";
const FILTER_NAMES: [&str; 6] =
    ["iptables", "iptables-restore", "iptables-save", "ip6tables", "ip6tables-restore", "ip6tables-save"];

/// kube-proxy of this release. A missing extension, or a library of one, would fail each of its syncs while its Pod
/// stays Ready, so all are in.
pub(super) fn image(cache: &Cache, release: Release) -> Result<Image> {
    let program = Program::KubeProxy(release);
    let filter = packages::program(FILTER);
    let extensions = extensions()?;
    let libraries = libraries(std::iter::once(&filter).chain(&extensions))?;
    let mut entries = vec![
        Entry::program(&program.path_in(cache), "/usr/local/bin/kube-proxy"),
        Entry::program(&filter, &format!("/usr/sbin/{FILTER}")),
    ];
    entries.extend(
        FILTER_NAMES.map(|name| Entry::Link { at: format!("/usr/sbin/{name}"), to: FILTER.to_owned() }),
    );
    entries.extend(
        extensions.iter().chain(&libraries).map(|file| Entry::program(file, &file.to_string_lossy())),
    );
    Ok(Image {
        entries,
        entrypoint: vec!["/usr/local/bin/kube-proxy".to_owned()],
        ..Image::named(format!("registry.k8s.io/kube-proxy:{}", release.version()))
    })
}

/// The files of the packet filter's matches and targets.
fn extensions() -> Result<Vec<PathBuf>> {
    let folders = fs::read_dir("/usr/lib").context("reading /usr/lib")?.flatten();
    let folders = folders.map(|entry| entry.path().join("xtables")).filter(|folder| folder.is_dir());
    let mut found: Vec<PathBuf> = folders
        .flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "so"))
        .collect();
    found.sort();
    ensure!(!found.is_empty(), "there are no extensions of iptables below /usr/lib; install iptables again");
    Ok(found)
}

/// What these files are linked to, the loader included.
fn libraries<'a>(files: impl Iterator<Item = &'a PathBuf>) -> Result<BTreeSet<PathBuf>> {
    Ok(paths_in(&command::output(Command::new("ldd").args(files))?).collect())
}

/// The paths in what `ldd` prints, as in `libm.so.6 => /lib/libm.so.6 (0x…)` and `/lib64/ld.so (0x…)`.
fn paths_in(listing: &str) -> impl Iterator<Item = PathBuf> {
    listing
        .lines()
        .filter(|line| line.starts_with(char::is_whitespace))
        .filter_map(|line| line.rsplit_once(" (")?.0.split("=>").last().map(str::trim))
        .map(Path::new)
        .filter(|path| path.is_absolute())
        .map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_the_listing() {
        let listing = "\
/usr/lib/xtables/libxt_limit.so:
\tlinux-vdso.so.1 (0x00007f00)
\tlibm.so.6 => /lib/libm.so.6 (0x00007f01)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f02)
";
        let found: Vec<PathBuf> = paths_in(listing).collect();
        assert_eq!(found, [Path::new("/lib/libm.so.6"), Path::new("/lib64/ld-linux-x86-64.so.2")]);
    }
}
