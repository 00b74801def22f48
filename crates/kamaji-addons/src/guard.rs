//! Limited writes: what a tenant's API server refuses while `spec.writePermissions` blocks something.
//!
//! The tenant's own API server decides, by a
//! [ValidatingAdmissionPolicy](https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/)
//! (Kubernetes 1.30 or newer): nothing of ours is asked, so nothing of ours can be slow, down or out of reach. Every resource
//! and subresource in every namespace is held, whoever asks. What goes on is what a cluster needs to stay as it is:
//! heartbeats, status, addresses of Services, renewed certificates, ends of what is being deleted, Pods of the add-ons, and the
//! objects that Kamaji itself keeps.
//!
//! Kubernetes applies no policy to policies, so an administrator of the tenant could remove this one, and a session would put
//! it back. Where the datastore can, [`sealed_keys`] are therefore made read-only there.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::{
    MatchResources, NamedRuleWithOperations, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    ValidatingAdmissionPolicyBindingSpec, ValidatingAdmissionPolicySpec, Validation, Variable,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kamaji_api::labels;
use kamaji_api::v1alpha1::WritePermissions;

use crate::{Identity, Object};

/// Name of the policy and of its binding.
pub const NAME: &str = "kamaji-write-permissions";

/// What the exceptions speak of. What a request does not have is absent and not empty.
const TERMS: [(&str, &str); 4] = [
    // The object as it will be or, when it goes, as it was.
    ("subject", "object != null ? object : oldObject"),
    ("part", "has(request.subResource) ? request.subResource : ''"),
    ("place", "has(request.namespace) ? request.namespace : ''"),
    ("name", "has(request.name) ? request.name : ''"),
];

/// Under which conditions a write is none of the tenant's, each as a CEL expression.
///
/// None of them asks who writes: an administrator of the tenant can pretend to be anybody.
const EXCEPTIONS: [(&str, &str); 8] = [
    (
        // A question or a token, of which nothing is stored.
        "isAnswer",
        "request.resource.group in ['authentication.k8s.io', 'authorization.k8s.io'] || variables.part == 'token'",
    ),
    ("isStatus", "variables.part == 'status'"),
    (
        "isHeartbeat",
        "request.resource.group == 'coordination.k8s.io' && (request.operation == 'UPDATE' || variables.place == 'kube-system')",
    ),
    (
        // Its end was accepted before, or its namespace's.
        "isEnding",
        "(oldObject != null && has(oldObject.metadata.deletionTimestamp)) || (namespaceObject != null && has(namespaceObject.metadata.deletionTimestamp) && request.operation == 'DELETE')",
    ),
    (
        // What controllers of Kubernetes keep, so that what runs is reached, placed and trusted.
        "isBookkeeping",
        "request.resource.group in ['discovery.k8s.io', 'certificates.k8s.io', 'flowcontrol.apiserver.k8s.io'] || (request.resource.group == '' && (request.resource.resource == 'endpoints' || variables.part == 'binding' || (request.resource.resource == 'nodes' && request.operation == 'UPDATE'))) || (request.resource.group == 'networking.k8s.io' && request.resource.resource in ['ipaddresses', 'servicecidrs'])",
    ),
    (
        // What an API server makes when it starts.
        "isBuiltIn",
        "(request.resource.group == 'rbac.authorization.k8s.io' && has(variables.subject.metadata.labels) && 'kubernetes.io/bootstrapping' in variables.subject.metadata.labels) || (request.resource.group == 'apiregistration.k8s.io' && has(variables.subject.metadata.labels) && 'kube-aggregator.kubernetes.io/automanaged' in variables.subject.metadata.labels) || (request.resource.group == 'scheduling.k8s.io' && variables.name.startsWith('system-')) || (request.resource.group == '' && request.resource.resource == 'configmaps' && variables.name in ['kube-root-ca.crt', 'extension-apiserver-authentication', 'kube-apiserver-legacy-service-account-token-tracking']) || (request.resource.group == '' && request.resource.resource == 'services' && variables.place == 'default' && request.name == 'kubernetes') || (request.resource.group == '' && request.resource.resource == 'namespaces' && variables.name in ['default', 'kube-system', 'kube-public', 'kube-node-lease'] && request.operation == 'CREATE')",
    ),
    (
        // Pods of the add-ons, and what stands between them and their Deployment or DaemonSet.
        "isAddonPod",
        "variables.place == 'kube-system' && variables.part == '' && request.resource.resource in ['pods', 'replicasets', 'controllerrevisions'] && has(variables.subject.metadata.ownerReferences) && variables.subject.metadata.ownerReferences.exists(owner, has(owner.controller) && owner.controller && owner.name.matches('^(coredns|kube-proxy|konnectivity-agent)(-[a-z0-9]+)?$'))",
    ),
    // The list is made from our own objects, see `own`.
    ("isKept", ""),
];

/// The policy and its binding, or nothing when every write is allowed. `kept` tells the objects that Kamaji itself keeps
/// inside, and is only asked when writes are limited.
pub fn objects(limits: &WritePermissions, kept: impl FnOnce() -> BTreeSet<Identity>) -> Vec<Object> {
    if limits.is_unlimited() {
        return Vec::new();
    }
    vec![Object::of(&policy(limits, &kept())), Object::of(&binding())]
}

/// Where kube-apiserver keeps policy and binding, below its prefix in the datastore
/// (`k8s.io/apiserver`, `generic.NewRESTOptionsGetter`: the plural, then the name of an object that has no namespace).
pub fn sealed_keys() -> [String; 2] {
    [format!("validatingadmissionpolicies/{NAME}"), format!("validatingadmissionpolicybindings/{NAME}")]
}

