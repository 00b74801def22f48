//! The tunnel's end in the management cluster, against a real Kubernetes API and a real etcd: everything is there when it
//! is on, comes back when it is deleted or edited, and is gone when it is off.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]
#![expect(clippy::print_stdout, reason = "figures for who reads the output of a run")]

#[path = "api_konnectivity/drift.rs"]
mod drift;
#[path = "api_konnectivity/server.rs"]
mod server;
#[path = "api_konnectivity/state.rs"]
mod state;
#[path = "api_konnectivity/toggle.rs"]
mod toggle;

use std::time::Duration;

/// Longer than any pause that the operator makes between two requests that follow from each other.
const SILENCE: Duration = Duration::from_secs(3);
/// Long enough to see that a pass is over.
const MOMENT: Duration = Duration::from_millis(500);
