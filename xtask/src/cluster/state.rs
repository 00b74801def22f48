//! What the cluster remembers between two commands.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::ErrorKind,
    path::PathBuf,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::layout::Layout;
use crate::cache::write_atomically;

/// Everything that `down` must know to leave the machine as `up` found it.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// The started programs by name.
    #[serde(default)]
    pub(super) processes: BTreeMap<String, Recorded>,
    /// Kernel settings by path under `/proc/sys`, with the values they had.
    #[serde(default)]
    pub(super) kernel_settings: BTreeMap<String, String>,
    /// Files and folders outside our own that were not there and that the programs may have made.
    #[serde(default)]
    pub(super) absent_before: BTreeSet<PathBuf>,
    /// Packet filter chains with names like ours that were there before.
    #[serde(default)]
    pub(super) foreign_chains: BTreeSet<String>,
    /// Packet filter tables, as in `ip nat`, that were there before.
    #[serde(default)]
    pub(super) foreign_tables: BTreeSet<String>,
    /// Whether the machine was looked at before anything was changed.
    #[serde(default)]
    pub(super) machine_seen: bool,
}

/// A program that was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recorded {
    /// Its process.
    pub(super) identity: Identity,
    /// Digest of its program, arguments and configuration.
    pub(super) digest: String,
}

/// Names a process so that a later one with the same number is not taken for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// The process number.
    pub(super) pid: i32,
    /// Clock ticks from the machine's start to the process's.
    pub(super) started: u64,
    /// The machine's start.
    pub(super) boot: String,
}

/// What to do about a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It runs as wanted.
    Keep,
    /// It does not run.
    Start,
    /// It runs with other arguments or another configuration.
    Restart,
}

impl State {
    /// Reads the state; a cluster that was never started has an empty one.
    pub(super) fn read(layout: &Layout) -> Result<Self> {
        let path = path(layout);
        match fs::read(&path) {
            Ok(content) => serde_json::from_slice(&content).with_context(|| {
                format!("reading {}; if it is damaged, remove it and end what it names", path.display())
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// Writes the state.
    pub(super) fn write(&self, layout: &Layout) -> Result<()> {
        let content = serde_json::to_vec_pretty(self).context("encoding the cluster's state")?;
        write_atomically(&path(layout), &content)
    }
}

/// Decides what to do about a program that should run with this digest.
pub(super) fn decide(
    recorded: Option<&Recorded>,
    alive: impl Fn(&Identity) -> bool,
    digest: &str,
) -> Decision {
    match recorded {
        Some(recorded) if !alive(&recorded.identity) => Decision::Start,
        Some(recorded) if recorded.digest != digest => Decision::Restart,
        Some(_) => Decision::Keep,
        None => Decision::Start,
    }
}

fn path(layout: &Layout) -> PathBuf {
    layout.state.join("state.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(digest: &str) -> Recorded {
        Recorded { identity: Identity { pid: 7, started: 1234, boot: "today".into() }, digest: digest.into() }
    }

    #[test]
    fn a_program_is_started_kept_or_restarted() {
        let cases = [
            (None, true, Decision::Start),
            (Some(recorded("same")), false, Decision::Start),
            (Some(recorded("other")), false, Decision::Start),
            (Some(recorded("same")), true, Decision::Keep),
            (Some(recorded("other")), true, Decision::Restart),
        ];
        for (record, alive, expected) in cases {
            assert_eq!(decide(record.as_ref(), |_| alive, "same"), expected, "{record:?}, alive: {alive}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = std::env::temp_dir().join(format!("kamaji-xtask-state-{}", std::process::id()));
        let layout = Layout { state: folder.clone(), run: folder.join("run") };
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(State::read(&layout).unwrap(), State::default());
        let state = State {
            processes: BTreeMap::from([("etcd".into(), recorded("digest"))]),
            kernel_settings: BTreeMap::from([("net/ipv4/ip_forward".into(), "0".into())]),
            absent_before: BTreeSet::from(["/var/log/containers".into()]),
            foreign_chains: BTreeSet::from(["CNI-OTHER".into()]),
            foreign_tables: BTreeSet::from(["ip filter".into()]),
            machine_seen: true,
        };
        state.write(&layout).unwrap();
        assert_eq!(State::read(&layout).unwrap(), state);
        fs::write(folder.join("state.json"), "{").unwrap();
        assert!(State::read(&layout).unwrap_err().to_string().contains("state.json"));
        fs::remove_dir_all(folder).unwrap();
    }
}
