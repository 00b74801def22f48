//! A tenant goes to the next minor version while it is used: examined first, tried out, taken back, tried again, committed.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Node;
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_e2e::tenant::{Lab, Load, eventually, has_note, in_lab, leave_note};
use kamaji_operator::{UpgradePlan, UpgradeQuestion, upgrade_plan};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use xtask::programs::Release;

const NAME: &str = "riser";
const OLD: Release = Release::V1_34;
const NEW: Release = Release::V1_35;

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_upgraded_under_load_tried_out_taken_back_and_committed() -> Result<()> {
    in_lab("upgrade", async |lab| {
        lab.create(NAME, OLD, &json!({})).await?;
        lab.ready(NAME).await?;
        let tenant = lab.administrator(NAME).await?;
        leave_note(&tenant).await?;

        let generation = generation(lab).await?;
        join_ancient_node(&tenant).await?;
        let plan = plan(lab).await?;
        ensure!(plan.code() == 3 && plan.to_string().contains("ancient (v1.30.0)"), "{plan}");
        lab.change(NAME, &to(NEW, Some(OLD))).await?;
        let held = lab.when(NAME, "Ready", "False", "UpgradeObstructed").await?;
        ensure!(installed(&held) == Some((OLD.version(), None)), "{:?}", installed(&held));
        ensure!(
            self::generation(lab).await? == generation,
            "a Pod was replaced before the obstacle was gone"
        );

        Api::<Node>::all(tenant.clone()).delete("ancient", &DeleteParams::default()).await?;
        let load = Load::begin(&tenant, 4).await?;
        let tried = lab.ready(NAME).await?;
        ensure!(installed(&tried) == Some((NEW.version(), Some(OLD.version()))), "{:?}", installed(&tried));
        until_serves(&tenant, (NEW.version(), OLD.minor())).await?;

        lab.change(NAME, &to(OLD, None)).await?;
        let back = lab.ready(NAME).await?;
        ensure!(installed(&back) == Some((OLD.version(), None)), "{:?}", installed(&back));

        lab.change(NAME, &to(NEW, Some(OLD))).await?;
        lab.when(NAME, "Upgrade", "True", "TriedOut").await?;
        lab.ready(NAME).await?;
        lab.change(NAME, &to(NEW, None)).await?;
        lab.when(NAME, "Upgrade", "True", "Settled").await?;
        let done = lab.ready(NAME).await?;
        ensure!(installed(&done) == Some((NEW.version(), None)), "{:?}", installed(&done));
        until_serves(&tenant, (NEW.version(), NEW.minor())).await?;
        let served = load.end().await?;
        println!("{}", served.told());
        ensure!(served.failed.is_empty(), "{}: {:?}", served.told(), served.failed);
        ensure!(served.answered > 0 && served.seen > 0, "nothing was asked: {}", served.told());
        ensure!(has_note(&tenant).await?, "the data is gone");

        let refused = lab.change(NAME, &to(OLD, None)).await.err().context("it went back after all")?;
        ensure!(format!("{refused:#}").contains("going back to an older minor version"), "{refused:#}");
        Ok(())
    })
    .await
}

/// The part of a spec that asks for this version.
fn to(release: Release, emulated: Option<Release>) -> serde_json::Value {
    json!({ "kubernetes": { "version": release.version(), "emulatedVersion": emulated.map(Release::version) } })
}

async fn plan(lab: &Lab) -> Result<UpgradePlan> {
    let question = UpgradeQuestion {
        namespace: lab.namespace().to_owned(),
        name: NAME.to_owned(),
        to: Some(kamaji_api::tenant::KubeVersion::parse(NEW.version()).map_err(anyhow::Error::msg)?),
    };
    Box::pin(upgrade_plan(&lab.client(), &question)).await
}

async fn generation(lab: &Lab) -> Result<Option<i64>> {
    Ok(lab.api::<Deployment>().get(NAME).await?.metadata.generation)
}

/// A node whose kubelet is too old for the next minor version. No kubelet stands behind it.
async fn join_ancient_node(tenant: &Client) -> Result<()> {
    let nodes = Api::<Node>::all(tenant.clone());
    let node = serde_json::from_value(json!({ "metadata": { "name": "ancient" } }))?;
    nodes.create(&PostParams::default(), &node).await.context("make a node")?;
    let info = [
        "machineID",
        "systemUUID",
        "bootID",
        "kernelVersion",
        "osImage",
        "containerRuntimeVersion",
        "kubeletVersion",
        "kubeProxyVersion",
        "operatingSystem",
        "architecture",
    ];
    let info: serde_json::Map<String, serde_json::Value> = info
        .into_iter()
        .map(|field| (field.to_owned(), json!(if field == "kubeletVersion" { "v1.30.0" } else { "" })))
        .collect();
    let status = json!({ "status": { "nodeInfo": info } });
    nodes
        .patch_status("ancient", &PatchParams::default(), &Patch::Merge(status))
        .await
        .context("age the node")?;
    Ok(())
}

/// The version that runs, and the one that it keeps the behaviour of.
fn installed(tenant: &TenantControlPlane) -> Option<(&str, Option<&str>)> {
    let version = tenant.status.as_ref()?.kubernetes_resources.as_ref()?.version.as_ref()?;
    Some((version.version.as_deref()?, version.emulated.as_deref()))
}

/// Waits until the API server is of this version and serves what this minor version does: for a moment the one that was told to
/// stop still answers.
async fn until_serves(tenant: &Client, (program, behaviour): (&str, u32)) -> Result<()> {
    let behaviour = &behaviour.to_string();
    eventually(&format!("{program} with the behaviour of 1.{behaviour}"), async || {
        let request = http::Request::get("/version").body(Vec::new())?;
        let version: serde_json::Value = tenant.request(request).await?;
        let is_so = version["gitVersion"] == program && version["emulationMinor"] == *behaviour;
        Ok(is_so.then_some(()))
    })
    .await
}
