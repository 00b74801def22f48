//! Objects that we did not make are left alone, whatever their names.

use std::fmt::Debug;

use futures::future::join_all;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service},
};
use kamaji_api::{Child, labels, v1alpha1::TenantControlPlane};
use kamaji_e2e::operator::{Lane, condition, message};
use kube::{
    Resource,
    api::{DeleteParams, PostParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

const CHILDREN: [Child; 14] = [
    Child::Service,
    Child::Deployment,
    Child::KubeadmConfig,
    Child::Ca,
    Child::FrontProxyCa,
    Child::ServiceAccountKey,
    Child::ApiServer,
    Child::KubeletClient,
    Child::FrontProxyClient,
    Child::AdminKubeconfig,
    Child::ControllerManagerKubeconfig,
    Child::SchedulerKubeconfig,
    Child::DatastoreConfig,
    Child::DatastoreCertificate,
];

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_object_under_our_name_blocks_and_is_not_touched() {
    let lane = Lane::new().await.unwrap();
    let operator = lane.operator().await.unwrap();
    join_all(CHILDREN.map(|child| Box::pin(blocked(&lane, child)))).await;
    operator.stop().await.unwrap();
}

async fn blocked(lane: &Lane, child: Child) {
    let labels = json!({ "app": "somebody-elses" });
    let pod = json!({ "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "a", "image": "a" }] } });
    match child {
        Child::Service => {
            blocked_by::<Service>(lane, child, json!({ "spec": { "ports": [{ "port": 80 }] } })).await;
        }
        Child::Deployment => {
            let spec = json!({ "selector": { "matchLabels": labels }, "template": pod });
            blocked_by::<Deployment>(lane, child, json!({ "spec": spec })).await;
        }
        Child::KubeadmConfig => {
            blocked_by::<ConfigMap>(lane, child, json!({ "data": { "mine": "x" } })).await;
        }
        _ => blocked_by::<Secret>(lane, child, json!({ "stringData": { "mine": "x" } })).await,
    }
}

async fn blocked_by<K>(lane: &Lane, child: Child, mut object: Value)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    // Labels prove nothing, so this one has all of ours.
    let tenant = format!("t-{}", child.component());
    let tenant = tenant[..tenant.len().min(40)].trim_end_matches('-').to_owned();
    let name = child.name(&tenant);
    object["metadata"] = json!({ "name": name, "labels": labels::of_child(&tenant, child) });
    let api = lane.objects::<K>();
    let theirs = api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    lane.tenant(&tenant).await.unwrap();
    let conflict = |tcp: &TenantControlPlane| condition(tcp, "Ready") == "False/NameConflict";
    let held_up = lane.tenant_that(&tenant, &name, conflict).await.unwrap();
    assert!(message(&held_up, "Ready").contains(&name), "{}", message(&held_up, "Ready"));
    let after = api.get(&name).await.unwrap();
    assert_eq!(after.meta().resource_version, theirs.meta().resource_version, "{name} was touched");
    assert_eq!(after.meta().uid, theirs.meta().uid);

    api.delete(&name, &DeleteParams::background()).await.unwrap();
    lane.converged(&tenant).await.unwrap();
}

const RSA_CA: &str = include_str!("../../../crates/kamaji-pki/tests/fixtures/rsa-ca.crt");
const RSA_KEY: &str = include_str!("../../../crates/kamaji-pki/tests/fixtures/rsa.pkcs1.key");

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_of_the_users_is_used_if_the_tenant_says_so() {
    let lane = Lane::new().await.unwrap();
    let operator = lane.operator().await.unwrap();
    let theirs = json!({
        "metadata": { "name": "blue-ca", "labels": { "mine": "too" } },
        "stringData": { "ca.crt": RSA_CA, "ca.key": RSA_KEY },
    });
    let secrets = lane.objects::<Secret>();
    let theirs =
        secrets.create(&PostParams::default(), &serde_json::from_value(theirs).unwrap()).await.unwrap();
    let mut manifest = lane.manifest("blue");
    manifest["metadata"]["annotations"] = json!({ labels::USE_EXISTING_CA: "true" });
    lane.create(&manifest).await.unwrap();
    lane.converged("blue").await.unwrap();
    operator.silence(crate::MOMENT).await.unwrap();

    let ca = secrets.get("blue-ca").await.unwrap();
    assert_eq!(ca.metadata.uid, theirs.metadata.uid);
    assert_eq!(ca.metadata.labels.as_ref().unwrap()["mine"], "too");
    let data = ca.data.unwrap();
    assert_eq!(data["ca.crt"].0, RSA_CA.as_bytes());
    assert_eq!(data["ca.key"].0, RSA_KEY.as_bytes());
    assert_eq!(data["tls.crt"].0, RSA_CA.as_bytes());
    let served = secrets.get("blue-api-server-certificate").await.unwrap().data.unwrap();
    let certificate = kamaji_pki::Certificate::from_pem(&served["apiserver.crt"].0).unwrap();
    let authority = kamaji_pki::Certificate::from_pem(RSA_CA.as_bytes()).unwrap();
    assert!(certificate.is_issued_by(&authority), "the user's authority signed it");
}
