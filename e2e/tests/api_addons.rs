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
use kamaji_api::tenant::{Settings, Tenant};
use kamaji_api::v1alpha1::Driver;
use kamaji_resources::{Endpoint, Storage};
use serde_json::{Value, json};

/// The manager under which the operator writes inside tenants.
const MANAGER: &str = "kamaji-tenant";

/// The inside of a tenant of this version, with this `networkProfile`, whose API server is at this address.
fn interior(version: &str, network: &Value, address: &str) -> Interior {
    let tcp = json!({
        "apiVersion": "kamaji.clastix.io/v1alpha1",
        "kind": "TenantControlPlane",
        "metadata": { "name": "blue", "namespace": "teams", "uid": "4746b6dc-a96d-4b56-9a1c-e561fad1fc10" },
        "spec": {
            "dataStore": "default",
            "controlPlane": { "service": { "serviceType": "ClusterIP" } },
            "kubernetes": { "version": version, "kubelet": {} },
            "networkProfile": network,
        },
    });
    let address = address.parse().unwrap();
    Interior {
        tenant: Tenant::resolve(&serde_json::from_value(tcp).unwrap(), &Settings::default()).unwrap(),
        endpoint: Endpoint { address, advertised: address, port: 6443 },
        storage: Storage {
            driver: Driver::Etcd,
            data_store: "default".to_owned(),
            endpoints: vec!["etcd.kamaji-system.svc:2379".to_owned()],
            schema: "teams_blue".to_owned(),
            user: "teams_blue".to_owned(),
        },
        authority: "-----BEGIN CERTIFICATE-----\nTUlJQg==\n-----END CERTIFICATE-----\n".to_owned(),
    }
}
