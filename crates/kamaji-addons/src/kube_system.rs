//! What the objects of an add-on have in common: a name, our label, and an account with its rights.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kamaji_api::labels;
use kube::Resource;

/// The namespace of every add-on.
pub(crate) const NAMESPACE: &str = "kube-system";

/// Metadata of an object of ours in [`NAMESPACE`].
pub(crate) fn metadata(name: &str) -> ObjectMeta {
    ObjectMeta { namespace: Some(NAMESPACE.to_owned()), ..cluster_wide(name) }
}

/// Metadata of an object of ours that lies in no namespace.
pub(crate) fn cluster_wide(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some([(labels::PROJECT.to_owned(), labels::PROJECT_VALUE.to_owned())].into()),
        ..ObjectMeta::default()
    }
}

/// The same metadata, with more labels.
pub(crate) fn labelled<'a>(
    metadata: ObjectMeta,
    more: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> ObjectMeta {
    let mut labels = metadata.labels.unwrap_or_default();
    labels.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
    ObjectMeta { labels: Some(labels), ..metadata }
}

/// A ServiceAccount of ours.
pub(crate) fn service_account(name: &str) -> ServiceAccount {
    ServiceAccount { metadata: metadata(name), ..ServiceAccount::default() }
}

/// Gives one subject a `ClusterRole`, everywhere.
pub(crate) fn cluster_role_binding(name: &str, role: &str, subject: Subject) -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: cluster_wide(name),
        role_ref: role_ref::<ClusterRole>(role),
        subjects: Some(vec![subject]),
    }
}

/// Names a role of kind `K`.
pub(crate) fn role_ref<K: Resource<DynamicType = ()>>(name: &str) -> RoleRef {
    RoleRef { api_group: Some(rbac_group()), kind: K::kind(&()).into_owned(), name: name.to_owned() }
}

/// A ServiceAccount in [`NAMESPACE`], as one who is given a role.
pub(crate) fn account(name: &str) -> Subject {
    Subject {
        api_group: None,
        kind: ServiceAccount::kind(&()).into_owned(),
        name: name.to_owned(),
        namespace: Some(NAMESPACE.to_owned()),
    }
}

/// A user or a group (`kind`), as one who is given a role.
pub(crate) fn principal(kind: &str, name: &str) -> Subject {
    Subject { api_group: Some(rbac_group()), kind: kind.to_owned(), name: name.to_owned(), namespace: None }
}

/// Selects what carries this one label.
pub(crate) fn selector((name, value): (&str, &str)) -> LabelSelector {
    LabelSelector {
        match_labels: Some([(name.to_owned(), value.to_owned())].into()),
        ..LabelSelector::default()
    }
}

fn rbac_group() -> String {
    ClusterRole::group(&()).into_owned()
}
