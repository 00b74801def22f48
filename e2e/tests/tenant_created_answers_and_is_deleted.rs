//! A tenant is made, answers as what its spec says, and leaves nothing when it is deleted. Both minors.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    authentication::v1::SelfSubjectReview,
    core::v1::{ConfigMap, Namespace, Pod, Secret, Service},
    discovery::v1::EndpointSlice,
};
use kamaji_e2e::tenant::{Lab, eventually, has_note, in_lab, leave_note};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, PostParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use xtask::programs::Release;

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_of_either_minor_is_created_answers_and_is_deleted() -> Result<()> {
    in_lab("lifecycle", async |lab| {
        let [older, newer] = Release::ALL;
        tokio::try_join!(lifecycle(lab, "older", older), lifecycle(lab, "newer", newer))?;
        nothing_is_left(lab).await
    })
    .await
}

async fn lifecycle(lab: &Lab, name: &str, release: Release) -> Result<()> {
    lab.create(name, release, &json!({})).await?;
    let tenant = lab.ready(name).await?;
    answers(&lab.administrator(name).await?, release).await?;
    was_made_in_one_go(lab, name).await?;

    let uid = tenant.uid().context("a tenant has a UID")?;
    let store = lab.store().await?;
    let traces = store.traces_of(&uid).await?;
    for kind in ["key", "user", "role"] {
        ensure!(traces.iter().any(|trace| trace.starts_with(kind)), "{name} has no {kind}: {traces:?}");
    }
    lab.delete(name).await?;
    let traces = store.traces_of(&uid).await?;
    ensure!(traces.is_empty(), "{name} left {traces:?}");
    Ok(())
}

async fn answers(tenant: &Client, release: Release) -> Result<()> {
    let version = tenant.apiserver_version().await?.git_version;
    ensure!(version == release.version(), "the tenant calls itself {version}");

    let namespaces = names(&Api::<Namespace>::all(tenant.clone())).await?;
    for expected in ["default", "kube-node-lease", "kube-public", "kube-system"] {
        ensure!(namespaces.iter().any(|name| name == expected), "no {expected} among {namespaces:?}");
    }
    leave_note(tenant).await?;
    ensure!(has_note(tenant).await?, "the ConfigMap cannot be read back");

    let who = Api::<SelfSubjectReview>::all(tenant.clone());
    let who = who.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    let groups = who.status.and_then(|status| status.user_info?.groups).unwrap_or_default();
    ensure!(groups.iter().any(|group| group == "kubeadm:cluster-admins"), "{groups:?}");
    ensure!(!groups.iter().any(|group| group == "system:masters"), "{groups:?}");
    Ok(())
}

/// One `ReplicaSet` and one generation: the Deployment was rendered once, whole.
async fn was_made_in_one_go(lab: &Lab, name: &str) -> Result<()> {
    let deployment = lab.api::<Deployment>().get(name).await?;
    ensure!(deployment.metadata.generation == Some(1), "generation {:?}", deployment.metadata.generation);
    let all = lab.api::<ReplicaSet>().list(&ListParams::default()).await?;
    let count =
        all.iter().filter(|set| set.owner_references().iter().any(|owner| owner.name == name)).count();
    ensure!(count == 1, "{name} has {count} ReplicaSets");
    Ok(())
}

/// What Kubernetes puts into every namespace may stay; Events are history.
async fn nothing_is_left(lab: &Lab) -> Result<()> {
    eventually("the garbage collector to take everything", async || {
        let mut left = names(&lab.api::<ConfigMap>()).await?;
        left.retain(|name| name != "kube-root-ca.crt");
        left.extend(names(&lab.api::<Secret>()).await?);
        left.extend(names(&lab.api::<Service>()).await?);
        left.extend(names(&lab.api::<EndpointSlice>()).await?);
        left.extend(names(&lab.api::<Deployment>()).await?);
        left.extend(names(&lab.api::<ReplicaSet>()).await?);
        left.extend(names(&lab.api::<Pod>()).await?);
        Ok(left.is_empty().then_some(()))
    })
    .await
}

async fn names<K>(api: &Api<K>) -> Result<Vec<String>>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    Ok(api.list(&ListParams::default()).await?.iter().map(ResourceExt::name_any).collect())
}
