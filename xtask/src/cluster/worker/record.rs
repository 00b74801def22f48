//! What is remembered of workers between two commands.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::{
    cache::write_atomically,
    cluster::{layout::Layout, state::Identity},
    programs::Release,
};

/// The numbers that workers can have: the last part of their addresses, of which the first is the bridge's.
const NUMBERS: std::ops::RangeInclusive<u8> = 2..=250;

/// A worker, in its folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) release: Release,
    pub(super) number: u8,
    /// The process whose end ends it.
    pub(super) process: Identity,
}

/// Where a worker keeps its files: what it sees at `/etc/kubernetes` is in `etc/kubernetes`, and so on.
pub(super) fn folder(layout: &Layout, name: &str) -> PathBuf {
    all_folders(layout).join(name)
}

/// Writes the record.
pub(super) fn write(layout: &Layout, record: &Record) -> Result<()> {
    let content = serde_json::to_vec_pretty(record).context("encoding a worker's record")?;
    write_atomically(&path(&folder(layout, &record.name)), &content)
}

/// The record of this name; `None` when there is no such worker.
pub(super) fn read(layout: &Layout, name: &str) -> Result<Option<Record>> {
    let path = path(&folder(layout, name));
    match fs::read(&path) {
        Ok(content) => {
            serde_json::from_slice(&content).with_context(|| format!("reading {}", path.display()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// All records, by name.
pub(super) fn all(layout: &Layout) -> Result<Vec<Record>> {
    let entries = fs::read_dir(all_folders(layout)).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names.iter().filter_map(|name| read(layout, name).transpose()).collect()
}

/// A number that no worker has.
pub(super) fn free_number(layout: &Layout) -> Result<u8> {
    let taken: Vec<u8> = all(layout)?.iter().map(|record| record.number).collect();
    match NUMBERS.into_iter().find(|number| !taken.contains(number)) {
        Some(number) => Ok(number),
        None => bail!("there are as many workers as there are addresses; remove one"),
    }
}

fn all_folders(layout: &Layout) -> PathBuf {
    layout.state.join("workers")
}

fn path(folder: &Path) -> PathBuf {
    folder.join("worker.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_given_to_one_worker_only() {
        let state = std::env::temp_dir().join(format!("kamaji-xtask-workers-{}", std::process::id()));
        let layout = Layout { run: state.join("run"), state };
        assert_eq!(free_number(&layout).unwrap(), 2);
        for (name, number) in [("b", 2), ("a", 3)] {
            fs::create_dir_all(folder(&layout, name)).unwrap();
            let process = Identity { pid: 1, started: 2, boot: "today".into() };
            let record = Record { name: name.into(), release: Release::V1_35, number, process };
            write(&layout, &record).unwrap();
            assert_eq!(read(&layout, name).unwrap(), Some(record));
        }
        assert_eq!(free_number(&layout).unwrap(), 4);
        let names: Vec<_> = all(&layout).unwrap().into_iter().map(|record| record.name).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(read(&layout, "c").unwrap(), None);
        fs::remove_dir_all(&layout.state).unwrap();
    }
}
