//! How a management cluster is told to ask the operator about objects before it stores them, and what it decides by itself.
//!
//! Whatever must never be stored is refused by the definitions themselves ([`crate::crd`]) and by [`generator_policy`], which
//! hold while no operator runs. The webhooks only help: they fill in what can be worked out and compare objects with each
//! other. So by default a webhook that does not answer is passed over, nobody is asked about deletions, finalizers, labels
//! and status, and nobody is asked about what the operator itself writes.

use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MatchResources, MutatingWebhook, NamedRuleWithOperations, RuleWithOperations,
    ServiceReference, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    ValidatingAdmissionPolicyBindingSpec, ValidatingAdmissionPolicySpec, ValidatingWebhook, Validation,
    WebhookClientConfig,
};
use kube::core::ObjectMeta;

/// Name of the configuration whose webhooks fill in what is left out.
pub const MUTATING_CONFIGURATION: &str = "kamaji-mutating-webhook-configuration";
/// Name of the configuration whose webhooks refuse.
pub const VALIDATING_CONFIGURATION: &str = "kamaji-validating-webhook-configuration";
/// Name of the policy about each KubeconfigGenerator, and of its binding.
pub const GENERATOR_POLICY: &str = "kamaji-kubeconfig-generators";
/// Name of the condition that tells our webhooks from the Go operator's: what the operator itself writes is not asked about.
pub const NOT_THE_OPERATOR: &str = "not-the-operator";
/// Port of the Service in front of the webhooks, unless another is chosen.
pub const SERVICE_PORT: i32 = 443;
/// How long the API server waits for an answer, in seconds.
const TIMEOUT_SECONDS: i32 = 5;
const GROUP: &str = "kamaji.clastix.io";

/// A question that the API server asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// What is to be filled in of a new TenantControlPlane?
    DefaultTenant,
    /// May this TenantControlPlane be stored?
    ValidateTenant,
    /// May this DataStore be stored?
    ValidateDataStore,
}

impl Hook {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::DefaultTenant, Self::ValidateTenant, Self::ValidateDataStore];

    /// Where it is asked.
    pub const fn path(self) -> &'static str {
        match self {
            Self::DefaultTenant => "/mutate-kamaji-clastix-io-v1alpha1-tenantcontrolplane",
            Self::ValidateTenant => "/validate-kamaji-clastix-io-v1alpha1-tenantcontrolplane",
            Self::ValidateDataStore => "/validate-kamaji-clastix-io-v1alpha1-datastore",
        }
    }

    /// Its name in the configuration and in refusals.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DefaultTenant => "mtenantcontrolplane.kb.io",
            Self::ValidateTenant => "vtenantcontrolplane.kb.io",
            Self::ValidateDataStore => "vdatastore.kb.io",
        }
    }

    const fn resource(self) -> &'static str {
        match self {
            Self::DefaultTenant | Self::ValidateTenant => "tenantcontrolplanes",
            Self::ValidateDataStore => "datastores",
        }
    }

    /// A deletion of a DataStore is never refused, only commented on.
    const fn operations(self) -> &'static [&'static str] {
        match self {
            Self::DefaultTenant => &["CREATE"],
            Self::ValidateTenant => &["CREATE", "UPDATE"],
            Self::ValidateDataStore => &["CREATE", "UPDATE", "DELETE"],
        }
    }

    fn rule(self) -> RuleWithOperations {
        let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
        RuleWithOperations {
            api_groups: words(&[GROUP]),
            api_versions: words(&["v1alpha1"]),
            operations: words(self.operations()),
            resources: words(&[self.resource()]),
            scope: None,
        }
    }
}

/// Who is asked, and how much depends on it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Namespace of the operator.
    pub namespace: String,
    /// Name of the Service in front of it.
    pub service: String,
    /// Port of that Service.
    pub port: i32,
    /// User name of the operator, whose own writes are not asked about.
    pub operator: String,
    /// `Ignore` or `Fail`: what happens when nobody answers.
    pub failure_policy: String,
}

/// The webhooks that fill in what is left out.
pub fn mutating(asked: &Asked) -> Vec<MutatingWebhook> {
    let hook = Hook::DefaultTenant;
    vec![MutatingWebhook {
        name: hook.name().to_owned(),
        admission_review_versions: vec!["v1".to_owned()],
        client_config: asked.client_config(hook),
        failure_policy: Some(asked.failure_policy.clone()),
        match_conditions: Some(asked.conditions()),
        rules: Some(vec![hook.rule()]),
        side_effects: "None".to_owned(),
        timeout_seconds: Some(TIMEOUT_SECONDS),
        ..MutatingWebhook::default()
    }]
}

/// The webhooks that refuse.
pub fn validating(asked: &Asked) -> Vec<ValidatingWebhook> {
    let webhook = |hook: Hook| ValidatingWebhook {
        name: hook.name().to_owned(),
        admission_review_versions: vec!["v1".to_owned()],
        client_config: asked.client_config(hook),
        failure_policy: Some(asked.failure_policy.clone()),
        match_conditions: Some(asked.conditions()),
        rules: Some(vec![hook.rule()]),
        side_effects: "None".to_owned(),
        timeout_seconds: Some(TIMEOUT_SECONDS),
        ..ValidatingWebhook::default()
    };
    [Hook::ValidateTenant, Hook::ValidateDataStore].map(webhook).into()
}

