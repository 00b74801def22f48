//! Ready-made tenants for tests.

use super::{Settings, Tenant};
use crate::v1alpha1::TenantControlPlane;

/// The smallest sound TenantControlPlane: `teams/blue`, on DataStore `default`.
///
/// # Panics
/// Never: the literal is sound.
pub fn tcp() -> TenantControlPlane {
    serde_json::from_value(serde_json::json!({
        "apiVersion": "kamaji.clastix.io/v1alpha1",
        "kind": "TenantControlPlane",
        "metadata": {
            "name": "blue",
            "namespace": "teams",
            "uid": "4746b6dc-a96d-4b56-9a1c-e561fad1fc10",
            "generation": 1,
        },
        "spec": {
            "dataStore": "default",
            "controlPlane": { "service": { "serviceType": "ClusterIP" } },
            "kubernetes": { "version": "v1.34.4", "kubelet": {} },
        },
    }))
    .expect("the literal is a TenantControlPlane")
}

/// The same, resolved.
///
/// # Panics
/// Never: the spec is sound.
pub fn tenant() -> Tenant {
    Tenant::resolve(&tcp(), &Settings::default()).expect("the spec is sound")
}
