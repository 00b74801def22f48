//! Kinds of objects that are kept in another DataStore.

use std::collections::BTreeMap;

use super::Complaints;
use crate::v1alpha1::DataStoreOverride;

/// The DataStore of each kind that has one of its own.
///
/// A kind is `group/resource` as kube-apiserver's `--etcd-servers-overrides` reads it: the core group is empty, and `*` is
/// every resource of a group.
pub(super) fn resolve(spec: &[DataStoreOverride], complaints: &mut Complaints) -> BTreeMap<String, String> {
    let mut kept = BTreeMap::<String, String>::new();
    for (index, DataStoreOverride { resource, data_store }) in spec.iter().enumerate() {
        let field = |name: &str| format!("spec.dataStoreOverrides[{index}].{name}");
        if !is_kind(resource) {
            complaints.add(
                field("resource"),
                format!("{resource:?} names no kind: write group/resource, for example /events or apps/deployments"),
            );
        }
        if data_store.is_empty() {
            complaints.add(field("dataStore"), "names no DataStore");
        }
        match kept.get(resource) {
            Some(other) if other != data_store => {
                let message = format!("{resource} is kept in DataStore {other} already: name it once");
                complaints.add(field("resource"), message);
            }
            _ => drop(kept.insert(resource.clone(), data_store.clone())),
        }
    }
    kept
}

fn is_kind(text: &str) -> bool {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    text.split_once('/').is_some_and(|(group, resource)| {
        plain(group) && (resource == "*" || (plain(resource) && !resource.is_empty()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(overrides: &[(&str, &str)]) -> Vec<DataStoreOverride> {
        let named = |(resource, data_store): &(&str, &str)| DataStoreOverride {
            resource: (*resource).to_owned(),
            data_store: (*data_store).to_owned(),
        };
        overrides.iter().map(named).collect()
    }

    #[test]
    fn kinds_are_read_as_the_api_server_reads_them() {
        let mut complaints = Complaints::default();
        let kinds = ["/events", "apps/deployments", "coordination.k8s.io/leases", "/*", "batch/*"];
        let kept = resolve(&spec(&kinds.map(|kind| (kind, "second"))), &mut complaints);
        assert!(complaints.is_empty(), "{complaints}");
        assert_eq!(kept.len(), kinds.len());
    }

    #[test]
    fn what_would_break_the_argument_is_refused() {
        for bad in
            ["", "events", "/", "a/b/c", "/a#b", "/a,b", "/a;b", "/a b", "/events#https://x", "*/events"]
        {
            let mut complaints = Complaints::default();
            resolve(&spec(&[(bad, "second")]), &mut complaints);
            assert!(complaints.to_string().contains("spec.dataStoreOverrides[0].resource"), "{bad:?}");
        }
    }

    #[test]
    fn a_kind_has_one_store() {
        let mut complaints = Complaints::default();
        resolve(&spec(&[("/events", "a"), ("/events", "a")]), &mut complaints);
        assert!(complaints.is_empty(), "said twice is said once");
        resolve(&spec(&[("/events", "a"), ("/events", "b")]), &mut complaints);
        assert!(complaints.to_string().contains("spec.dataStoreOverrides[1].resource"), "{complaints}");
    }
}
