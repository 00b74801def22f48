//! The inside of a made-up tenant, for tests that need no operator.

use std::net::IpAddr;

use anyhow::{Context, Result};
use kamaji_addons::Interior;
use kamaji_api::tenant::{Settings, Tenant};
use kamaji_api::v1alpha1::Driver;
use kamaji_resources::{Endpoint, Storage};
use serde_json::{Value, json};

/// The inside of a tenant of Kubernetes 1.34 in whose spec these fields are set, whose API server is at this address.
///
/// # Errors
/// When the spec cannot be read or is not sound.
pub fn of(fields: &Value, address: IpAddr) -> Result<Interior> {
    let mut tcp = json!({
        "apiVersion": "kamaji.clastix.io/v1alpha1",
        "kind": "TenantControlPlane",
        "metadata": { "name": "blue", "namespace": "teams", "uid": "4746b6dc-a96d-4b56-9a1c-e561fad1fc10" },
        "spec": {
            "dataStore": "default",
            "controlPlane": { "service": { "serviceType": "ClusterIP" } },
            "kubernetes": { "version": "v1.34.4", "kubelet": {} },
        },
    });
    for (field, value) in fields.as_object().context("the fields are an object")? {
        tcp["spec"][field] = value.clone();
    }
    let tcp = serde_json::from_value(tcp).context("reading the spec")?;
    Ok(Interior {
        tenant: Tenant::resolve(&tcp, &Settings::default())?,
        endpoint: Endpoint { address, advertised: address, port: 6443 },
        storage: Storage {
            driver: Driver::Etcd,
            data_store: "default".to_owned(),
            endpoints: vec!["etcd.kamaji-system.svc:2379".to_owned()],
            schema: "teams_blue".to_owned(),
            user: "teams_blue".to_owned(),
        },
        authority: "-----BEGIN CERTIFICATE-----\nTUlJQg==\n-----END CERTIFICATE-----\n".to_owned(),
    })
}
