//! Everything that is built for a tenant, over every kind of tenant: how it looks, what must hold of all of it, and when it
//! changes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod children;
mod deadlines;
mod files;
mod golden;
mod kine;
mod konnectivity;
mod migration;
mod pins;
mod pod_security;
mod properties;
mod renewal;
mod rotation;
mod scenario;
mod takeover;
