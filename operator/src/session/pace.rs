//! How often one object is repaired.
//!
//! A repair comes at once. Somebody who undoes it again and again is answered more and more seldom, so that two controllers
//! that want different things cost no more than a request every few seconds.

use std::collections::HashMap;
use std::time::Duration;

use kamaji_addons::Identity;
use tokio::time::Instant;

/// How many repairs of one object come at once before they are spread out.
const AT_ONCE: u32 = 6;
/// From one repair to the next of an object that somebody else keeps changing.
const SPREAD: Duration = Duration::from_secs(5);

/// When each object may be repaired.
#[derive(Default)]
pub(super) struct Pace {
    recent: HashMap<Identity, Recent>,
}

/// The latest repairs of an object.
struct Recent {
    /// Repairs that count against [`AT_ONCE`]; one is forgiven each [`SPREAD`].
    count: u32,
    /// Since when `count` holds.
    since: Instant,
}

impl Pace {
    /// Counts a repair that may happen now; else says when it may.
    pub(super) fn take(&mut self, object: &Identity, now: Instant) -> Result<(), Instant> {
        self.recent.retain(|_, recent| recent.forgiven(now) < recent.count);
        let recent = self.recent.entry(object.clone()).or_insert(Recent { count: 0, since: now });
        let forgiven = recent.forgiven(now);
        recent.count -= forgiven;
        recent.since += SPREAD * forgiven;
        if recent.count >= AT_ONCE {
            return Err(recent.since + SPREAD);
        }
        recent.count += 1;
        Ok(())
    }
}

impl Recent {
    fn forgiven(&self, now: Instant) -> u32 {
        let passed = now.duration_since(self.since).as_secs() / SPREAD.as_secs();
        u32::try_from(passed).unwrap_or(u32::MAX).min(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str) -> Identity {
        Identity { group: String::new(), plural: "configmaps".into(), namespace: None, name: name.into() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_quarrel_is_spread_out_and_a_neighbour_is_not() {
        let mut pace = Pace::default();
        let start = Instant::now();
        for _ in 0..AT_ONCE {
            assert_eq!(pace.take(&object("fought-over"), start), Ok(()));
        }
        assert_eq!(pace.take(&object("fought-over"), start), Err(start + SPREAD));
        assert_eq!(pace.take(&object("neighbour"), start), Ok(()));
        assert_eq!(pace.take(&object("fought-over"), start + SPREAD), Ok(()));
        assert_eq!(pace.take(&object("fought-over"), start + SPREAD), Err(start + SPREAD * 2));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_long_past_is_forgotten() {
        let mut pace = Pace::default();
        let start = Instant::now();
        let _ = pace.take(&object("a"), start);
        let _ = pace.take(&object("b"), start + SPREAD * 2);
        assert_eq!(pace.recent.len(), 1);
    }
}
