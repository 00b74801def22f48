//! How much of all answers that are still coming in is in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::bounds::{Bounds, Exceeded};

/// Bytes of unfinished answers, of all requests of one client together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held(Arc<AtomicUsize>);

/// What one answer holds; it holds nothing once this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    held: Held,
    bytes: usize,
}

impl Held {
    pub(crate) fn share(&self) -> Share {
        Share { held: self.clone(), bytes: 0 }
    }
}

impl Share {
    /// Counts what has come in; fails when it is too much, alone or together with the others.
    pub(crate) fn add(&mut self, bytes: usize, bounds: &Bounds) -> Result<(), Exceeded> {
        self.bytes += bytes;
        let before = self.held.0.fetch_add(bytes, Ordering::Relaxed);
        if self.bytes > bounds.size {
            Err(Exceeded::Size(bounds.size))
        } else if before + bytes > bounds.together {
            Err(Exceeded::Together(bounds.together))
        } else {
            Ok(())
        }
    }

    /// What has come in so far is no longer held.
    pub(crate) fn clear(&mut self) {
        self.held.0.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_or_cleared_no_longer_counts() {
        let bounds = Bounds { size: 6, together: 10, ..Bounds::default() };
        let held = Held::default();
        let (mut one, mut other) = (held.share(), held.share());
        assert_eq!(one.add(6, &bounds), Ok(()));
        assert_eq!(other.add(5, &bounds), Err(Exceeded::Together(10)));
        drop(other);
        assert_eq!(one.add(1, &bounds), Err(Exceeded::Size(6)));
        one.clear();
        assert_eq!(held.share().add(6, &bounds), Ok(()));
    }
}
