//! An installation of the Go operator is taken over: every object that it had written, on a real API server and real stores.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

#[path = "api_takeover/installation.rs"]
mod installation;
#[path = "api_takeover/kept.rs"]
mod kept;
#[path = "api_takeover/stores.rs"]
mod stores;

use std::time::Duration;

/// Longer than any pause that the operator makes between two requests that follow from each other.
const SILENCE: Duration = Duration::from_secs(4);