fn policy(limits: &WritePermissions, kept: &BTreeSet<Identity>) -> ValidatingAdmissionPolicy {
    let terms = TERMS.map(|(name, expression)| (name.to_owned(), expression.to_owned()));
    let exceptions = EXCEPTIONS.map(|(name, expression)| {
        let expression = if name == "isKept" { own(kept) } else { expression.to_owned() };
        (name.to_owned(), expression)
    });
    let variables = terms.into_iter().chain(exceptions);
    let excepted: Vec<String> = EXCEPTIONS.iter().map(|(name, _)| format!("variables.{name}")).collect();
    ValidatingAdmissionPolicy {
        metadata: metadata(),
        spec: Some(ValidatingAdmissionPolicySpec {
            failure_policy: Some("Fail".to_owned()),
            match_constraints: Some(MatchResources {
                match_policy: Some("Equivalent".to_owned()),
                namespace_selector: Some(LabelSelector::default()),
                object_selector: Some(LabelSelector::default()),
                resource_rules: Some(rules(limits)),
                ..MatchResources::default()
            }),
            variables: Some(variables.map(|(name, expression)| Variable { name, expression }).collect()),
            validations: Some(vec![Validation {
                expression: excepted.join(" || "),
                message: Some(message(limits)),
                reason: Some("Forbidden".to_owned()),
                ..Validation::default()
            }]),
            ..ValidatingAdmissionPolicySpec::default()
        }),
        ..ValidatingAdmissionPolicy::default()
    }
}

fn rules(limits: &WritePermissions) -> Vec<NamedRuleWithOperations> {
    let blocked = [
        (limits.block_creation, "CREATE"),
        (limits.block_update, "UPDATE"),
        (limits.block_deletion, "DELETE"),
    ];
    let operations: Vec<&str> =
        blocked.into_iter().filter_map(|(is_blocked, operation)| is_blocked.then_some(operation)).collect();
    let mut rules = vec![rule("*", "*/*", &operations)];
    if limits.block_deletion && !limits.block_creation {
        // An eviction is a deletion that is asked for by creating something.
        rules.push(rule("", "pods/eviction", &["CREATE"]));
    }
    rules
}

fn rule(group: &str, resource: &str, operations: &[&str]) -> NamedRuleWithOperations {
    NamedRuleWithOperations {
        api_groups: Some(vec![group.to_owned()]),
        api_versions: Some(vec!["*".to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        operations: Some(operations.iter().map(|operation| (*operation).to_owned()).collect()),
        scope: Some("*".to_owned()),
        ..NamedRuleWithOperations::default()
    }
}

fn message(limits: &WritePermissions) -> String {
    let kinds = [
        (limits.block_creation, "creating"),
        (limits.block_update, "changing"),
        (limits.block_deletion, "deleting"),
    ];
    let kinds: Vec<&str> = kinds.into_iter().filter_map(|(blocked, kind)| blocked.then_some(kind)).collect();
    let kinds = kinds.join(" and ");
    format!(
        "the provider of this cluster has suspended {kinds} objects in it: ask the provider to lift spec.writePermissions"
    )
}

/// Whether a write is about one of these.
fn own(kept: &BTreeSet<Identity>) -> String {
    let names: Vec<String> = kept
        .iter()
        .map(|Identity { group, plural, namespace, name }| {
            format!("'{group}/{plural}/{}/{name}'", namespace.as_deref().unwrap_or_default())
        })
        .collect();
    let names = names.join(", ");
    format!(
        "variables.part == '' && (request.resource.group + '/' + request.resource.resource + '/' + variables.place + '/' + variables.name) in [{names}]"
    )
}

fn binding() -> ValidatingAdmissionPolicyBinding {
    ValidatingAdmissionPolicyBinding {
        metadata: metadata(),
        spec: ValidatingAdmissionPolicyBindingSpec {
            policy_name: NAME.to_owned(),
            validation_actions: vec!["Deny".to_owned()],
            ..ValidatingAdmissionPolicyBindingSpec::default()
        },
    }
}

fn metadata() -> ObjectMeta {
    ObjectMeta {
        name: Some(NAME.to_owned()),
        labels: Some([(labels::PROJECT.to_owned(), labels::PROJECT_VALUE.to_owned())].into()),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operations(limits: &WritePermissions) -> Vec<(String, Vec<String>)> {
        rules(limits)
            .into_iter()
            .map(|rule| (rule.resources.unwrap().join(","), rule.operations.unwrap()))
            .collect()
    }

    #[test]
    fn each_limit_holds_its_kind_of_write() {
        let limits = WritePermissions { block_deletion: true, ..WritePermissions::default() };
        assert_eq!(
            operations(&limits),
            [
                ("*/*".to_owned(), vec!["DELETE".to_owned()]),
                ("pods/eviction".to_owned(), vec!["CREATE".to_owned()])
            ]
        );
        let all = WritePermissions { block_creation: true, block_update: true, block_deletion: true };
        assert_eq!(operations(&all)[0].1, ["CREATE", "UPDATE", "DELETE"]);
        assert_eq!(operations(&all).len(), 1);
        assert!(message(&all).contains("creating and changing and deleting"));
    }

    #[test]
    fn without_limits_there_is_nothing() {
        assert_eq!(objects(&WritePermissions::default(), BTreeSet::new), []);
    }
}
