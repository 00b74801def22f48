//! What a pass tells of each concern.

use kamaji_api::{Child, Tenant};
use kamaji_resources::anchors::ANCHORS;
use kamaji_resources::conditions::{Concern, Finding};
use kamaji_resources::rollout::Rollout;
use kamaji_resources::status::Facts;
use kamaji_resources::{Credentials, HeldSecrets, StorageCredentials, checksum};

use crate::error::Error;

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
