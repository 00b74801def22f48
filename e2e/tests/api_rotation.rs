//! Authorities and the service-account key are replaced under a tenant whose API server is a real one.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed, which is what it is for"
)]

#[path = "api_rotation/deaths.rs"]
mod deaths;
#[path = "api_rotation/lost.rs"]
mod lost;
#[path = "api_rotation/stages.rs"]
mod stages;
#[path = "api_rotation/tenant.rs"]
mod tenant;

use std::time::Duration;

/// Longer than any pause that the operator makes between two requests that follow from each other.
const SILENCE: Duration = Duration::from_millis(1500);
