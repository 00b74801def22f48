//! A tenant without replicas sleeps: nothing runs, everything is kept.

use anyhow::{Context, Result, ensure};
use kamaji_api::v1alpha1::{Phase, TenantControlPlane};
use kamaji_e2e::tenant::{has_note, in_lab, leave_note};
use kube::ResourceExt;
use serde_json::json;
use xtask::programs::Release;

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_sleeps_and_wakes_with_its_data() -> Result<()> {
    in_lab("sleep", async |lab| {
        lab.create("sleeper", Release::V1_34, &json!({})).await?;
        let uid = lab.ready("sleeper").await?.uid().context("a tenant has a UID")?;
        leave_note(&lab.administrator("sleeper").await?).await?;

        lab.change("sleeper", &json!({ "controlPlane": { "deployment": { "replicas": 0 } } })).await?;
        let asleep = lab.when("sleeper", "Ready", "False", "Sleeping").await?;
        ensure!(phase(&asleep) == Some(Phase::Sleeping), "the phase is {:?}", phase(&asleep));
        lab.no_pods().await?;
        let kept = lab.store().await?.traces_of(&uid).await?;
        ensure!(
            kept.iter().any(|trace| trace.ends_with("/configmaps/default/note")),
            "only {kept:?} is kept"
        );

        lab.change("sleeper", &json!({ "controlPlane": { "deployment": { "replicas": 1 } } })).await?;
        lab.ready("sleeper").await?;
        ensure!(has_note(&lab.administrator("sleeper").await?).await?, "the data is gone");
        Ok(())
    })
    .await
}

fn phase(tenant: &TenantControlPlane) -> Option<Phase> {
    let version = tenant.status.as_ref()?.kubernetes_resources.as_ref()?.version.as_ref()?;
    Some(version.status)
}
