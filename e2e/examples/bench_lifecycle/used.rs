//! What clients notice of changes of a tenant with two replicas.

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kamaji_api::{Child, labels, v1alpha1::TenantControlPlane};
use kamaji_e2e::{
    figures::Line,
    tenant::{Lab, Load},
};
use kamaji_resources::{checksum, rollout::Rollout, rotation};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use xtask::programs::Release;

const NAME: &str = "used";
/// How many clients watch, besides one that reads and one that writes, each 25 times a second.
const WATCHERS: usize = 20;

/// Makes a tenant of two replicas, and changes it while it is used.
pub(crate) async fn measure(lab: &Lab) -> Result<Vec<Line>> {
    println!("making a tenant of two replicas");
    lab.create(NAME, Release::V1_34, &replicas(2)).await?;
    lab.ready(NAME).await?;
    let tenant = lab.administrator(NAME).await?;
    let mut lines = vec![
        under_load(&tenant, "nothing happens", async || tick().await).await?,
        under_load(&tenant, "upgraded from 1.34 to 1.35", async || {
            lab.change(NAME, &json!({ "kubernetes": { "version": Release::V1_35.version() } })).await?;
            lab.ready(NAME).await.map(drop)
        })
        .await?,
        under_load(&tenant, "the API server's certificate renewed", async || renew(lab, NAME).await).await?,
        under_load(&tenant, "scaled from 2 to 3 to 2", async || {
            for count in [3, 2] {
                lab.change(NAME, &replicas(count)).await?;
                lab.ready(NAME).await?;
            }
            Ok(())
        })
        .await?,
        under_load(&tenant, "a Pod deleted", async || lose_pod(lab).await).await?,
        under_load(&tenant, "its authority replaced, until the last word", async || rotate(lab).await)
            .await?,
    ];
    // Whoever has followed has a new kubeconfig; the old one ends with the old authority.
    let tenant = lab.administrator(NAME).await?;
    lines.push(
        under_load(&tenant, "its old authority dropped", async || drop_old_authority(lab).await).await?,
    );
    Ok(lines)
}

async fn under_load(tenant: &Client, what: &str, change: impl AsyncFnOnce() -> Result<()>) -> Result<Line> {
    println!("used while {what}");
    let load = Load::begin(tenant, WATCHERS).await?;
    change().await?;
    let served = load.end().await?;
    for failure in served.failed.iter().take(5) {
        println!("  failed: {failure}");
    }
    Ok(Line::new(format!("two replicas, used while: {what}"), served.told()))
}

/// Long enough to see what the load is like when all is well.
async fn tick() -> Result<()> {
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    Ok(())
}

/// The part of a spec that asks for so many replicas.
pub(crate) fn replicas(count: i32) -> Value {
    json!({ "controlPlane": { "deployment": { "replicas": count } } })
}

/// Asks for another certificate of the API server, and waits until every Pod shows it.
pub(crate) async fn renew(lab: &Lab, tenant: &str) -> Result<()> {
    let (secrets, name) = (lab.api::<Secret>(), Child::ApiServer.name(tenant));
    let before = secrets.get(&name).await?.data;
    let asked = json!({ "metadata": { "annotations": { labels::ROTATE: "" } } });
    secrets
        .patch(&name, &PatchParams::default(), &Patch::Merge(asked))
        .await
        .context("ask for a certificate")?;
    let renewed = lab.until(&name, "another certificate", |secret: &Secret| secret.data != before).await?;
    let sum = checksum::of_secret(&renewed);
    let label = format!("{}/api-server-certificate", labels::COMPONENT_CHECKSUM_PREFIX);
    let shows = |deployment: &Deployment| {
        let labels = deployment.spec.template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
        labels.is_some_and(|labels| labels.get(&label) == Some(&sum)) && Rollout::of(deployment).is_complete()
    };
    lab.until(tenant, "the Pods to show another certificate", shows).await.map(drop)
}

/// Asks for another authority, and waits until both work and only the last word is missing.
async fn rotate(lab: &Lab) -> Result<()> {
    let tenants = lab.api::<TenantControlPlane>();
    let uid = tenants.get(NAME).await?.uid().context("a tenant has a UID")?;
    let asked = json!({ "metadata": { "annotations": { labels::ROTATE_CA: uid } } });
    tenants
        .patch(NAME, &PatchParams::default(), &Patch::Merge(asked))
        .await
        .context("ask for an authority")?;
    lab.when(NAME, "Rotation", "False", "LastWordAwaited").await?;
    lab.ready(NAME).await.map(drop)
}

/// The last word: the other authority is dropped, and every Pod has forgotten it.
async fn drop_old_authority(lab: &Lab) -> Result<()> {
    let secret = lab.api::<Secret>().get(&Child::Ca.name(NAME)).await?;
    let other = rotation::other_fingerprint(Child::Ca, &secret).context("another authority is trusted")?;
    let dropped = json!({ "metadata": { "annotations": { labels::DROP_TRUST_ANCHOR: other } } });
    let tenants = lab.api::<TenantControlPlane>();
    tenants
        .patch(NAME, &PatchParams::default(), &Patch::Merge(dropped))
        .await
        .context("say the last word")?;
    lab.when(NAME, "Rotation", "True", "Settled").await.map(drop)
}

/// One of the Pods is deleted; the other serves until there is another.
async fn lose_pod(lab: &Lab) -> Result<()> {
    let pods = lab.api::<Pod>();
    let ours = ListParams::default().labels(&format!("{}={NAME}", labels::NAME));
    let pod = pods.list(&ours).await?.items.into_iter().next().context("a Pod")?.name_any();
    pods.delete(&pod, &DeleteParams::default()).await?;
    lab.gone::<Pod>(&pod).await?;
    lab.until(NAME, "another Pod", |deployment: &Deployment| Rollout::of(deployment).is_complete())
        .await
        .map(drop)
}