/// An object that is being deleted only loses its finalizers.
const NOT_BEING_DELETED: &str = "request.operation == 'DELETE' || !has(object.metadata.deletionTimestamp)";
/// Labels, finalizers and owners may change at any time.
const SPEC_OR_ANNOTATIONS_CHANGE: &str = "request.operation != 'UPDATE' || object.spec != oldObject.spec || \
    (has(object.metadata.annotations) ? object.metadata.annotations : {}) != \
    (has(oldObject.metadata.annotations) ? oldObject.metadata.annotations : {})";

fn condition(name: &str, expression: impl Into<String>) -> MatchCondition {
    MatchCondition { name: name.to_owned(), expression: expression.into() }
}

impl Asked {
    fn client_config(&self, hook: Hook) -> WebhookClientConfig {
        WebhookClientConfig {
            service: Some(ServiceReference {
                namespace: self.namespace.clone(),
                name: self.service.clone(),
                path: Some(hook.path().to_owned()),
                port: Some(self.port),
            }),
            ..WebhookClientConfig::default()
        }
    }

    fn conditions(&self) -> Vec<MatchCondition> {
        vec![
            condition(NOT_THE_OPERATOR, format!("request.userInfo.username != '{}'", self.operator)),
            condition("not-being-deleted", NOT_BEING_DELETED),
            condition("spec-or-annotations-change", SPEC_OR_ANNOTATIONS_CHANGE),
        ]
    }
}

/// No kubeconfig is made for Kubernetes' own users and groups, such as `system:masters`: who may write a KubeconfigGenerator
/// would be administrator of every tenant. What was stored before may stay.
pub fn generator_policy() -> (ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding) {
    let metadata = || ObjectMeta { name: Some(GENERATOR_POLICY.to_owned()), ..ObjectMeta::default() };
    let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    let resources = NamedRuleWithOperations {
        api_groups: words(&[GROUP]),
        api_versions: words(&["v1alpha1"]),
        operations: words(&["CREATE", "UPDATE"]),
        resources: words(&["kubeconfiggenerators"]),
        ..NamedRuleWithOperations::default()
    };
    let refused = |expression: &str, field: &str| Validation {
        expression: expression.to_owned(),
        message: Some(format!(
            "{field} begins with system:, which is a user or group of Kubernetes itself: choose another name, or \
             allow it in the values of Kamaji's chart"
        )),
        reason: Some("Invalid".to_owned()),
        ..Validation::default()
    };
    let policy = ValidatingAdmissionPolicySpec {
        failure_policy: Some("Fail".to_owned()),
        match_constraints: Some(MatchResources {
            resource_rules: Some(vec![resources]),
            ..MatchResources::default()
        }),
        match_conditions: Some(vec![
            condition("not-being-deleted", "!has(object.metadata.deletionTimestamp)"),
            condition("spec-changes", "request.operation != 'UPDATE' || object.spec != oldObject.spec"),
        ]),
        validations: Some(vec![
            refused(
                "!has(object.spec.user.stringValue) || !object.spec.user.stringValue.startsWith('system:')",
                "spec.user.stringValue",
            ),
            refused(
                "!has(object.spec.groups) || object.spec.groups.all(group, !has(group.stringValue) || \
                 !group.stringValue.startsWith('system:'))",
                "an entry of spec.groups",
            ),
        ]),
        ..ValidatingAdmissionPolicySpec::default()
    };
    let binding = ValidatingAdmissionPolicyBindingSpec {
        policy_name: GENERATOR_POLICY.to_owned(),
        validation_actions: vec!["Deny".to_owned()],
        ..ValidatingAdmissionPolicyBindingSpec::default()
    };
    (
        ValidatingAdmissionPolicy {
            metadata: metadata(),
            spec: Some(policy),
            ..ValidatingAdmissionPolicy::default()
        },
        ValidatingAdmissionPolicyBinding { metadata: metadata(), spec: binding },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_asked_about_what_must_never_wait() {
        let asked = Asked {
            namespace: "ns".into(),
            service: "service".into(),
            port: SERVICE_PORT,
            operator: "system:serviceaccount:ns:operator".into(),
            failure_policy: "Ignore".into(),
        };
        let tenant = Hook::ValidateTenant.rule();
        assert_eq!(tenant.operations, Some(vec!["CREATE".to_owned(), "UPDATE".to_owned()]));
        for webhook in validating(&asked) {
            assert_eq!(webhook.side_effects, "None", "dry runs are asked about, too");
            let resources = webhook.rules.iter().flatten().flat_map(|rule| rule.resources.iter().flatten());
            assert!(resources.into_iter().all(|resource| !resource.contains(['/', '*'])), "no subresource");
            let conditions = webhook.match_conditions.unwrap();
            assert!(conditions[0].expression.contains("'system:serviceaccount:ns:operator'"));
            assert_eq!(conditions.len(), 3);
        }
        assert_eq!(mutating(&asked)[0].name, "mtenantcontrolplane.kb.io");
    }
}
