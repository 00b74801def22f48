//! Leadership: one Lease, held by one replica, so that two operators never act together (`coordination.k8s.io/v1`).

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kamaji_api::labels;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use kube::{Api, Client};

use crate::clock;
use crate::error::chain;

/// How long others wait after the last sign of life.
const DURATION: Duration = Duration::from_secs(15);
/// How long the holder goes on trying to give one.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// From one try to the next.
const RETRY: Duration = Duration::from_secs(2);

/// A candidate for leadership, and its view of the Lease.
pub(crate) struct Candidate {
    api: Api<Lease>,
    identity: String,
    seen: Option<Seen>,
}

/// The Lease as it was last seen to change. Expiry is counted from here with our own clock: those of others may be wrong.
struct Seen {
    version: Option<String>,
    at: Instant,
}

/// What to do about the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Create,
    Take,
    Renew,
    Wait,
}

/// The pure part: who may write the Lease now.
fn step(lease: Option<&Lease>, identity: &str, unchanged_for: Duration) -> Step {
    let Some(lease) = lease else { return Step::Create };
    let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
    match holder {
        holder if holder == identity => Step::Renew,
        "" => Step::Take,
        _ if unchanged_for > DURATION => Step::Take,
        _ => Step::Wait,
    }
}

impl Candidate {
    /// A candidate that nobody else is.
    pub(crate) fn new(client: Client, namespace: &str, identity: String) -> Self {
        Self { api: Api::namespaced(client, namespace), identity, seen: None }
    }

    /// Returns once the Lease is ours.
    pub(crate) async fn acquire(&mut self) {
        let mut told = false;
        loop {
            match self.attempt().await {
                Ok(true) => return,
                Ok(false) if !told => {
                    tracing::info!(lease = labels::LEADER_LEASE, "another replica leads, waiting");
                    told = true;
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(error = chain(&error), "could not get the Lease"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Returns when the Lease is lost: nothing may be written after that.
    pub(crate) async fn keep(&mut self) {
        let mut renewed = Instant::now();
        while renewed.elapsed() < RENEW_DEADLINE {
            tokio::time::sleep(RETRY).await;
            let left = RENEW_DEADLINE.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, self.attempt()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) | Err(_) => return,
                Ok(Err(error)) => tracing::warn!(error = chain(&error), "could not renew the Lease"),
            }
        }
    }

    /// Gives the Lease back, so that another replica need not wait for its end.
    pub(crate) async fn release(&mut self) {
        let released = async {
            let Some(lease) = self.api.get_opt(labels::LEADER_LEASE).await? else { return Ok(()) };
            if step(Some(&lease), &self.identity, Duration::ZERO) == Step::Renew {
                self.write(Some(lease), "").await?;
            }
            Ok::<(), kube::Error>(())
        };
        match tokio::time::timeout(RETRY, released).await {
            Ok(Ok(())) => tracing::info!("gave the Lease back"),
            Ok(Err(error)) => tracing::warn!(error = chain(&error), "could not give the Lease back"),
            Err(_) => tracing::warn!("could not give the Lease back in time"),
        }
    }

    /// True when the Lease is ours now.
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        let lease = self.api.get_opt(labels::LEADER_LEASE).await?;
        let unchanged_for = self.observe(lease.as_ref());
        if step(lease.as_ref(), &self.identity, unchanged_for) == Step::Wait {
            return Ok(false);
        }
        let identity = self.identity.clone();
        match self.write(lease, &identity).await {
            Ok(written) => {
                self.observe(Some(&written));
                Ok(true)
            }
            // Somebody was quicker.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn observe(&mut self, lease: Option<&Lease>) -> Duration {
        let version = lease.and_then(|lease| lease.metadata.resource_version.clone());
        if let Some(seen) = self.seen.as_ref().filter(|seen| seen.version == version) {
            return seen.at.elapsed();
        }
        self.seen = Some(Seen { version, at: Instant::now() });
        Duration::ZERO
    }

    /// Writes the version that was read, so that of two writers one loses.
    async fn write(&self, lease: Option<Lease>, holder: &str) -> Result<Lease, kube::Error> {
        let params =
            PostParams { field_manager: Some(crate::context::FIELD_MANAGER.into()), ..PostParams::default() };
        let known = lease.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let spec = held(known, holder, clock::now());
        if let Some(lease) = lease {
            let body = Lease { spec: Some(spec), ..lease };
            return self.api.replace(labels::LEADER_LEASE, &params, &body).await;
        }
        let metadata = ObjectMeta { name: Some(labels::LEADER_LEASE.into()), ..ObjectMeta::default() };
        self.api.create(&params, &Lease { metadata, spec: Some(spec) }).await
    }
}

fn held(known: LeaseSpec, holder: &str, now: Timestamp) -> LeaseSpec {
    let changes_hands = known.holder_identity.as_deref() != Some(holder);
    let transitions = known.lease_transitions.unwrap_or_default();
    LeaseSpec {
        holder_identity: Some(holder.to_owned()),
        lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
        acquire_time: if changes_hands { Some(MicroTime(now)) } else { known.acquire_time },
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(if changes_hands && !holder.is_empty() {
            transitions + 1
        } else {
            transitions
        }),
        ..known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str) -> Lease {
        Lease { spec: Some(held(LeaseSpec::default(), holder, Timestamp::UNIX_EPOCH)), ..Lease::default() }
    }

    #[test]
    fn only_a_free_or_forsaken_lease_is_taken() {
        let short = Duration::from_secs(1);
        let long = DURATION + Duration::from_secs(1);
        assert_eq!(step(None, "me", short), Step::Create);
        assert_eq!(step(Some(&lease("me")), "me", long), Step::Renew);
        assert_eq!(step(Some(&lease("")), "me", short), Step::Take);
        assert_eq!(step(Some(&lease("you")), "me", short), Step::Wait);
        assert_eq!(step(Some(&lease("you")), "me", long), Step::Take);
    }
}
