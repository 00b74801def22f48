//! The operator with tenants whose API servers reach their stores through kine: real stores, real kine, real API servers.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]
#![expect(clippy::print_stdout, reason = "figures for who reads the output of a run")]

#[path = "api_operator_kine/faults.rs"]
mod faults;
#[path = "api_operator_kine/image.rs"]
mod image;
#[path = "api_operator_kine/mariadb.rs"]
mod mariadb;
#[path = "api_operator_kine/nats.rs"]
mod nats;
#[path = "api_operator_kine/postgres.rs"]
mod postgres;
#[path = "api_operator_kine/tenant.rs"]
mod tenant;

use std::time::Duration;

/// Longer than any pause that the operator makes between two requests that follow from each other.
const SILENCE: Duration = Duration::from_secs(3);
/// Long enough to see that a pass is over.
const MOMENT: Duration = Duration::from_millis(500);
