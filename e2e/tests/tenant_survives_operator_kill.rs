//! The operator dies at any moment, and the tenant gets where it was going.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret};
use kamaji_api::{Child, labels, v1alpha1::TenantControlPlane};
use kamaji_e2e::tenant::in_lab;
use kube::{ResourceExt, api::DeleteParams};
use serde_json::json;
use xtask::programs::Release;

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_made_and_ended_although_the_operator_dies() -> Result<()> {
    in_lab("kills", async |lab| {
        lab.create("phoenix", Release::V1_34, &json!({})).await?;

        let is_held = |tcp: &TenantControlPlane| {
            tcp.finalizers().iter().any(|finalizer| finalizer == labels::DATASTORE_FINALIZER)
        };
        let tenant = lab.until("phoenix", "the finalizer", is_held).await?;
        lab.kill_operator().await?;

        let certificate = Child::DatastoreCertificate.name("phoenix");
        lab.until::<Secret>(&certificate, "the datastore's certificate", |_| true).await?;
        lab.kill_operator().await?;

        lab.until::<Deployment>("phoenix", "the Deployment", |_| true).await?;
        lab.kill_operator().await?;

        lab.ready("phoenix").await?;
        lab.administrator("phoenix").await?.apiserver_version().await?;
        let generation = lab.api::<Deployment>().get("phoenix").await?.metadata.generation;
        ensure!(generation == Some(1), "the Deployment has generation {generation:?}");

        lab.api::<TenantControlPlane>().delete("phoenix", &DeleteParams::default()).await?;
        lab.kill_operator().await?;
        lab.gone::<TenantControlPlane>("phoenix").await?;
        let uid = tenant.uid().context("a tenant has a UID")?;
        let traces = lab.store().await?.traces_of(&uid).await?;
        ensure!(traces.is_empty(), "it left {traces:?}");
        Ok(())
    })
    .await
}
