//! What the cluster changes on the machine itself, and how it is undone.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{
    firewall,
    layout::{NODE_ADDRESS, NODE_INTERFACE, POD_BRIDGE},
    state::State,
};
use crate::{command, packages};

/// Kernel settings that the cluster needs.
const WANTED_SETTINGS: &[(&str, &str)] = &[
    ("net/ipv4/ip_forward", "1"),
    // Each tenant's programs watch files; 128, a common default, is used up by about 16 tenants.
    ("fs/inotify/max_user_instances", "8192"),
];

/// Kernel settings that kubelet and kube-proxy change by themselves.
const TOUCHED_SETTINGS: &[&str] = &[
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/ipv4/conf/all/route_localnet",
    "net/bridge/bridge-nf-call-iptables",
    // For workers, whose kube-proxy cannot.
    "net/netfilter/nf_conntrack_max",
];

/// Folders outside our own that some program makes without asking.
const TOUCHED_PATHS: &[&str] = &[
    "/etc/cni",
    "/etc/kubernetes",
    "/lib/modules",
    "/opt/cni",
    "/opt/containerd",
    "/run/containerd",
    "/run/mount",
    "/run/netns",
    "/run/xtables.lock",
    "/usr/libexec/kubernetes",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
];

/// Notes what the machine was like, once, before the first change.
pub(super) fn look_at(state: &mut State) -> Result<()> {
    if state.machine_seen {
        return Ok(());
    }
    let chains = firewall::chains()?;
    if let Some(chain) = chains.iter().find(|chain| chain.starts_with("KUBE-")) {
        bail!(
            "another Kubernetes node seems to run on this machine (packet filter chain {chain}); \
             end it, or use it with `cargo xtask quickstart --kubeconfig FILE`"
        );
    }
    state.foreign_chains = chains;
    state.foreign_tables = firewall::tables()?;
    state.kernel_settings = WANTED_SETTINGS
        .iter()
        .map(|(name, _)| *name)
        .chain(TOUCHED_SETTINGS.iter().copied())
        .filter_map(|name| Some((name.to_owned(), read_setting(name)?)))
        .collect();
    state.absent_before = TOUCHED_PATHS.iter().map(PathBuf::from).filter(|path| !path.exists()).collect();
    state.machine_seen = true;
    Ok(())
}

/// Makes the kernel settings and the node's interface as the cluster needs them.
pub(super) fn prepare() -> Result<()> {
    // Built in or loaded already on many machines, where there may be no `modprobe` at all.
    for module in ["overlay", "br_netfilter"] {
        command::succeeds(Command::new("modprobe").arg(module));
    }
    for (name, value) in WANTED_SETTINGS {
        if read_setting(name).as_deref() != Some(*value) {
            write_setting(name, value)?;
        }
    }
    ensure_interface()
}

/// Removes the interfaces, the packet filter chains, control groups and changed kernel settings.
pub(super) fn restore(state: &State) -> Result<()> {
    remove_interfaces()?;
    firewall::clean_up(&state.foreign_chains, &state.foreign_tables)?;
    for (name, value) in &state.kernel_settings {
        if read_setting(name).as_ref() != Some(value) {
            write_setting(name, value)?;
        }
    }
    for path in &state.absent_before {
        remove(path)?;
    }
    Ok(())
}

/// Unmounts everything below these folders, the innermost first.
pub(super) fn unmount_below(folders: &[&Path]) -> Result<()> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("reading the mounts")?;
    let mut points: Vec<PathBuf> = mounts(&text).map(|mount| mount.point).collect();
    points.retain(|point| folders.iter().any(|folder| point.starts_with(folder)));
    // The table is in the order of mounting: later ones may lie inside or on top of earlier ones.
    for point in points.iter().rev() {
        command::output(Command::new("umount").arg("--lazy").arg(point))?;
    }
    Ok(())
}

/// The control groups that kubelet makes for Pods, one in each hierarchy.
pub(super) fn pod_groups() -> Result<Vec<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("reading the mounts")?;
    let groups = mounts(&text)
        .filter(|mount| mount.kind == "cgroup" || mount.kind == "cgroup2")
        .map(|mount| mount.point.join("kubepods"))
        .filter(|group| group.is_dir());
    Ok(groups.collect())
}

