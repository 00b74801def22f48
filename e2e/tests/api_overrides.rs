//! Single kinds of a tenant's objects in etcds of their own: really there and nowhere else, apart from other tenants, and gone
//! without residue.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed, which is what it is for"
)]
#![expect(clippy::print_stdout, reason = "figures for who reads the output of a run")]
#![expect(clippy::large_futures, reason = "a test has few of them, and they are short-lived")]

#[path = "api_overrides/adoption.rs"]
mod adoption;
#[path = "api_overrides/crash.rs"]
mod crash;
#[path = "api_overrides/deletion.rs"]
mod deletion;
#[path = "api_overrides/faults.rs"]
mod faults;
#[path = "api_overrides/ground.rs"]
mod ground;
#[path = "api_overrides/isolation.rs"]
mod isolation;
#[path = "api_overrides/landing.rs"]
mod landing;
#[path = "api_overrides/removal.rs"]
mod removal;

use std::time::Duration;

/// Longer than any pause that the operator makes between two requests that follow from each other.
const SILENCE: Duration = Duration::from_secs(3);
/// Long enough to see that a pass is over.
const MOMENT: Duration = Duration::from_millis(500);
