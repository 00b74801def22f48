//! What a pass tells of each concern.

use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_api::{Child, Tenant, labels};
use kamaji_pki::verdict::Reissue;
use kamaji_resources::anchors::ANCHORS;
use kamaji_resources::conditions::{Concern, Finding};
use kamaji_resources::rollout::Rollout;
use kamaji_resources::rotation::{For, Stage, Step, request};
use kamaji_resources::status::Facts;
use kamaji_resources::{Credentials, HeldSecrets, StorageCredentials, checksum};

use kube::ResourceExt;
use kube::runtime::events::EventType;

use super::Pass;
use super::rotation::Turn;
use crate::error::Error;

impl Pass<'_> {
    /// Tells of every certificate that is issued anew.
    pub(super) async fn report_reissues(&self, credentials: &Credentials, storage: &StorageCredentials) {
        let renewed = credentials.reissued.iter().copied();
        let stored = storage.reissued.map(|reason| (Child::DatastoreCertificate, reason));
        for (child, reason) in renewed.chain(stored) {
            // The first issue is no news.
            if reason != Reissue::Missing {
                let note = format!("{}: {}", child.name(&self.tenant.id.name), reason.sentence());
                self.cx.event(self.tcp, EventType::Normal, "CertificateReissued", note).await;
            }
        }
    }
}

/// Notes a failure under its concern, so that the condition names it.
pub(super) fn noted(facts: &mut Facts, concern: Concern, error: Error) -> Error {
    facts.find(concern, Finding::fails(error.reason(), error.chain()));
    error
}

/// Notes failures under their concern, and returns the first of them.
pub(super) fn noted_all(facts: &mut Facts, concern: Concern, errors: Vec<Error>) -> Error {
    let words: Vec<String> = errors.iter().map(Error::chain).collect();
    let first = errors.into_iter().next().expect("somebody failed");
    facts.find(concern, Finding::fails(first.reason(), words.join("; ")));
    first
}

pub(super) fn certificates_finding(credentials: &Credentials, storage: &StorageCredentials) -> Finding {
    let until = credentials.deadline.min(storage.deadline);
    Finding::holds(
        "Issued",
        format!(
            "every certificate is in place; the next is renewed at {}",
            until.strftime("%Y-%m-%dT%H:%M:%SZ")
        ),
    )
}

pub(super) fn rollout_finding(tenant: &Tenant, rollout: &Rollout) -> Finding {
    let Rollout { wanted, ready, updated, .. } = rollout;
    if tenant.is_asleep() {
        Finding::fails("Sleeping", "asleep: set spec.controlPlane.deployment.replicas to wake it")
    } else if rollout.is_complete() {
        Finding::holds("RolledOut", format!("{ready} of {wanted} Pods are ready"))
    } else {
        Finding::fails(
            "RollingOut",
            format!("{ready} of {wanted} Pods are ready, {updated} run the newest version"),
        )
    }
}

/// What is told of anchors that are being replaced, or are to be; nothing where that was never asked for.
pub(super) fn rotation_finding(tcp: &TenantControlPlane, turns: &[Turn]) -> Option<Finding> {
    let mut told: Vec<(&'static str, String)> =
        turns.iter().filter_map(|turn| unfinished(tcp, turn)).collect();
    let words: Vec<String> = told.iter_mut().map(|(_, words)| std::mem::take(words)).collect();
    if let Some((reason, _)) = told.first() {
        return Some(Finding::fails(reason, words.join("; ")));
    }
    let known = tcp.status.iter().flat_map(|status| &status.conditions);
    let was_told = known.into_iter().any(|known| known.type_ == Concern::Rotation.as_str());
    was_told.then(|| Finding::holds("Settled", "no trust anchor is being replaced"))
}

/// Reason and words of an anchor that is being replaced, or cannot be.
fn unfinished(tcp: &TenantControlPlane, turn: &Turn) -> Option<(&'static str, String)> {
    let anchor = turn.child.name(&tcp.name_any());
    let asked = tcp.annotations().get(request(turn.child));
    let uid = tcp.uid().unwrap_or_default();
    if turn.stage == Stage::Settled && asked.is_some_and(|asked| *asked != uid) {
        let name = request(turn.child);
        let words = format!("{anchor} stays: {name} must hold the UID of this TenantControlPlane, {uid}");
        return Some(("RotationNotNamed", words));
    }
    let reason = match (turn.stage, turn.step) {
        (Stage::Settled, Step::Rest) => return None,
        (Stage::Reissued | Stage::TakenBack, Step::Wait(For::LastWord)) => "LastWordAwaited",
        (Stage::Settled | Stage::TrustingBoth, _) => "TrustingBoth",
        (Stage::Reissued, _) => "Reissuing",
        (Stage::TakenBack, _) => "TakingBack",
        (Stage::Dropped, _) => "Dropping",
    };
    let waits = match turn.step {
        Step::Wait(For::Waking) => "waits for the tenant to wake, as nobody could follow it".to_owned(),
        Step::Wait(For::Pods) => "waits until every Pod is of this stage".to_owned(),
        Step::Wait(For::Inside) => {
            "waits until the API server answers and tells those who join of this stage".to_owned()
        }
        Step::Wait(For::LastWord) => format!(
            "works with both; once nodes and clients have followed, drop the other one with the annotation {}={}, \
             or take the request away to go back",
            labels::DROP_TRUST_ANCHOR,
            turn.other.as_deref().unwrap_or_default()
        ),
        Step::Go(to) => format!("goes on to {}", to.as_str()),
        Step::Rest => "rests".to_owned(),
    };
    Some((reason, format!("{anchor} is at the stage {} and {waits}", turn.stage.as_str())))
}

pub(super) fn note_checksums(
    facts: &mut Facts,
    held: &HeldSecrets,
    credentials: &Credentials,
    storage: &StorageCredentials,
) {
    for child in ANCHORS {
        if let Some(secret) = held.get(&child) {
            facts.checksums.insert(child, checksum::reported(secret));
        }
    }
    let secrets = credentials.secrets.iter().map(|(child, secret)| (*child, secret));
    let stored =
        [(Child::DatastoreConfig, &storage.config), (Child::DatastoreCertificate, &storage.certificate)];
    facts.checksums.extend(secrets.chain(stored).map(|(child, secret)| (child, checksum::reported(secret))));
}
