//! What we leave in a tenant for those who join, against the real kubeadm and kubelet of the same minor.
//!
//! One kube-apiserver keeps it all, whatever the minor: what kubeadm writes, any server stores.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

#[path = "api_kubeadm/joining.rs"]
mod joining;
#[path = "api_kubeadm/lab.rs"]
mod lab;
#[path = "api_kubeadm/phases.rs"]
mod phases;
#[path = "api_kubeadm/reference.rs"]
mod reference;
