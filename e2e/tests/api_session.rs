//! What the operator keeps inside tenants, against real API servers of tenants: what is deleted or edited comes back, what is
//! switched off leaves nothing, and where nothing happens nothing is asked.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed, which is what it is for"
)]

#[path = "api_session/configuration.rs"]
mod configuration;
#[path = "api_session/drift.rs"]
mod drift;
#[path = "api_session/quiet.rs"]
mod quiet;
#[path = "api_session/tenant.rs"]
mod tenant;
#[path = "api_session/toggle.rs"]
mod toggle;

use std::time::Duration;

/// Longer than any pause that the operator makes between two requests that follow from each other.
const SILENCE: Duration = Duration::from_secs(3);
