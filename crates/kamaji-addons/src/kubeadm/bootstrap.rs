//! What lets a machine with a bootstrap token become a node, and a node keep its certificate.

use k8s_openapi::api::rbac::v1::ClusterRole;

use super::metadata;
use super::rbac::{BOOTSTRAPPERS, NODES, cluster_role_binding, group, may_get, user};
use crate::Object;

/// The name of a Role that lets tokens see nodes: `kubeadm join` looks whether the name is taken.
const GET_NODES: &str = "kubeadm:get-nodes";

/// Rights of bootstrap tokens, of nodes, and of the API server towards kubelets.
///
/// The roles that are bound are kube-apiserver's own; kube-controller-manager is what approves the requests.
pub fn objects() -> Vec<Object> {
    let get_nodes = ClusterRole {
        metadata: metadata(None, GET_NODES),
        rules: Some(vec![may_get("nodes")]),
        aggregation_rule: None,
    };
    let bindings = [
        (GET_NODES, GET_NODES, group(BOOTSTRAPPERS)),
        ("kubeadm:kubelet-bootstrap", "system:node-bootstrapper", group(BOOTSTRAPPERS)),
        (
            "kubeadm:node-autoapprove-bootstrap",
            "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
            group(BOOTSTRAPPERS),
        ),
        (
            "kubeadm:node-autoapprove-certificate-rotation",
            "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
            group(NODES),
        ),
        // The certificate with which the API server asks for logs carries no group, so no right of its own.
        (
            "kubeadm:apiserver-kubelet-client",
            "system:kubelet-api-admin",
            user("kube-apiserver-kubelet-client"),
        ),
    ];
    let bindings =
        bindings.map(|(name, role, subject)| Object::of(&cluster_role_binding(name, role, subject)));
    [Object::of(&get_nodes)].into_iter().chain(bindings).collect()
}
