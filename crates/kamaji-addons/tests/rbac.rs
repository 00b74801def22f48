//! The bindings of a new tenant cluster, as they go over the wire.

use kamaji_addons::kubeadm::rbac;

#[test]
fn the_administrators_are_bound() {
    insta::assert_yaml_snapshot!(rbac::cluster_admins());
}