/// The hierarchies of control groups of version 1, of which there are none where only version 2 is used.
pub(super) fn hierarchies() -> Result<Vec<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("reading the mounts")?;
    Ok(mounts(&text).filter(|mount| mount.kind == "cgroup").map(|mount| mount.point).collect())
}

/// The processes in a control group and in those below it.
pub(super) fn members(group: &Path) -> Vec<i32> {
    let own = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    own.lines()
        .filter_map(|pid| pid.parse().ok())
        .chain(inner_groups(group).iter().flat_map(|group| members(group)))
        .collect()
}

/// Removes a control group without processes, and those below it.
pub(super) fn remove_group(group: &Path) -> Result<()> {
    inner_groups(group).iter().try_for_each(|inner| remove_group(inner))?;
    fs::remove_dir(group).with_context(|| format!("removing the control group {}", group.display()))
}

/// Removes a file, or a folder with all that is in it; that it is gone already is fine.
pub(super) fn remove(path: &Path) -> Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    let result = if metadata.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    result.with_context(|| format!("removing {}", path.display()))
}

fn inner_groups(group: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(group) else {
        return Vec::new();
    };
    entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn read_setting(name: &str) -> Option<String> {
    fs::read_to_string(setting_path(name)).ok().map(|value| value.trim().to_owned())
}

fn write_setting(name: &str, value: &str) -> Result<()> {
    fs::write(setting_path(name), value).with_context(|| format!("setting the kernel's {name} to {value}"))
}

fn setting_path(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name)
}

fn ensure_interface() -> Result<()> {
    if !interface_exists(NODE_INTERFACE) {
        // Some kernels have no dummy interfaces; a bridge without members does as well.
        let add = |kind: &str| ip(&["link", "add", NODE_INTERFACE, "type", kind]);
        add("dummy").or_else(|_| add("bridge"))?;
    }
    ip(&["address", "replace", &format!("{NODE_ADDRESS}/24"), "dev", NODE_INTERFACE])?;
    ip(&["link", "set", NODE_INTERFACE, "up"])
}

fn remove_interfaces() -> Result<()> {
    // The Pods' ends vanish with the Pods' namespaces, but only after a while.
    let ends = fs::read_dir(format!("/sys/class/net/{POD_BRIDGE}/brif")).into_iter().flatten().flatten();
    for end in ends {
        let name = end.file_name().to_string_lossy().into_owned();
        if ip(&["link", "delete", &name]).is_err() && interface_exists(&name) {
            bail!("the interface {name} cannot be deleted");
        }
    }
    for interface in [POD_BRIDGE, NODE_INTERFACE] {
        if interface_exists(interface) {
            ip(&["link", "delete", interface])?;
        }
    }
    Ok(())
}

fn interface_exists(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists()
}

fn ip(arguments: &[&str]) -> Result<()> {
    command::output(Command::new(packages::program("ip")).args(arguments)).map(drop)
}

/// One line of `/proc/self/mountinfo`.
struct Mount {
    point: PathBuf,
    kind: String,
}

fn mounts(text: &str) -> impl Iterator<Item = Mount> {
    text.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        Some(Mount {
            point: unescape(before.split(' ').nth(4)?).into(),
            kind: after.split(' ').next()?.to_owned(),
        })
    })
}

/// The kernel writes blanks and backslashes in paths as three octal digits after a backslash.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_with_their_kind() {
        let text = "\
36 35 98:0 / /a\\040b rw,noatime shared:1 - tmpfs tmpfs rw
37 36 0:3 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
";
        let found: Vec<(PathBuf, String)> = mounts(text).map(|mount| (mount.point, mount.kind)).collect();
        assert_eq!(
            found,
            [("/a b".into(), "tmpfs".to_owned()), ("/sys/fs/cgroup/memory".into(), "cgroup".to_owned())]
        );
    }

    #[test]
    fn removing_what_is_gone_is_fine() {
        let folder = std::env::temp_dir().join(format!("kamaji-xtask-remove-{}", std::process::id()));
        fs::create_dir_all(folder.join("inner")).unwrap();
        remove(&folder).unwrap();
        assert!(!folder.exists());
        remove(&folder).unwrap();
    }
}
