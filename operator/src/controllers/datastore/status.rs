//! What people read of a DataStore.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kamaji_api::v1alpha1::{DataStore, DataStoreStatus, DataStoreUsage};
use kamaji_datastore::store::Health;
use kamaji_resources::conditions::{Finding, READY, merged};

use crate::stores::Examined;

const VALIDATION: &str = "kamaji.clastix.io/DataStoreValidation";
const ALLOWED_DELETION: &str = "kamaji.clastix.io/DataStoreAllowedDeletion";

/// A connection is made with a server that is the right one.
const REACHABLE: &str = "Reachable";
/// The server knows us, and asks everyone who they are.
const AUTHENTICATED: &str = "Authenticated";
/// We may do what tenants need.
const ALLOWED: &str = "Allowed";
/// Nothing travels in clear text.
const ENCRYPTED: &str = "Encrypted";

/// The steps of an examination, in order, each with its reason and words when it is passed.
const STEPS: [(&str, &str, &str); 3] = [
    (REACHABLE, "Reached", "it answers, and is the server that it should be"),
    (AUTHENTICATED, "Known", "it knows the operator, and asks everyone who they are"),
    (ALLOWED, "RightsProved", "it lets the operator do what tenants need"),
];

/// What is known of a datastore at a moment.
pub(super) struct Facts<'a> {
    /// What came of looking at it.
    pub(super) examined: &'a Examined,
    /// What it last said of itself.
    pub(super) health: Option<Health>,
    /// Tenants that keep data in it, as `namespace/name`, sorted.
    pub(super) used_by: Vec<String>,
    /// What the data of each takes, if it has been measured.
    pub(super) usage: Option<Vec<DataStoreUsage>>,
}

/// The status that tells it.
pub(super) fn compute(data_store: &DataStore, facts: Facts<'_>, now: Timestamp) -> DataStoreStatus {
    let known = data_store.status.clone().unwrap_or_default();
    let generation = data_store.metadata.generation.unwrap_or_default();
    let verdict = verdict(facts.examined);
    let mut findings = vec![
        (VALIDATION, verdict.clone()),
        (ALLOWED_DELETION, deletion(facts.used_by.len())),
        (ENCRYPTED, encryption(data_store)),
    ];
    findings.extend(steps(facts.examined));
    findings.push((READY, verdict.clone()));
    // Nothing is said of a step that was not come to.
    let is_told = |condition: &Condition| {
        STEPS.iter().all(|(step, ..)| condition.type_ != *step)
            || findings.iter().any(|(found, _)| condition.type_ == *found)
    };
    let kept: Vec<Condition> = known.conditions.into_iter().filter(is_told).collect();
    DataStoreStatus {
        observed_generation: Some(generation),
        usage: usage(known.usage, facts.usage, &facts.used_by),
        used_by: facts.used_by,
        conditions: merged(&kept, &findings, generation, now),
        ready: verdict.holds,
        version: facts.health.map(|health| health.version).or(known.version),
    }
}

/// What is told of tenants' data: a figure that was told stays while it is about right, so that a tenant at work is no reason to
/// write again and again.
fn usage(
    known: Vec<DataStoreUsage>,
    measured: Option<Vec<DataStoreUsage>>,
    users: &[String],
) -> Vec<DataStoreUsage> {
    let Some(measured) = measured else {
        return known.into_iter().filter(|told| users.contains(&told.tenant)).collect();
    };
    let told = |found: DataStoreUsage| {
        let before = known.iter().find(|known| known.tenant == found.tenant);
        before.filter(|before| is_about(before, &found)).cloned().unwrap_or(found)
    };
    let mut all: Vec<DataStoreUsage> = measured.into_iter().map(told).collect();
    all.sort_by(|one, other| one.tenant.cmp(&other.tenant));
    all
}

/// Whether neither figure is off by more than a quarter.
fn is_about(told: &DataStoreUsage, found: &DataStoreUsage) -> bool {
    let is_near = |told: Option<i64>, found: Option<i64>| match (told, found) {
        (Some(told), Some(found)) => told.abs_diff(found) <= told.unsigned_abs() / 4,
        (told, found) => told == found,
    };
    is_near(told.bytes, found.bytes) && is_near(told.keys, found.keys)
}

/// The condition `Ready`, if there is news of it: another verdict, or another reason.
pub(super) fn news(known: Option<&DataStoreStatus>, now: &DataStoreStatus) -> Option<Condition> {
    let of = |status: &DataStoreStatus| {
        status.conditions.iter().find(|condition| condition.type_ == READY).cloned()
    };
    let (before, after) = (known.and_then(of), of(now)?);
    let is_same = before.is_some_and(|before| before.status == after.status && before.reason == after.reason);
    (!is_same).then_some(after)
}

fn verdict(examined: &Examined) -> Finding {
    match examined {
        Examined::Usable(_) => {
            Finding::holds("DataStoreIsValid", "reached, authenticated, and allowed what tenants need")
        }
        Examined::Unusable { reason, message, .. } => Finding::fails(reason, message.clone()),
    }
}

fn deletion(users: usize) -> Finding {
    match users {
        0 => Finding::holds("DataStoreUnused", "no tenant control plane uses it"),
        count => Finding::fails("DataStoreStillUsed", format!("{count} tenant control planes use it")),
    }
}

