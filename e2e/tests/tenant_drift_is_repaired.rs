//! Every object of a tenant that is deleted comes back, and the tenant with it; its data never goes.

use std::fmt::Debug;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service},
};
use kamaji_api::Child;
use kamaji_e2e::tenant::{Lab, eventually, has_note, in_lab, leave_note};
use kube::{
    Resource, ResourceExt,
    api::{DeleteParams, PostParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use xtask::programs::Release;

/// Secrets that are made anew.
const REPLACED: [Child; 8] = [
    Child::ApiServer,
    Child::KubeletClient,
    Child::FrontProxyClient,
    Child::AdminKubeconfig,
    Child::ControllerManagerKubeconfig,
    Child::SchedulerKubeconfig,
    Child::DatastoreCertificate,
    Child::DatastoreConfig,
];

/// Secrets that nobody can make anew: every kubeconfig and node of the tenant trusts them.
const ANCHORS: [Child; 3] = [Child::Ca, Child::FrontProxyCa, Child::ServiceAccountKey];

#[tokio::test(flavor = "multi_thread")]
async fn every_object_that_is_deleted_comes_back() -> Result<()> {
    in_lab("drift", async |lab| {
        lab.create("drifter", Release::V1_34, &json!({})).await?;
        lab.ready("drifter").await?;
        leave_note(&lab.administrator("drifter").await?).await?;

        comes_back::<ConfigMap>(lab, Child::KubeadmConfig).await?;
        comes_back::<Service>(lab, Child::Service).await?;
        for child in REPLACED {
            comes_back::<Secret>(lab, child).await?;
        }
        comes_back::<Deployment>(lab, Child::Deployment).await?;
        for child in ANCHORS {
            is_missed_and_can_be_restored(lab, child).await?;
        }
        Ok(())
    })
    .await
}

async fn comes_back<K>(lab: &Lab, child: Child) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Send
        + DeserializeOwned
        + 'static,
{
    let name = child.name("drifter");
    let uid = lab.api::<K>().get(&name).await?.uid().context("an object has a UID")?;
    lab.api::<K>().delete(&name, &DeleteParams::default()).await?;
    let is_new =
        |object: &K| object.uid().is_some_and(|now| now != uid) && object.meta().deletion_timestamp.is_none();
    lab.until(&name, &format!("{name} to be back"), is_new).await?;
    keeps_its_data(lab).await.with_context(|| format!("after {name} was deleted"))?;
    lab.ready("drifter").await.map(drop)
}

/// A lost authority stops nothing that runs, is told, and is accepted when it is put back.
async fn is_missed_and_can_be_restored(lab: &Lab, child: Child) -> Result<()> {
    let name = child.name("drifter");
    let secret = lab.api::<Secret>().get(&name).await?;
    lab.api::<Secret>().delete(&name, &DeleteParams::default()).await?;
    lab.when("drifter", "TrustAnchors", "False", "TrustAnchorMissing").await?;
    keeps_its_data(lab).await.with_context(|| format!("without {name}"))?;
    ensure!(lab.api::<Secret>().get_opt(&name).await?.is_none(), "{name} was made anew");

    lab.api().create(&PostParams::default(), &restored(&secret)).await?;
    lab.ready("drifter").await?;
    keeps_its_data(lab).await.with_context(|| format!("after {name} was restored"))
}

/// As a backup brings an object back: without what the server gave it.
fn restored<K: Resource<DynamicType = ()> + Clone + Serialize>(object: &K) -> K {
    let mut object = object.clone();
    let meta = object.meta_mut();
    (meta.uid, meta.resource_version, meta.creation_timestamp, meta.managed_fields) =
        (None, None, None, None);
    object
}

/// The operator may not have noticed yet what was deleted, so a refused connection only means that it must. An answer
/// without the note is final.
async fn keeps_its_data(lab: &Lab) -> Result<()> {
    let is_kept = eventually("the tenant to answer", async || {
        let tenant = lab.administrator("drifter").await?;
        Ok(has_note(&tenant).await.ok())
    });
    ensure!(is_kept.await?, "the tenant lost its data");
    Ok(())
}
