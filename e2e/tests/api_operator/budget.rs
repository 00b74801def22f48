//! A tenant with several Pods has a budget of ours, but never a second one.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kamaji_api::{labels, v1alpha1::TenantControlPlane};
use kamaji_e2e::operator::{comes_back, wait_for, wait_gone};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

use crate::{SILENCE, drift::settled};

#[tokio::test(flavor = "multi_thread")]
async fn ours_is_there_while_there_are_several_pods_and_nobody_else_has_one() {
    let (lane, operator, _) = settled().await;
    let budgets = lane.objects::<PodDisruptionBudget>();
    let replicas =
        |count: i32| json!({ "spec": { "controlPlane": { "deployment": { "replicas": count } } } });
    let ours = budgets.get("blue").await.unwrap().spec.unwrap();
    assert_eq!(ours.max_unavailable, Some(k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(1)));
    comes_back::<PodDisruptionBudget>(&lane, "blue").await.unwrap();

    // Nobody can evict a Pod that two are about.
    make(&budgets, "theirs", &json!({ "matchLabels": { labels::NAME: "blue" } })).await;
    wait_gone(&budgets, "blue").await.unwrap();
    operator.silence(SILENCE).await.unwrap();
    budgets.delete("theirs", &DeleteParams::default()).await.unwrap();
    wait_for(&budgets, "blue", "there again", |_| true).await.unwrap();
    make(&budgets, "of-others", &json!({ "matchLabels": { labels::NAME: "green" } })).await;
    operator.silence(SILENCE).await.unwrap();
    assert!(budgets.get_opt("blue").await.unwrap().is_some(), "it was about other Pods");

    lane.edit::<TenantControlPlane>("blue", &replicas(1)).await.unwrap();
    wait_gone(&budgets, "blue").await.unwrap();
    lane.edit::<TenantControlPlane>("blue", &replicas(3)).await.unwrap();
    wait_for(&budgets, "blue", "there again", |_| true).await.unwrap();
}

async fn make(budgets: &Api<PodDisruptionBudget>, name: &str, selector: &Value) {
    let budget = json!({ "metadata": { "name": name }, "spec": { "minAvailable": 1, "selector": selector } });
    budgets.create(&PostParams::default(), &serde_json::from_value(budget).unwrap()).await.unwrap();
}
