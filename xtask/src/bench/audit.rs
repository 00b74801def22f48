//! The operator's requests, as the local API server has written them down.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::PathBuf,
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{cache::Cache, cluster::layout::Layout};

/// A place in the API server's audit log, which has the operator's requests only.
pub(super) struct Audit {
    log: PathBuf,
    from: u64,
}

/// How many requests there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Requests {
    /// Writes, but for the two below.
    pub(super) writes: u32,
    /// Events that were written.
    pub(super) events: u32,
    /// Writes of the Lease.
    pub(super) leases: u32,
    /// Single objects and lists that were read.
    pub(super) reads: u32,
}

impl Audit {
    /// Counts begin here.
    pub(super) fn from_now(cache: &Cache) -> Result<Self> {
        let log = Layout::of(cache).audit_log();
        let from = fs::metadata(&log).with_context(|| {
            format!("there is no audit log {}; `cargo xtask cluster up` turns it on", log.display())
        })?;
        Ok(Self { log, from: from.len() })
    }

    /// What was asked since.
    pub(super) fn requests(&self) -> Result<Requests> {
        let reading = || format!("reading the audit log {}", self.log.display());
        let mut file = File::open(&self.log).with_context(reading)?;
        file.seek(SeekFrom::Start(self.from)).with_context(reading)?;
        let lines = BufReader::new(file).lines().collect::<Result<Vec<_>, _>>().with_context(reading)?;
        Ok(count(lines.iter().map(String::as_str)))
    }
}

fn count<'a>(lines: impl Iterator<Item = &'a str>) -> Requests {
    lines.filter_map(|line| serde_json::from_str::<Value>(line).ok()).fold(
        Requests::default(),
        |sum, entry| match (
            entry["verb"].as_str().unwrap_or_default(),
            entry["objectRef"]["resource"].as_str(),
        ) {
            ("get" | "list", _) => Requests { reads: sum.reads + 1, ..sum },
            ("watch", _) => sum,
            (_, Some("leases")) => Requests { leases: sum.leases + 1, ..sum },
            (_, Some("events")) => Requests { events: sum.events + 1, ..sum },
            _ => Requests { writes: sum.writes + 1, ..sum },
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_sorted_by_what_they_cost() {
        let line = |verb: &str, resource: &str| {
            format!(r#"{{"verb":"{verb}","objectRef":{{"resource":"{resource}"}}}}"#)
        };
        let lines = [
            line("patch", "secrets"),
            line("delete", "deployments"),
            line("update", "leases"),
            line("create", "events"),
            line("get", "secrets"),
            line("list", "secrets"),
            line("watch", "secrets"),
            "half a li".to_owned(),
        ];
        let expected = Requests { writes: 2, events: 1, leases: 1, reads: 2 };
        assert_eq!(count(lines.iter().map(String::as_str)), expected);
    }
}
