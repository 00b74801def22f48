//! Who may do what in a new cluster.

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use kube::Resource;

use super::metadata;
use crate::Object;

/// The group in the certificate of `admin.conf`, and the name of what binds it.
pub const CLUSTER_ADMINS: &str = "kubeadm:cluster-admins";
/// The group of every kubelet with a certificate (`k8s.io/apiserver/pkg/authentication/user.NodesGroup`).
pub const NODES: &str = "system:nodes";
/// The group of every token that `kubeadm` makes for nodes to join with.
pub const BOOTSTRAPPERS: &str = "system:bootstrappers:kubeadm:default-node-token";

/// The binding that makes the user of `admin.conf` an administrator: unlike `system:masters`, which no rule can take
/// anything from, this can be removed.
pub fn cluster_admins() -> ClusterRoleBinding {
    cluster_role_binding(CLUSTER_ADMINS, "cluster-admin", group(CLUSTER_ADMINS))
}

/// Gives one subject a role that holds everywhere.
pub(super) fn cluster_role_binding(name: &str, role: &str, subject: Subject) -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: metadata(None, name),
        role_ref: RoleRef {
            api_group: Some(api_group()),
            kind: kind::<ClusterRole>(),
            name: role.to_owned(),
        },
        subjects: Some(vec![subject]),
    }
}

/// A Role to read this one ConfigMap, and the binding that gives it to `subjects`.
pub(super) fn readers(name: &str, config_map: &ConfigMap, subjects: Vec<Subject>) -> [Object; 2] {
    let namespace = config_map.metadata.namespace.as_deref();
    let role = Role {
        metadata: metadata(namespace, name),
        rules: Some(vec![PolicyRule {
            resource_names: config_map.metadata.name.clone().map(|name| vec![name]),
            ..may_get("configmaps")
        }]),
    };
    let binding = RoleBinding {
        metadata: metadata(namespace, name),
        role_ref: RoleRef { api_group: Some(api_group()), kind: kind::<Role>(), name: name.to_owned() },
        subjects: Some(subjects),
    };
    [Object::of(&role), Object::of(&binding)]
}

/// To get objects of this kind of the core group.
pub(super) fn may_get(plural: &str) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec![plural.to_owned()]),
        verbs: vec!["get".to_owned()],
        ..PolicyRule::default()
    }
}

pub(super) fn group(name: &str) -> Subject {
    subject("Group", name)
}

pub(super) fn user(name: &str) -> Subject {
    subject("User", name)
}

fn subject(kind: &str, name: &str) -> Subject {
    // The server would fill in the group: what is said is what is there, to whoever compares.
    Subject { api_group: Some(api_group()), kind: kind.to_owned(), name: name.to_owned(), namespace: None }
}

fn api_group() -> String {
    ClusterRole::group(&()).into_owned()
}

fn kind<K: Resource<DynamicType = ()>>() -> String {
    K::kind(&()).into_owned()
}
