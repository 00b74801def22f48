//! Who may do what in a new cluster.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kamaji_api::labels;
use kube::Resource;

/// The group in the certificate of `admin.conf`, and the name of what binds it.
pub const CLUSTER_ADMINS: &str = "kubeadm:cluster-admins";

/// The binding that makes the user of `admin.conf` an administrator: unlike `system:masters`, which no rule can take
/// anything from, this can be removed.
pub fn cluster_admins() -> ClusterRoleBinding {
    let group = ClusterRole::group(&()).into_owned();
    ClusterRoleBinding {
        metadata: ObjectMeta {
            name: Some(CLUSTER_ADMINS.to_owned()),
            labels: Some([(labels::PROJECT.to_owned(), labels::PROJECT_VALUE.to_owned())].into()),
            ..ObjectMeta::default()
        },
        role_ref: RoleRef {
            api_group: Some(group.clone()),
            kind: ClusterRole::kind(&()).into_owned(),
            name: "cluster-admin".to_owned(),
        },
        subjects: Some(vec![Subject {
            api_group: Some(group),
            kind: "Group".to_owned(),
            name: CLUSTER_ADMINS.to_owned(),
            namespace: None,
        }]),
    }
}