fn encryption(data_store: &DataStore) -> Finding {
    if data_store.spec.tls_config.is_some() {
        Finding::holds("TLS", "nothing travels in clear text")
    } else {
        let advice = "passwords and data travel in clear text; set spec.tlsConfig if the server offers TLS";
        Finding::fails("ClearText", advice)
    }
}

/// The steps that were come to.
fn steps(examined: &Examined) -> Vec<(&'static str, Finding)> {
    let (passed, failed) = match examined {
        Examined::Usable(_) => (STEPS.len(), None),
        Examined::Unusable { reason, message, .. } => match step_of(reason) {
            Some(step) => (step, Some((STEPS[step].0, Finding::fails(reason, message.clone())))),
            None => (0, None),
        },
    };
    let passed = STEPS[..passed].iter().map(|(step, reason, words)| (*step, Finding::holds(reason, *words)));
    passed.chain(failed).collect()
}

/// Whether the datastore itself was asked before it failed for this reason; if not, what describes it is wrong.
pub(crate) fn was_asked(reason: &str) -> bool {
    step_of(reason).is_some()
}

/// The step at which a datastore fails for this reason; none for what fails before it is asked.
fn step_of(reason: &str) -> Option<usize> {
    match reason {
        "Unreachable" | "Timeout" | "NoQuorum" | "ServerNotTrusted" => Some(0),
        "Unauthenticated" | "AuthDisabled" => Some(1),
        "Forbidden" | "ReadOnly" | "NoSpace" | "Corrupt" | "Refused" | "Contended" => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use kamaji_api::v1alpha1::{DataStoreSpec, Driver};

    use super::*;

    fn data_store(status: Option<DataStoreStatus>) -> DataStore {
        let spec = DataStoreSpec {
            driver: Driver::PostgreSql,
            endpoints: vec!["pg:5432".into()],
            basic_auth: None,
            tls_config: None,
        };
        DataStore { status, ..DataStore::new("store", spec) }
    }

    fn failed(reason: &'static str) -> Examined {
        Examined::Unusable { reason, message: "because".into(), last: None, untried: None }
    }

    fn status(known: Option<DataStoreStatus>, examined: &Examined) -> DataStoreStatus {
        let facts = Facts { examined, health: None, used_by: Vec::new(), usage: None };
        compute(&data_store(known), facts, Timestamp::UNIX_EPOCH)
    }

    fn told(status: &DataStoreStatus) -> Vec<String> {
        let steps = status.conditions.iter().filter(|found| STEPS.iter().any(|step| step.0 == found.type_));
        let mut told: Vec<String> =
            steps.map(|found| format!("{}={}/{}", found.type_, found.status, found.reason)).collect();
        told.sort();
        told
    }

    #[test]
    fn only_the_steps_that_were_come_to_are_told() {
        for (reason, expected) in [
            ("Unreachable", vec!["Reachable=False/Unreachable"]),
            ("Unauthenticated", vec!["Authenticated=False/Unauthenticated", "Reachable=True/Reached"]),
            (
                "ReadOnly",
                vec!["Allowed=False/ReadOnly", "Authenticated=True/Known", "Reachable=True/Reached"],
            ),
            ("BasicAuthValidationFailed", vec![]),
        ] {
            assert_eq!(told(&status(None, &failed(reason))), expected, "{reason}");
        }
        // What was told before is not told any longer.
        let before = status(None, &failed("ReadOnly"));
        assert_eq!(told(&status(Some(before), &failed("Unreachable"))), ["Reachable=False/Unreachable"]);
    }

    #[test]
    fn what_tenants_take_is_told_anew_when_it_has_changed_much() {
        let of =
            |tenant: &str, bytes| DataStoreUsage { tenant: tenant.into(), bytes: Some(bytes), keys: None };
        let users = ["a/a".to_owned(), "b/b".to_owned()];
        let known = || vec![of("a/a", 1000), of("gone/gone", 5)];
        let table = [
            (None, vec![of("a/a", 1000)]),
            (Some(vec![of("a/a", 1250)]), vec![of("a/a", 1000)]),
            (Some(vec![of("a/a", 751)]), vec![of("a/a", 1000)]),
            (Some(vec![of("a/a", 1251)]), vec![of("a/a", 1251)]),
            (Some(vec![of("b/b", 1), of("a/a", 0)]), vec![of("a/a", 0), of("b/b", 1)]),
        ];
        for (measured, expected) in table {
            assert_eq!(usage(known(), measured.clone(), &users), expected, "{measured:?}");
        }
        assert!(!is_about(&of("a/a", 1), &DataStoreUsage { bytes: None, ..of("a/a", 1) }));
    }

    #[test]
    fn another_reason_is_news_and_other_words_are_none() {
        let first = status(None, &failed("Unreachable"));
        assert_eq!(news(None, &first).unwrap().reason, "Unreachable");
        let words =
            Examined::Unusable { reason: "Unreachable", message: "other".into(), last: None, untried: None };
        assert_eq!(news(Some(&first), &status(Some(first.clone()), &words)), None);
        let second = status(Some(first.clone()), &failed("ReadOnly"));
        assert_eq!(news(Some(&first), &second).unwrap().reason, "ReadOnly");
    }

    #[test]
    fn clear_text_is_told_and_no_failure() {
        let status = status(None, &failed("Unreachable"));
        let encrypted = status.conditions.iter().find(|found| found.type_ == ENCRYPTED).unwrap();
        assert_eq!((encrypted.status.as_str(), encrypted.reason.as_str()), ("False", "ClearText"));
    }
}
