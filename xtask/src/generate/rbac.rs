//! What the operator may do in the management cluster: exactly the calls that it makes.

use std::fmt::Write;

use kamaji_api::admission::{MUTATING_CONFIGURATION, VALIDATING_CONFIGURATION};

use super::{Generated, crds::HEADER};

/// Permission for some verbs on some resources of one API group.
struct Rule {
    why: &'static str,
    group: &'static str,
    resources: &'static [&'static str],
    /// Only objects of these names; of any name if there is none.
    names: &'static [&'static str],
    verbs: &'static [&'static str],
}

const ANY: &[&str] = &[];
const OURS: &str = "kamaji.clastix.io";
const OBSERVE_AND_CLAIM: &[&str] = &["get", "list", "watch", "patch"];
const OWN: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];

/// Rights in the whole cluster, since tenants may live in any namespace.
const CLUSTER: &[Rule] = &[
    Rule {
        why: "Reads what users want, and adds or removes its own finalizers.",
        group: OURS,
        resources: &["datastores", "kubeconfiggenerators", "tenantcontrolplanes"],
        names: ANY,
        verbs: OBSERVE_AND_CLAIM,
    },
    Rule {
        why: "Reports what it found.",
        group: OURS,
        resources: &["datastores/status", "kubeconfiggenerators/status", "tenantcontrolplanes/status"],
        names: ANY,
        verbs: &["patch"],
    },
    Rule {
        why: "Owns its children with blockOwnerDeletion, where OwnerReferencesPermissionEnforcement is enabled.",
        group: OURS,
        resources: &[
            "datastores/finalizers",
            "kubeconfiggenerators/finalizers",
            "tenantcontrolplanes/finalizers",
        ],
        names: ANY,
        verbs: &["update"],
    },
    Rule {
        why: "Keeps the certificates, kubeconfigs, configuration and Service of each tenant; reads the Secrets of DataStores.",
        group: "",
        resources: &["configmaps", "secrets", "services"],
        names: ANY,
        verbs: OWN,
    },
    Rule {
        why: "Keeps the control plane of each tenant.",
        group: "apps",
        resources: &["deployments"],
        names: ANY,
        verbs: OWN,
    },
    Rule {
        why: "Keeps whoever drains nodes from taking all Pods of a tenant at once, unless somebody else does.",
        group: "policy",
        resources: &["poddisruptionbudgets"],
        names: ANY,
        verbs: OWN,
    },
    Rule {
        why: "Waits until the Pods of a tenant are gone before its data is switched to another DataStore.",
        group: "",
        resources: &["pods"],
        names: ANY,
        verbs: &["list"],
    },
    Rule {
        why: "Sees whether a namespace is being deleted, where nothing can be created any more.",
        group: "",
        resources: &["namespaces"],
        names: ANY,
        verbs: &["get"],
    },
    Rule {
        why: "Tells what it did, once for each change.",
        group: "events.k8s.io",
        resources: &["events"],
        names: ANY,
        verbs: &["create", "patch"],
    },
    Rule {
        why: "Tells the API server whom to trust when it asks the operator about an object.",
        group: "admissionregistration.k8s.io",
        resources: &["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
        names: &[MUTATING_CONFIGURATION, VALIDATING_CONFIGURATION],
        verbs: &["list", "watch", "patch"],
    },
];

/// Rights in the operator's own namespace.
const NAMESPACE: &[Rule] = &[
    Rule {
        why: "Makes sure that one replica acts at a time.",
        group: "coordination.k8s.io",
        resources: &["leases"],
        names: ANY,
        verbs: &["get", "create", "update", "patch"],
    },
    Rule {
        why: "Runs the Jobs that move the data of tenants.",
        group: "batch",
        resources: &["jobs"],
        names: ANY,
        verbs: &["get", "list", "watch", "create", "patch", "delete"],
    },
];

/// The rules of the chart's `ClusterRole` and `Role`.
pub(super) fn files() -> Vec<Generated> {
    [("cluster-rules", CLUSTER), ("namespace-rules", NAMESPACE)]
        .map(|(name, rules)| Generated {
            path: format!("charts/kamaji/generated/{name}.yaml"),
            content: render(rules),
        })
        .into()
}

fn render(rules: &[Rule]) -> String {
    let mut text = String::from(HEADER);
    for rule in rules {
        let _ = write!(
            text,
            "# {}\n- apiGroups: [\"{}\"]\n  resources: [{}]\n",
            rule.why,
            rule.group,
            rule.resources.join(", "),
        );
        if !rule.names.is_empty() {
            let _ = writeln!(text, "  resourceNames: [{}]", rule.names.join(", "));
        }
        let _ = writeln!(text, "  verbs: [{}]", rule.verbs.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_rule_grants_more_than_it_names() {
        for rule in CLUSTER.iter().chain(NAMESPACE) {
            for word in rule.resources.iter().chain(rule.verbs) {
                assert!(!word.contains('*'), "{}", rule.why);
            }
            assert!(!rule.why.is_empty() && !rule.resources.is_empty() && !rule.verbs.is_empty());
        }
    }
}
