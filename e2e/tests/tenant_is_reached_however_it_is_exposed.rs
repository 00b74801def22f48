//! A tenant is reached from outside of the cluster through a node's port, and through a load balancer.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{Namespace, Service};
use kamaji_e2e::tenant::{Lab, in_lab};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;
use xtask::{cluster::layout::NODE_ADDRESS, programs::Release};

/// A port in the range that the API server gives to Services.
const NODE_PORT: u16 = 30_643;

/// An address that is on no interface: kube-proxy takes what is sent to it.
const BALANCER: &str = "10.99.0.101";

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_reached_however_it_is_exposed() -> Result<()> {
    in_lab("exposures", async |lab| tokio::try_join!(by_node_port(lab), by_load_balancer(lab)).map(drop))
        .await
}

async fn by_node_port(lab: &Lab) -> Result<()> {
    let spec = json!({
        "controlPlane": { "service": { "serviceType": "NodePort" } },
        "networkProfile": { "address": NODE_ADDRESS, "port": NODE_PORT },
    });
    lab.create("ported", Release::V1_34, &spec).await?;
    lab.ready("ported").await?;
    answers_at(lab, "ported", &format!("{NODE_ADDRESS}:{NODE_PORT}")).await
}

async fn by_load_balancer(lab: &Lab) -> Result<()> {
    let spec = json!({ "controlPlane": { "service": { "serviceType": "LoadBalancer" } } });
    lab.create("balanced", Release::V1_34, &spec).await?;
    lab.when("balanced", "Endpoint", "False", "LoadBalancerPending").await?;
    // Here is no load balancer, so we do its work.
    let status = Patch::Merge(json!({ "status": { "loadBalancer": { "ingress": [{ "ip": BALANCER }] } } }));
    lab.api::<Service>().patch_status("balanced", &PatchParams::default(), &status).await?;
    lab.ready("balanced").await?;
    answers_at(lab, "balanced", &format!("{BALANCER}:6443")).await
}

async fn answers_at(lab: &Lab, name: &str, address: &str) -> Result<()> {
    let kubeconfig = lab.kubeconfig(name).await?;
    let server = kubeconfig.clusters[0].cluster.as_ref().and_then(|cluster| cluster.server.clone());
    ensure!(server == Some(format!("https://{address}")), "{name} is to be reached at {server:?}");
    let tenant = lab.administrator(name).await?;
    let namespaces = Api::<Namespace>::all(tenant).list(&ListParams::default()).await?;
    ensure!(!namespaces.items.is_empty(), "{name} has no namespaces");
    Ok(())
}
