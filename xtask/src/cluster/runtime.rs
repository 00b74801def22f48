//! The container runtime's images, through containerd's own command line.

use std::{collections::BTreeMap, path::Path, process::Command};

use anyhow::Result;

use crate::{command, images::Archive, packages};

/// Whether the containerd with this socket answers.
pub(super) fn answers(socket: &Path) -> bool {
    command::succeeds(ctr(socket).arg("version"))
}

/// Imports those archives whose very content is not there yet, and returns the names of the imported images.
pub(super) fn import_missing(socket: &Path, archives: &[Archive]) -> Result<Vec<String>> {
    let present = digests(&command::output(ctr(socket).args(["images", "list"]))?);
    let missing = archives.iter().filter(|archive| present.get(&archive.name) != Some(&archive.digest));
    missing
        .map(|archive| {
            import(socket, &archive.path)?;
            Ok(archive.name.clone())
        })
        .collect()
}

/// Imports an OCI or Docker archive and returns what containerd said of it.
pub(super) fn import(socket: &Path, archive: &Path) -> Result<String> {
    command::output(ctr(socket).args(["images", "import", "--digests=false"]).arg(archive))
}

fn ctr(socket: &Path) -> Command {
    let mut command = Command::new(packages::program("ctr"));
    command.arg("--address").arg(socket).args(["--namespace", "k8s.io"]);
    command
}

/// Reads the table that `ctr images list` prints: the image's name first, its digest third.
fn digests(table: &str) -> BTreeMap<String, String> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut columns = line.split_whitespace();
            Some((columns.next()?.to_owned(), columns.nth(1)?.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_images_is_read() {
        let table = "\
REF                           TYPE                                       DIGEST      SIZE      PLATFORMS   LABELS
registry.k8s.io/pause:3.10.1  application/vnd.oci.image.manifest.v1+json sha256:ab12 708.0 KiB linux/amd64 -
";
        assert_eq!(
            digests(table),
            BTreeMap::from([("registry.k8s.io/pause:3.10.1".to_owned(), "sha256:ab12".to_owned())])
        );
        assert!(digests("").is_empty());
    }
}
