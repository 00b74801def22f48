//! A tenant whose anchors are replaced, and what others do with it.

use k8s_openapi::api::core::v1::Secret;
use kamaji_api::{Child, labels, v1alpha1::TenantControlPlane};
use kamaji_e2e::{
    operator::{Lane, condition, message},
    tenant::client_of,
};
use kamaji_resources::rotation::{other_fingerprint, request};
use kube::{Client, ResourceExt, config::Kubeconfig};
use serde_json::{Value, json};

pub(crate) const ANCHORS: [Child; 3] = kamaji_resources::anchors::ANCHORS;

pub(crate) async fn secret(lane: &Lane, child: Child) -> Secret {
    lane.objects::<Secret>().get(&child.name("blue")).await.unwrap()
}

/// Everything in the anchors' Secrets.
pub(crate) async fn anchors(lane: &Lane) -> Vec<Secret> {
    let mut all = Vec::new();
    for child in ANCHORS {
        all.push(secret(lane, child).await);
    }
    all
}

/// Whoever may edit the tenant asks for all anchors anew, or takes that back.
pub(crate) async fn ask(lane: &Lane, asks: &[Child]) {
    let uid = lane.tenants().get("blue").await.unwrap().uid();
    let wish = |child: Child| asks.contains(&child).then(|| uid.clone()).flatten();
    let annotations: serde_json::Map<String, Value> =
        ANCHORS.iter().map(|child| (request(*child).to_owned(), json!(wish(*child)))).collect();
    annotate(lane, &annotations.into()).await;
}

pub(crate) async fn annotate(lane: &Lane, annotations: &Value) {
    let patch = json!({ "metadata": { "annotations": annotations } });
    lane.edit::<TenantControlPlane>("blue", &patch).await.unwrap();
}

/// The last word: what does not sign may go.
pub(crate) async fn give_up_the_others(lane: &Lane) {
    let mut names = Vec::new();
    for child in ANCHORS {
        names.extend(other_fingerprint(child, &secret(lane, child).await));
    }
    annotate(lane, &json!({ (labels::DROP_TRUST_ANCHOR): names.join(",") })).await;
}

/// The tenant once the condition says this, with these words.
pub(crate) async fn told(lane: &Lane, state: &str, words: &str) -> TenantControlPlane {
    let is_told = |tcp: &TenantControlPlane| {
        condition(tcp, "Rotation") == state && message(tcp, "Rotation").contains(words)
    };
    lane.tenant_that("blue", &format!("{state}: {words}"), is_told).await.unwrap()
}

/// The administrator's kubeconfig as it is now.
pub(crate) async fn kubeconfig(lane: &Lane) -> Kubeconfig {
    let file = secret(lane, Child::AdminKubeconfig).await.data.unwrap().remove("super-admin.conf").unwrap();
    Kubeconfig::from_yaml(std::str::from_utf8(&file.0).unwrap()).unwrap()
}

/// What an API server answers to whoever has this kubeconfig; nothing if they do not trust each other.
pub(crate) async fn answer(kubeconfig: Kubeconfig) -> Option<u16> {
    let client: Client = client_of(kubeconfig).await.unwrap();
    let request = http::Request::get("/api/v1/namespaces").body(kube::client::Body::empty()).unwrap();
    client.send(request).await.ok().map(|answer| answer.status().as_u16())
}

/// The same, of whoever has this token.
pub(crate) async fn answer_to(token: &str, mut kubeconfig: Kubeconfig) -> Option<u16> {
    let information = serde_json::from_value(json!({ "token": token })).unwrap();
    kubeconfig.auth_infos.iter_mut().for_each(|named| named.auth_info = None);
    kubeconfig.auth_infos[0].auth_info = Some(information);
    answer(kubeconfig).await
}
