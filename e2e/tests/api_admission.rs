//! Admission by a real API server: what our webhooks refuse and fill in, what is refused without them, and their certificate.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed, which is what it is for"
)]

#[path = "api_admission/certificate.rs"]
mod certificate;
#[path = "api_admission/ground.rs"]
mod ground;
#[path = "api_admission/refused.rs"]
mod refused;
