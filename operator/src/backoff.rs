//! How long to wait after a failure, object by object.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// After the first failure.
const SHORTEST: Duration = Duration::from_millis(500);
/// However often it fails.
const LONGEST: Duration = Duration::from_secs(30);

/// Failures in a row, by object.
#[derive(Default)]
pub(crate) struct Backoff(Mutex<HashMap<String, u32>>);

impl Backoff {
    /// Counts a failure; the pause before the next try.
    pub(crate) fn failed(&self, object: &str) -> Duration {
        let mut failures = self.lock();
        let count = failures.entry(object.to_owned()).or_default();
        *count = count.saturating_add(1);
        pause(object, *count)
    }

    /// Forgets the failures of an object that did well.
    pub(crate) fn succeeded(&self, object: &str) {
        self.lock().remove(object);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Twice the last one, within the limits, and up to a fifth more or less, so that a thousand objects do not return at once.
fn pause(object: &str, failures: u32) -> Duration {
    jittered(object, failures, SHORTEST, LONGEST)
}

/// As [`doubled`], up to a fifth more or less, and for each object another.
pub(crate) fn jittered(object: &str, failures: u32, shortest: Duration, longest: Duration) -> Duration {
    let doubled = doubled(shortest, failures, longest);
    let mut hasher = DefaultHasher::new();
    (object, failures).hash(&mut hasher);
    let percent = u32::try_from(hasher.finish() % 41).unwrap_or_default() + 80;
    doubled * percent / 100
}

/// The pause after so many failures in a row, each time twice the last one, within limits.
pub(crate) fn doubled(shortest: Duration, failures: u32, longest: Duration) -> Duration {
    shortest.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest)
}

/// How long a watch rests after a failure. Short, so that an API server that is back is noticed soon.
#[derive(Debug, Default)]
pub(crate) struct WatchPause {
    failures: u32,
}

/// The longest rest of a watch.
const LONGEST_WATCH_PAUSE: Duration = Duration::from_secs(8);

impl Iterator for WatchPause {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        Some(pause("watch", self.failures).min(LONGEST_WATCH_PAUSE))
    }
}

impl kube::runtime::utils::Backoff for WatchPause {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

/// No rest: for queues whose sources rest by themselves. Were the queue to rest too, the failures of six watches would add
/// up to minutes in which nothing is worked on.
#[derive(Debug)]
pub(crate) struct NoPause;

impl Iterator for NoPause {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}

impl kube::runtime::utils::Backoff for NoPause {
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_within_their_limits() {
        let backoff = Backoff::default();
        let pauses: Vec<Duration> = (0..20).map(|_| backoff.failed("a")).collect();
        assert!(pauses[0] <= SHORTEST * 6 / 5 && pauses[3] > pauses[0]);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST * 6 / 5));
        backoff.succeeded("a");
        assert_eq!(backoff.failed("a"), pauses[0]);
    }
}
