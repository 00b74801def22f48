//! The `PodDisruptionBudget` of a control plane with several Pods: whoever drains nodes takes one Pod at a time.
//!
//! The server evicts no Pod that two budgets select, so there is none of ours beside one that somebody else has made.

use std::collections::BTreeMap;

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kamaji_api::{Child, Tenant};

use crate::{deployment, object};

/// The fewest Pods that one may be taken from without anybody noticing.
pub const FEWEST: i32 = 2;

/// The budget as it should be, if the tenant has enough Pods for one. A Pod that is not ready may always be evicted: it serves
/// nobody, and would hold up its node for ever.
pub fn build(tenant: &Tenant) -> Option<PodDisruptionBudget> {
    (tenant.replicas >= FEWEST).then(|| PodDisruptionBudget {
        metadata: object::metadata(&tenant.id, Child::DisruptionBudget),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(deployment::selector(tenant)),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    })
}

/// Whether this budget is about Pods with these labels.
///
/// A selector that cannot be understood selects nothing, and so does one that is missing; an empty one selects everything
/// (Kubernetes API reference, `policy/v1`).
pub fn selects(budget: &PodDisruptionBudget, pod: &BTreeMap<String, String>) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| matches(selector, pod))
}

fn matches(selector: &LabelSelector, pod: &BTreeMap<String, String>) -> bool {
    let labels = selector.match_labels.iter().flatten().all(|(label, value)| pod.get(label) == Some(value));
    labels && selector.match_expressions.iter().flatten().all(|requirement| holds(requirement, pod))
}

fn holds(requirement: &LabelSelectorRequirement, pod: &BTreeMap<String, String>) -> bool {
    let value = pod.get(&requirement.key);
    let is_listed =
        || value.is_some_and(|value| requirement.values.iter().flatten().any(|listed| listed == value));
    match requirement.operator.as_str() {
        "In" => is_listed(),
        "NotIn" => !is_listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use kamaji_api::tenant::fixtures;
    use serde_json::json;

    use super::*;

    fn with(replicas: i32) -> Tenant {
        Tenant { replicas, ..fixtures::tenant() }
    }

    #[test]
    fn a_lone_pod_can_be_spared_by_nobody() {
        let counts = [0, 1, 2, 3].map(|replicas| build(&with(replicas)).is_some());
        assert_eq!(counts, [false, false, true, true]);
    }

    #[test]
    fn ours_is_about_our_pods_and_no_others() {
        let budget = build(&with(2)).unwrap();
        let pod = |name: &str| BTreeMap::from([("kamaji.clastix.io/name".to_owned(), name.to_owned())]);
        assert!(selects(&budget, &pod("blue")));
        assert!(!selects(&budget, &pod("green")));
    }

    #[test]
    fn selectors_are_read_as_the_server_reads_them() {
        let pod = BTreeMap::from([("app".to_owned(), "blue".to_owned())]);
        let expression = |key: &str, operator: &str, values: &[&str]| json!({ "matchExpressions": [{ "key": key, "operator": operator, "values": values }] });
        let table = [
            (json!({}), true),
            (json!(null), false),
            (json!({ "matchLabels": { "app": "blue" } }), true),
            (json!({ "matchLabels": { "app": "blue", "tier": "1" } }), false),
            (expression("app", "In", &["green", "blue"]), true),
            (expression("app", "In", &["green"]), false),
            (expression("tier", "In", &["green"]), false),
            (expression("app", "NotIn", &["green"]), true),
            (expression("tier", "NotIn", &["green"]), true),
            (expression("app", "NotIn", &["blue"]), false),
            (expression("app", "Exists", &[]), true),
            (expression("tier", "DoesNotExist", &[]), true),
            (expression("app", "DoesNotExist", &[]), false),
            (expression("app", "Resembles", &["blue"]), false),
        ];
        for (selector, expected) in table {
            let budget = serde_json::from_value(json!({ "spec": { "selector": selector } })).unwrap();
            assert_eq!(selects(&budget, &pod), expected, "{selector}");
        }
    }
}
