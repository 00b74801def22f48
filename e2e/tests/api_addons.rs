//! What the add-ons of a tenant are for real programs: kube-apiserver, kubeadm, kube-proxy and CoreDNS.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed, which is what it is for"
)]

#[path = "api_addons/corefile.rs"]
mod corefile;
#[path = "api_addons/kubeadm.rs"]
mod kubeadm;
#[path = "api_addons/settling.rs"]
mod settling;

use kamaji_addons::Interior;
use serde_json::{Value, json};

/// The manager under which the operator writes inside tenants.
const MANAGER: &str = "kamaji-tenant";

/// The inside of a tenant of this version, with this `networkProfile`, whose API server is at this address.
fn interior(version: &str, network: &Value, address: &str) -> Interior {
    let fields = json!({ "kubernetes": { "version": version, "kubelet": {} }, "networkProfile": network });
    kamaji_e2e::interior::of(&fields, address.parse().unwrap()).unwrap()
}
