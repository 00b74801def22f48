//! How much memory this process has.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;

/// How often the memory is looked at.
const INTERVAL: Duration = Duration::from_millis(20);

/// A rise that is worth a line, in bytes.
const STEP: u64 = 1 << 20;

/// What the memory was at first, and the most that it has been since.
pub(crate) struct Memory {
    first: u64,
    most: Arc<AtomicU64>,
    watching: JoinSet<()>,
}

impl Memory {
    /// It is looked at from now on.
    pub(crate) fn watched() -> Self {
        let first = resident();
        let most = Arc::new(AtomicU64::new(first));
        let seen = Arc::clone(&most);
        let mut watching = JoinSet::new();
        watching.spawn(async move {
            loop {
                tokio::time::sleep(INTERVAL).await;
                let now = resident();
                if now > seen.fetch_max(now, Ordering::Relaxed) + STEP {
                    println!("{} KiB more memory than at first", now.saturating_sub(first) >> 10);
                }
            }
        });
        Self { first, most, watching }
    }

    /// How much more there was at most, in bytes.
    pub(crate) fn growth(&mut self) -> u64 {
        self.watching.abort_all();
        self.most.load(Ordering::Relaxed) - self.first
    }
}

/// Memory of this process that is really there, in bytes, without what is only mapped from files.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
