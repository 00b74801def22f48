//! Children that are deleted come back, but for those that a tenant's identity hangs on; what others add stays.

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Secret, Service},
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kamaji_api::{Child, v1alpha1::TenantControlPlane};
use kamaji_e2e::operator::{Lane, Operator, comes_back, condition, message, wait_for};
use kube::{
    Resource, ResourceExt,
    api::{DeleteParams, PostParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::{MOMENT, SILENCE};

pub(crate) async fn settled() -> (Lane, Operator, TenantControlPlane) {
    let lane = Lane::new().await.unwrap();
    let operator = lane.operator().await.unwrap();
    crate::pair(&lane).await.unwrap();
    let tcp = lane.converged("blue").await.unwrap();
    operator.silence(MOMENT).await.unwrap();
    (lane, operator, tcp)
}

/// Leaves that are made anew whenever they are gone.
const LEAVES: [Child; 7] = [
    Child::ApiServer,
    Child::KubeletClient,
    Child::FrontProxyClient,
    Child::AdminKubeconfig,
    Child::ControllerManagerKubeconfig,
    Child::SchedulerKubeconfig,
    Child::DatastoreCertificate,
];

#[tokio::test(flavor = "multi_thread")]
async fn every_child_that_is_deleted_comes_back() {
    let (lane, operator, _) = settled().await;
    comes_back::<Service>(&lane, "blue").await.unwrap();
    comes_back::<ConfigMap>(&lane, "blue-kubeadmconfig").await.unwrap();
    for child in LEAVES {
        comes_back::<Secret>(&lane, &child.name("blue")).await.unwrap();
    }
    comes_back::<Deployment>(&lane, "blue").await.unwrap();
    lane.converged("blue").await.unwrap();
    operator.silence(SILENCE).await.unwrap();

    // It is held by a finalizer of ours, and its password is born once.
    let secrets = lane.objects::<Secret>();
    let password = |secret: Secret| secret.data.unwrap()["DB_PASSWORD"].clone();
    let before = password(secrets.get("blue-datastore-config").await.unwrap());
    comes_back::<Secret>(&lane, "blue-datastore-config").await.unwrap();
    assert_eq!(password(secrets.get("blue-datastore-config").await.unwrap()), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anchor_that_is_deleted_is_missed_and_not_replaced_and_its_return_heals() {
    let (lane, operator, _) = settled().await;
    let secrets = lane.objects::<Secret>();
    let template = |deployment: Deployment| deployment.spec.template;
    let running = template(lane.objects::<Deployment>().get("blue").await.unwrap());
    for child in [Child::Ca, Child::FrontProxyCa, Child::ServiceAccountKey] {
        let name = child.name("blue");
        let mut backup = secrets.get(&name).await.unwrap();
        secrets.delete(&name, &DeleteParams::default()).await.unwrap();
        let missed = |tcp: &TenantControlPlane| condition(tcp, "TrustAnchors") == "False/TrustAnchorMissing";
        let tcp = lane.tenant_that("blue", "missed", missed).await.unwrap();
        assert!(message(&tcp, "TrustAnchors").contains(&name));
        assert_eq!(condition(&tcp, "Ready"), "False/TrustAnchorMissing");
        operator.silence(MOMENT).await.unwrap();
        assert!(secrets.get_opt(&name).await.unwrap().is_none(), "{name} was made again");
        assert_eq!(template(lane.objects::<Deployment>().get("blue").await.unwrap()), running, "Pods run on");

        // Another one in its place is noticed, too.
        let mut other = backup.clone();
        other.metadata.resource_version = None;
        other.metadata.uid = None;
        let key = if child == Child::ServiceAccountKey { "sa.key" } else { "ca.crt" };
        other.data.as_mut().unwrap().insert(key.into(), k8s_openapi::ByteString(b"another".to_vec()));
        secrets.create(&PostParams::default(), &other).await.unwrap();
        let replaced =
            |tcp: &TenantControlPlane| condition(tcp, "TrustAnchors") == "False/TrustAnchorReplaced";
        lane.tenant_that("blue", "replaced", replaced).await.unwrap();
        secrets.delete(&name, &DeleteParams::default()).await.unwrap();
        lane.tenant_that("blue", "missed", missed).await.unwrap();

        backup.metadata.resource_version = None;
        backup.metadata.uid = None;
        backup.metadata.managed_fields = None;
        secrets.create(&PostParams::default(), &backup).await.unwrap();
        lane.converged("blue").await.unwrap();
        let healed = |tcp: &TenantControlPlane| condition(tcp, "TrustAnchors") == "True/InPlace";
        lane.tenant_that("blue", "healed", healed).await.unwrap();
        assert_eq!(secrets.get(&name).await.unwrap().data, backup.data);
        assert_eq!(
            template(lane.objects::<Deployment>().get("blue").await.unwrap()),
            running,
            "nothing rolled"
        );
        operator.silence(MOMENT).await.unwrap();
    }
}

async fn keeps_what_others_add<K>(lane: &Lane, names: &[String])
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let theirs = json!({ "metadata": { "labels": { "theirs": "1" }, "annotations": { "theirs": "2" } } });
    for name in names {
        lane.edit::<K>(name, &theirs).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_and_annotations_of_others_stay() {
    let (lane, operator, _) = settled().await;
    let secrets: Vec<String> =
        LEAVES.iter().map(|child| child.name("blue")).chain([Child::Ca.name("blue")]).collect();
    keeps_what_others_add::<Secret>(&lane, &secrets).await;
    keeps_what_others_add::<Service>(&lane, &["blue".into()]).await;
    keeps_what_others_add::<Deployment>(&lane, &["blue".into()]).await;
    keeps_what_others_add::<ConfigMap>(&lane, &["blue-kubeadmconfig".into()]).await;
    operator.silence(SILENCE).await.unwrap();
    operator.wire.clear();
    // Reason enough to apply all of them again.
    let grown = json!({ "spec": { "networkProfile": { "certSANs": ["blue.example.com"] }, "kubernetes": { "version": "v1.34.5" } } });
    let changed: TenantControlPlane = lane.edit("blue", &grown).await.unwrap();
    let done = |tcp: &TenantControlPlane| {
        let conditions = tcp.status.iter().flat_map(|status| &status.conditions);
        let mut seen = conditions.into_iter().filter(|condition| condition.type_ == "ControlPlane");
        seen.any(|condition| condition.observed_generation == changed.metadata.generation)
    };
    lane.tenant_that("blue", "grown", done).await.unwrap();
    operator.silence(SILENCE).await.unwrap();
    assert!(!operator.wire.writes().is_empty());
    let marked = lane.children().await.unwrap();
    let marked = marked.iter().filter(|(_, metadata)| {
        metadata.labels.as_ref().is_some_and(|labels| labels.contains_key("theirs"))
            && metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key("theirs"))
    });
    assert_eq!(marked.count(), secrets.len() + 3);
}

/// Replaces an object of the tenant by one that cannot be changed into what it should be, while nobody looks.
async fn replaced_by<K>(lane: &Lane, owner: &OwnerReference, change: impl Fn(&mut serde_json::Value)) -> K
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
{
    let api = lane.objects::<K>();
    let live = api.get("blue").await.unwrap();
    api.delete("blue", &DeleteParams::background()).await.unwrap();
    let mut value = serde_json::to_value(&live).unwrap();
    value["metadata"] = json!({ "name": "blue", "labels": live.labels(), "ownerReferences": [owner] });
    change(&mut value);
    api.create(&PostParams::default(), &serde_json::from_value(value).unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_changed_in_place_is_replaced() {
    let (lane, operator, _) = settled().await;
    operator.kill().await;
    let owner =
        lane.objects::<Service>().get("blue").await.unwrap().metadata.owner_references.unwrap().remove(0);
    let headless: Service = replaced_by(&lane, &owner, |service| {
        let spec = service["spec"].as_object_mut().unwrap();
        spec.remove("clusterIPs");
        spec.insert("clusterIP".into(), "None".into());
    })
    .await;
    let other: Deployment = replaced_by(&lane, &owner, |deployment| {
        deployment["spec"]["selector"]["matchLabels"] = json!({ "app": "other" });
        deployment["spec"]["template"]["metadata"]["labels"] = json!({ "app": "other" });
    })
    .await;

    let _operator = lane.operator().await.unwrap();
    let services = lane.objects::<Service>();
    wait_for(&services, "blue", "replaced", |service| service.uid() != headless.uid()).await.unwrap();
    let deployments = lane.objects::<Deployment>();
    let selects = |deployment: &Deployment| {
        deployment.uid() != other.uid()
            && deployment
                .spec
                .selector
                .match_labels
                .as_ref()
                .is_some_and(|labels| labels.contains_key(kamaji_api::labels::NAME))
    };
    wait_for(&deployments, "blue", "replaced", selects).await.unwrap();
    lane.converged("blue").await.unwrap();
}
