//! Whether a DataStore may be stored, and what its deletion would mean.

use std::net::IpAddr;

use kamaji_api::Complaints;
use kamaji_api::v1alpha1::DataStore;
use kamaji_datastore::config::Endpoint;

use super::review::Answer;
use crate::error::chain;

/// How many tenants are named in a warning.
const NAMED: usize = 3;

/// What is to be said of a DataStore that is made or changed. `obstacle` is why it cannot be used yet, if that is known: what it
/// names may come later, so that is no reason to refuse it.
pub(super) fn judge(new: &DataStore, old: Option<&DataStore>, obstacle: Option<String>) -> Answer {
    let mut answer = Answer { complaints: complaints(new, old), ..Answer::allowed() };
    answer.warnings.extend(new.spec.endpoints.iter().filter_map(|endpoint| unreachable_from_pods(endpoint)));
    answer.warnings.extend(obstacle.map(|why| format!("the DataStore cannot be used yet: {why}")));
    if let Some(old) = old
        && old.spec.endpoints != new.spec.endpoints
    {
        answer.warnings.extend(users(old).map(|users| {
            format!("{users} use it: their Pods are replaced to go to other endpoints, which must lead to the same data")
        }));
    }
    answer
}

/// What is to be said of a deletion. It cannot be taken back, and it is not refused.
pub(super) fn on_deletion(old: &DataStore) -> Answer {
    let warning = users(old).map(|users| {
        format!("{users} use it: it stays until they are gone or moved, takes no others, and cannot be brought back")
    });
    Answer { warnings: warning.into_iter().collect(), ..Answer::allowed() }
}

/// Endpoints that were stored before are no reason to refuse a change of something else.
fn complaints(new: &DataStore, old: Option<&DataStore>) -> Complaints {
    let mut complaints = Complaints::default();
    let known = old.map(|old| old.spec.endpoints.as_slice()).unwrap_or_default();
    for (index, endpoint) in new.spec.endpoints.iter().enumerate() {
        if let Err(error) = Endpoint::parse(endpoint)
            && !known.contains(endpoint)
        {
            complaints.add(
                format!("spec.endpoints[{index}]"),
                format!(
                    "{}: write host:port without a scheme, such as etcd-0.etcd:2379 or [fd00::1]:2379",
                    chain(&error)
                ),
            );
        }
    }
    complaints
}

/// The API servers run in Pods, where a loopback address is their own.
fn unreachable_from_pods(endpoint: &str) -> Option<String> {
    let endpoint = Endpoint::parse(endpoint).ok()?;
    let is_loopback = endpoint.address() == "localhost"
        || endpoint
            .address()
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback() || address.is_unspecified());
    is_loopback.then(|| format!("spec.endpoints: {endpoint} leads every Pod to itself"))
}

/// Who uses it, as the beginning of a sentence.
fn users(data_store: &DataStore) -> Option<String> {
    let users = &data_store.status.as_ref()?.used_by;
    let named: Vec<&str> = users.iter().take(NAMED).map(String::as_str).collect();
    let others = users.len().saturating_sub(NAMED);
    match others {
        0 if named.is_empty() => None,
        0 => Some(named.join(", ")),
        others => Some(format!("{} and {others} others", named.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn data_store(endpoints: &[&str], used_by: &Value) -> DataStore {
        serde_json::from_value(json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "DataStore", "metadata": { "name": "store" },
            "spec": { "driver": "etcd", "endpoints": endpoints },
            "status": { "ready": true, "usedBy": used_by },
        }))
        .unwrap()
    }

    #[test]
    fn endpoints_must_be_of_the_right_form_unless_they_were_there_before() {
        let none = json!([]);
        for bad in ["https://etcd:2379", "etcd", "etcd:0", "etcd:70000", "[::1:2379", "fd00::1:2379", "a b:1"]
        {
            let answer = judge(&data_store(&["etcd:2379", bad], &none), None, None);
            assert!(answer.complaints.to_string().starts_with("spec.endpoints[1]: "), "{bad}: {answer:?}");
            let old = data_store(&[bad], &none);
            assert!(judge(&data_store(&["etcd:2379", bad], &none), Some(&old), None).complaints.is_empty());
        }
        for good in ["etcd:2379", "10.0.0.1:1", "[fd00::1]:65535"] {
            assert_eq!(judge(&data_store(&[good], &none), None, None), Answer::allowed());
        }
    }

    #[test]
    fn what_would_not_work_is_told() {
        for loopback in ["127.0.0.1:2379", "localhost:2379", "[::1]:2379", "0.0.0.0:2379"] {
            let answer = judge(&data_store(&[loopback], &json!([])), None, None);
            assert!(answer.complaints.is_empty());
            assert!(answer.warnings[0].contains("leads every Pod to itself"), "{loopback}");
        }
        let answer = judge(&data_store(&["a:1"], &json!([])), None, Some("Secret a/b does not exist".into()));
        assert_eq!(answer.warnings, ["the DataStore cannot be used yet: Secret a/b does not exist"]);
    }

    #[test]
    fn who_uses_it_is_told() {
        let used = data_store(&["a:1"], &json!(["x/1", "x/2", "x/3", "x/4", "x/5"]));
        let deletion = on_deletion(&used);
        assert!(deletion.complaints.is_empty());
        assert!(
            deletion.warnings[0].starts_with("x/1, x/2, x/3 and 2 others use it: it stays until"),
            "{deletion:?}"
        );
        assert_eq!(on_deletion(&data_store(&["a:1"], &json!([]))), Answer::allowed());
        let moved = judge(&data_store(&["b:1"], &json!([])), Some(&used), None);
        assert!(moved.warnings[0].contains("must lead to the same data"), "{moved:?}");
        assert!(judge(&used, Some(&used), None).warnings.is_empty());
    }
}
