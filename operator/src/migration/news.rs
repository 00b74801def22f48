//! What is told of a try that goes on.

use std::time::Duration;

use kamaji_datastore::migrate::{Amount, Sight};
use kamaji_resources::conditions::Finding;
use kamaji_resources::migration::{Attempt, Given, Hint};

use super::Site;
use super::engine::Engine;
use crate::error::chain;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// What is known of a try that goes on.
pub(super) struct News<'a> {
    pub(super) site: Site<'a>,
    pub(super) attempt: &'a Attempt,
    pub(super) engine: &'a Engine,
    pub(super) sight: &'a Sight,
    pub(super) given: &'a Given,
}

impl News<'_> {
    /// How far it is, what it waits for, and until when.
    pub(super) fn finding(&self, timeout: Duration) -> Finding {
        let (from, to) = (&self.site.claim.data_store, &self.attempt.claim.data_store);
        let (reason, what) = match self.given.hint {
            Hint::Open => ("MigrationPreparing", "the target is made ready, the tenant works".to_owned()),
            Hint::Fenced => ("MigrationCopying", copying(self.sight)),
            Hint::Ready | Hint::Switched => ("MigrationSwitching", self.switching()),
        };
        let message = format!("on the way from DataStore {from} to {to}: {what}{}", self.hindrance());
        let (limit, started) = (timeout.as_secs(), self.attempt.started);
        Finding::fails(reason, format!("{message}; it is given up {limit} s after its start at {started}"))
    }

    /// That the tenant is where it was to go, and how much has come with it.
    pub(super) fn arrival(&self) -> String {
        let to = &self.attempt.claim.data_store;
        match self.sight.copied {
            Some(copied) => {
                format!("the tenant is on DataStore {to} now: {} were copied and compared", told(copied))
            }
            None => format!("the tenant is on DataStore {to} now"),
        }
    }

    fn switching(&self) -> String {
        let copy = self.sight.copied.map(|copied| format!(" of {}", told(copied))).unwrap_or_default();
        let waits = if self.given.pods > 0 { ", once the last Pods are gone" } else { "" };
        format!("the copy{copy} is complete and is switched to{waits}")
    }

    /// What it waits for, if that can be told.
    fn hindrance(&self) -> String {
        let store = match (self.engine, &self.sight.obstacle) {
            (Engine::Half { why, .. }, _) => {
                format!("; DataStore {} cannot be used now: {why}", self.attempt.claim.data_store)
            }
            (Engine::Whole { .. }, Some(error)) => format!("; {}", chain(error)),
            (Engine::Whole { .. }, None) => String::new(),
        };
        let job = self.given.trouble.as_ref().map(|trouble| format!("; {}", trouble.why()));
        format!("{store}{}", job.unwrap_or_default())
    }
}

fn copying(sight: &Sight) -> String {
    let far = match (sight.copied, sight.read) {
        (None, None) => String::new(),
        (None, Some(read)) => format!("; {} are copied", told(read)),
        (Some(copied), read) => {
            format!("; all {} are copied, and {} compared", told(copied), told(read.unwrap_or_default()))
        }
    };
    format!("the data is copied and compared, the tenant stands{far}")
}

/// In the unit in which it is a small number.
fn told(Amount { records, bytes }: Amount) -> String {
    let size = if bytes < MIB {
        format!("{} KiB", bytes.div_ceil(KIB))
    } else {
        format!("{}.{} MiB", bytes / MIB, bytes % MIB * 10 / MIB)
    };
    format!("{records} records ({size})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_told_in_small_numbers() {
        let of = |bytes| told(Amount { records: 7, bytes });
        assert_eq!(
            [of(0), of(1), of(MIB - 1), of(MIB), of(1500 * MIB + MIB * 9 / 10)],
            ["0 KiB", "1 KiB", "1024 KiB", "1.0 MiB", "1500.8 MiB"].map(|size| format!("7 records ({size})"))
        );
    }
}
