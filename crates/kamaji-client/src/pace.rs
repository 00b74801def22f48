//! How fast something may go in the long run, and how much of it at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A pace that all clones keep together.
#[derive(Clone, Debug)]
pub(crate) struct Pace(Arc<Mutex<Instant>>);

impl Pace {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// Takes `amount`, and returns how long to rest so that there is no more than `rate` each second, but for `burst` at once.
    pub(crate) fn take(&self, amount: usize, burst: usize, rate: usize) -> Duration {
        let now = Instant::now();
        // When all that was taken would have been earned.
        let mut earned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *earned = (*earned).max(now) + worth(amount, rate);
        earned.saturating_duration_since(now).saturating_sub(worth(burst, rate))
    }
}

/// How long it takes to earn so much.
fn worth(amount: usize, rate: usize) -> Duration {
    let [amount, rate] = [amount, rate.max(1)].map(|number| u64::try_from(number).unwrap_or(u64::MAX));
    Duration::from_nanos(amount.saturating_mul(1_000_000_000) / rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_free_and_the_rest_is_spread_out() {
        let pace = Pace::new();
        for _ in 0..10 {
            assert_eq!(pace.take(1, 10, 2), Duration::ZERO);
        }
        assert_eq!(pace.clone().take(1, 10, 2), Duration::from_millis(500));
        assert_eq!(pace.take(1, 10, 2), Duration::from_secs(1));
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(pace.take(10, 10, 2), Duration::ZERO);
        assert_eq!(pace.take(4, 10, 2), Duration::from_secs(2));
    }
}
