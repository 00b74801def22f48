//! Conditions: what holds of a tenant, one per concern, and since when.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// One concern of a tenant control plane; the order is the one in which they are met, and `Ready` names the first that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Concern {
    /// The spec can be carried out.
    SpecAccepted,
    /// The API server has an address.
    Endpoint,
    /// The authorities and the service accounts' key are there, and the ones the tenant was made with.
    TrustAnchors,
    /// Every certificate and kubeconfig is in place.
    Certificates,
    /// The datastore answers and holds the tenant's place.
    DataStoreReachable,
    /// The Pods run what the spec says.
    ControlPlane,
    /// The tenant's API server answers.
    TenantReachable,
    /// Everything of ours inside the tenant is as it should be. A tenant is ready without it.
    Addons,
    /// The data is in the DataStore that the spec names. Told from the first migration on; a tenant is ready without it.
    Migration,
    /// The version that the spec names runs. Told from the first change of the version on; a tenant is ready without it.
    Upgrade,
    /// No trust anchor is being replaced. Told from the first rotation on; a tenant is ready without it.
    Rotation,
}

impl Concern {
    /// Every concern that `Ready` sums up, in order.
    pub const VITAL: [Self; 7] = [
        Self::SpecAccepted,
        Self::Endpoint,
        Self::TrustAnchors,
        Self::Certificates,
        Self::DataStoreReachable,
        Self::ControlPlane,
        Self::TenantReachable,
    ];

    /// The condition's type.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SpecAccepted => "SpecAccepted",
            Self::Endpoint => "Endpoint",
            Self::TrustAnchors => "TrustAnchors",
            Self::Certificates => "Certificates",
            Self::DataStoreReachable => "DataStoreReachable",
            Self::ControlPlane => "ControlPlane",
            Self::TenantReachable => "TenantReachable",
            Self::Addons => "Addons",
            Self::Migration => "Migration",
            Self::Upgrade => "Upgrade",
            Self::Rotation => "Rotation",
        }
    }
}

/// The condition that sums up all others.
pub const READY: &str = "Ready";

/// What was found about one concern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it holds.
    pub holds: bool,
    /// One of a closed, documented set.
    pub reason: &'static str,
    /// A sentence for people: what happened, to what, and what to do next.
    pub message: String,
}

impl Finding {
    /// It holds.
    pub fn holds(reason: &'static str, message: impl Into<String>) -> Self {
        Self { holds: true, reason, message: message.into() }
    }

    /// It does not hold.
    pub fn fails(reason: &'static str, message: impl Into<String>) -> Self {
        Self { holds: false, reason, message: message.into() }
    }
}

/// The conditions after a pass: what was found replaces what was known, what was not reached stays.
///
/// The time of transition stays while the status of a condition stays.
pub fn merged(
    known: &[Condition],
    found: &[(&str, Finding)],
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    let mut conditions: Vec<Condition> = known.to_vec();
    for (name, finding) in found {
        let status = if finding.holds { "True" } else { "False" };
        let position = conditions.iter().position(|condition| condition.type_ == *name);
        let since = position
            .map(|index| &conditions[index])
            .filter(|condition| condition.status == status)
            .map_or_else(|| Time(now), |condition| condition.last_transition_time.clone());
        let condition = Condition {
            type_: (*name).to_owned(),
            status: status.to_owned(),
            reason: finding.reason.to_owned(),
            message: finding.message.clone(),
            observed_generation: Some(generation),
            last_transition_time: since,
        };
        match position {
            Some(index) => conditions[index] = condition,
            None => conditions.push(condition),
        }
    }
    conditions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_time_moves_only_with_the_status() {
        let first = merged(&[], &[(READY, Finding::fails("A", "a"))], 1, at(1));
        let second = merged(&first, &[(READY, Finding::fails("B", "b"))], 2, at(2));
        assert_eq!((second[0].last_transition_time.0, second[0].reason.as_str()), (at(1), "B"));
        let third = merged(&second, &[(READY, Finding::holds("C", "c"))], 2, at(3));
        assert_eq!(third[0].last_transition_time.0, at(3));
    }

    #[test]
    fn what_was_not_reached_stays() {
        let known = merged(&[], &[("Endpoint", Finding::holds("Assigned", "x"))], 1, at(1));
        let after = merged(&known, &[(READY, Finding::fails("A", "a"))], 2, at(2));
        assert_eq!(after.len(), 2);
        assert_eq!(after[0], known[0]);
    }
}
