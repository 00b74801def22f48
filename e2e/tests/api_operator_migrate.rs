//! The operator moves tenants from one datastore to another: real etcd, PostgreSQL, MariaDB, kine and API servers; the Job is the real program.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed, which is what it is for"
)]
#![expect(clippy::large_futures, reason = "a test has few of them, and they are short-lived")]

#[path = "api_operator_migrate/crash.rs"]
mod crash;
#[path = "api_operator_migrate/databases.rs"]
mod databases;
#[path = "api_operator_migrate/faults.rs"]
mod faults;
#[path = "api_operator_migrate/ground.rs"]
mod ground;
#[path = "api_operator_migrate/journey.rs"]
mod journey;
#[path = "api_operator_migrate/nats.rs"]
mod nats;
#[path = "api_operator_migrate/steps.rs"]
mod steps;
