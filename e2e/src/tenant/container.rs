//! The processes in a Pod's containers, seen from this machine, which is the node.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Pod;

/// Folders that the kernel and the container runtime fill, with nothing of ours in them.
const NOT_OURS: [&str; 3] = ["proc", "sys", "dev"];

/// The process in a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(u32);

/// The process of each container of a Pod on this machine, by container.
pub fn processes(pod: &Pod) -> Result<BTreeMap<String, Process>> {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses
        .map(|status| {
            let id = status.container_id.as_deref().and_then(|id| id.strip_prefix("containerd://"));
            let id = id.with_context(|| format!("container {} has not been started", status.name))?;
            Ok((status.name.clone(), process_of(id)?))
        })
        .collect()
}

fn process_of(container: &str) -> Result<Process> {
    let is_in = |id: &u32| {
        fs::read_to_string(format!("/proc/{id}/cgroup")).is_ok_and(|groups| groups.contains(container))
    };
    let ids = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    match ids.filter(is_in).collect::<Vec<u32>>()[..] {
        [id] => Ok(Process(id)),
        ref ids => bail!("container {container} has the processes {ids:?}, and not just one"),
    }
}

impl Process {
    /// Real, effective, saved and file system user and group, without repetitions.
    pub fn users_and_groups(self) -> Result<BTreeSet<String>> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let lines = status.lines().filter(|line| line.starts_with("Uid:") || line.starts_with("Gid:"));
        Ok(lines.flat_map(|line| line.split_whitespace().skip(1).map(str::to_owned)).collect())
    }

    /// Every file that the container holds, with its mode, but for the kernel's.
    pub fn files(self) -> Result<BTreeMap<PathBuf, u32>> {
        let root = PathBuf::from(format!("/proc/{}/root", self.0));
        let mut found = BTreeMap::new();
        collect(&root, Path::new("/"), &mut found)?;
        Ok(found)
    }

    /// The content of a file in the container.
    pub fn read(self, path: &Path) -> Result<Vec<u8>> {
        let path = Path::new("/proc").join(self.0.to_string()).join("root").join(path.strip_prefix("/")?);
        fs::read(&path).with_context(|| format!("reading {}", path.display()))
    }
}

/// Kubernetes keeps the files of a volume in a folder that begins with two dots, and links to them.
fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, u32>) -> Result<()> {
    let real = root.join(folder.strip_prefix("/")?);
    for entry in fs::read_dir(&real).with_context(|| format!("reading {}", real.display()))? {
        let name = entry?.file_name();
        let is_skipped = folder == Path::new("/") && NOT_OURS.iter().any(|skipped| name == **skipped);
        if is_skipped || name.as_encoded_bytes().starts_with(b"..") {
            continue;
        }
        let path = folder.join(&name);
        let metadata =
            fs::metadata(real.join(&name)).with_context(|| format!("reading {}", path.display()))?;
        if metadata.is_dir() {
            collect(root, &path, found)?;
        } else {
            found.insert(path, metadata.mode() & 0o7777);
        }
    }
    Ok(())
}
