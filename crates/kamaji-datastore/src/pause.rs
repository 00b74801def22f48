//! How long a datastore that was not reached is left alone: one that swallows packets would hold up every tenant on it.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::Cause;

/// The first pause is this part of the longest.
const FIRST: u32 = 32;

/// A pause that doubles with every failure.
#[derive(Default)]
pub(crate) struct Pause {
    longest: Duration,
    failures: u32,
    until: Option<(Instant, Cause)>,
}

impl Pause {
    /// No pause yet, and none longer than `longest` later.
    pub(crate) fn up_to(longest: Duration) -> Self {
        Self { longest, failures: 0, until: None }
    }

    /// Why there is a pause at this moment, if there is.
    pub(crate) fn cause(&self, now: Instant) -> Option<&Cause> {
        self.until.as_ref().filter(|(until, _)| now < *until).map(|(_, cause)| cause)
    }

    /// A failure starts a pause.
    pub(crate) fn begin(&mut self, now: Instant, cause: Cause) {
        let length = (self.longest / FIRST).saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures += 1;
        self.until = Some((now + length, cause));
    }

    /// A success ends all pauses.
    pub(crate) fn end(&mut self) {
        *self = Self::up_to(self.longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause() -> Cause {
        Cause("refused".to_owned())
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let now = Instant::now();
        let mut pause = Pause::up_to(Duration::from_secs(32));
        for seconds in [1, 2, 4, 8, 16, 32, 32, 32] {
            pause.begin(now, cause());
            assert!(pause.cause(now + Duration::from_secs(seconds) - Duration::from_millis(1)).is_some());
            assert!(pause.cause(now + Duration::from_secs(seconds)).is_none());
        }
    }

    #[test]
    fn success_starts_over() {
        let now = Instant::now();
        let mut pause = Pause::up_to(Duration::from_secs(32));
        pause.begin(now, cause());
        pause.begin(now, cause());
        pause.end();
        assert!(pause.cause(now).is_none());
        pause.begin(now, cause());
        assert!(pause.cause(now + Duration::from_secs(1)).is_none());
    }

    #[test]
    fn without_a_length_there_is_never_a_pause() {
        let now = Instant::now();
        let mut pause = Pause::up_to(Duration::ZERO);
        pause.begin(now, cause());
        assert!(pause.cause(now).is_none());
    }
}
