//! The operator against a real Kubernetes API and a real etcd. Nobody runs Pods here: the tests play the rest of the world.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed, which is what it is for"
)]
#![expect(clippy::print_stdout, reason = "figures for who reads the output of a run")]
#![expect(clippy::large_futures, reason = "a test has few of them, and they are short-lived")]

#[path = "api_operator/budget.rs"]
mod budget;
#[path = "api_operator/crash.rs"]
mod crash;
#[path = "api_operator/datastore.rs"]
mod datastore;
#[path = "api_operator/deletion.rs"]
mod deletion;
#[path = "api_operator/drift.rs"]
mod drift;
#[path = "api_operator/faults.rs"]
mod faults;
#[path = "api_operator/fields.rs"]
mod fields;
#[path = "api_operator/foreign.rs"]
mod foreign;
#[path = "api_operator/isolation.rs"]
mod isolation;
#[path = "api_operator/lease.rs"]
mod lease;
#[path = "api_operator/outage.rs"]
mod outage;
#[path = "api_operator/provisioning.rs"]
mod provisioning;
#[path = "api_operator/spec.rs"]
mod spec;
#[path = "api_operator/upgrade.rs"]
mod upgrade;

use std::time::Duration;

use anyhow::Result;
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_e2e::operator::Lane;
use serde_json::json;

/// Longer than any pause that the operator makes between two requests that follow from each other.
const SILENCE: Duration = Duration::from_secs(3);
/// Long enough to see that a pass is over.
const MOMENT: Duration = Duration::from_millis(500);

/// The small tenant is asked for, with two Pods.
async fn pair(lane: &Lane) -> Result<TenantControlPlane> {
    let mut manifest = lane.manifest("blue");
    manifest["spec"]["controlPlane"]["deployment"] = json!({ "replicas": 2 });
    lane.create(&manifest).await
}
