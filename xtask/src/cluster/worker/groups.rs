//! The control groups of a worker: inside of it they look like a machine's own.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{
    cluster::{
        machine,
        process::{self, Ending},
    },
    wait,
};

/// How long the kernel may take to let go of what has ended.
const LIMIT: Duration = Duration::from_secs(30);

/// The settings that are empty in a new group, in which no process can be then.
const INHERITED: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// Makes the worker's group in each hierarchy, and returns them.
pub(super) fn make(name: &str) -> Result<Vec<PathBuf>> {
    let hierarchies = machine::hierarchies()?;
    ensure!(
        !hierarchies.is_empty(),
        "this machine has control groups of version 2 only, which workers cannot be made of yet; \
         start it with `systemd.unified_cgroup_hierarchy=0`"
    );
    hierarchies
        .iter()
        .map(|hierarchy| {
            let group = hierarchy.join(group_name(name));
            fs::create_dir_all(&group)
                .with_context(|| format!("making the control group {}", group.display()))?;
            INHERITED.iter().try_for_each(|setting| inherit(hierarchy, &group, setting))?;
            Ok(group)
        })
        .collect()
}

/// Ends what is left in the worker's groups, and removes them.
pub(super) fn remove(name: &str) -> Result<()> {
    let groups: Vec<PathBuf> = machine::hierarchies()?
        .into_iter()
        .map(|hierarchy| hierarchy.join(group_name(name)))
        .filter(|group| group.is_dir())
        .collect();
    wait::until(&format!("the processes of the worker {name} to end"), LIMIT, || {
        let members = groups.iter().flat_map(|group| machine::members(group));
        let left: Vec<_> = members.filter_map(process::identity).collect();
        left.iter().try_for_each(|process| process::end(process, Ending::AtOnce))?;
        Ok(left.is_empty().then_some(()))
    })?;
    wait::until(&format!("the control groups of the worker {name} to be empty"), LIMIT, || {
        let left = groups.iter().filter(|group| group.exists());
        Ok(left.map(|group| machine::remove_group(group)).all(|result| result.is_ok()).then_some(()))
    })
}

fn group_name(worker: &str) -> String {
    format!("kamaji-worker-{worker}")
}

fn inherit(from: &Path, to: &Path, setting: &str) -> Result<()> {
    let (from, to) = (from.join(setting), to.join(setting));
    if !from.is_file() {
        return Ok(());
    }
    let value = fs::read(&from).with_context(|| format!("reading {}", from.display()))?;
    fs::write(&to, value).with_context(|| format!("writing {}", to.display()))
}
