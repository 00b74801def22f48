//! When a datastore that failed is tried again.

use std::time::{Duration, Instant};

use crate::backoff::jittered;

/// Before the first try after a failure.
const SHORTEST: Duration = Duration::from_millis(500);
/// Where the growing pauses end; the jitter makes a fifth more or less of it.
const GROWN: Duration = Duration::from_secs(34);
/// However often it fails, and whatever the jitter: one that is mended is used again within 30 s.
const LONGEST: Duration = Duration::from_secs(29);
/// One that has worked for so long is no longer suspected.
const TRUSTED: Duration = Duration::from_mins(1);

/// Failures of one datastore in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Breaker {
    failures: u32,
    last: Option<Instant>,
}

impl Breaker {
    /// Whether there has been no failure for some time.
    pub(crate) fn is_new(&self) -> bool {
        self.failures == 0
    }

    /// Counts a failure; how long the datastore is left alone then.
    pub(crate) fn failed(&mut self, name: &str, now: Instant) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.last = Some(now);
        jittered(name, self.failures, SHORTEST, GROWN).min(LONGEST)
    }

    /// Forgets the failures of a datastore that works again for some time. One that fails on and off is tried as rarely as
    /// one that fails.
    pub(crate) fn worked(&mut self, now: Instant) {
        if self.last.is_none_or(|last| now.duration_since(last) >= TRUSTED) {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_about_half_a_minute_and_no_further() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        let pauses: Vec<Duration> = (0..20).map(|_| breaker.failed("store", now)).collect();
        assert!(pauses[0] <= Duration::from_millis(600) && pauses[2] > pauses[0], "{pauses:?}");
        let last = pauses[19];
        assert!(last >= Duration::from_secs(27) && last <= LONGEST, "{last:?}");
    }

    #[test]
    fn one_that_fails_on_and_off_is_not_trusted_at_once() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        for _ in 0..5 {
            breaker.failed("store", start);
        }
        breaker.worked(start + Duration::from_secs(10));
        assert!(breaker.failed("store", start + Duration::from_secs(11)) > Duration::from_secs(5));
        breaker.worked(start + Duration::from_secs(11) + TRUSTED);
        assert!(breaker.failed("store", start + Duration::from_secs(99)) < Duration::from_secs(1));
    }
}
