//! What `kubeadm init` would have put into the cluster.

pub mod rbac;
