//! A new image of kine reaches tenants with their next rollout, or when they ask for it, and never all at once.

use k8s_openapi::api::apps::v1::Deployment;
use kamaji_api::{labels, v1alpha1::TenantControlPlane};
use kamaji_e2e::{
    cut::Wire,
    operator::{Lane, options, wait_for},
    postgres::Postgres,
};
use kamaji_operator::{Options, Settings};
use kamaji_resources::kine;
use serde_json::json;

use crate::SILENCE;

const NEW: &str = "registry.example.com/kine:v9";

fn image(deployment: &Deployment) -> Option<&str> {
    let containers = &deployment.spec.template.spec.as_ref()?.containers;
    containers.iter().find(|container| container.name == kine::NAME)?.image.as_deref()
}

async fn has_new(lane: &Lane, tenant: &str) {
    let is_new = |deployment: &Deployment| image(deployment) == Some(NEW);
    wait_for(&lane.objects(), tenant, "the new image", is_new).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_image_of_kine_rolls_no_tenant_that_does_not_ask() {
    let lane = Lane::on_database(Postgres::shared().await.unwrap()).await.unwrap();
    let operator = lane.operator().await.unwrap();
    for tenant in ["blue", "green"] {
        lane.tenant(tenant).await.unwrap();
        lane.converged(tenant).await.unwrap();
    }
    operator.silence(SILENCE).await.unwrap();
    operator.stop().await.unwrap();

    let usual = options();
    let settings = Settings { kine_image: NEW.into(), ..usual.settings };
    let operator = lane.operator_with(Wire::new(), Options { settings, ..usual }).await.unwrap();
    operator.silence(SILENCE).await.unwrap();
    assert_eq!(operator.wire.writes(), [], "nobody is rolled");

    let wish = json!({ "metadata": { "annotations": { labels::UPDATE_KINE: "true" } } });
    lane.edit::<TenantControlPlane>("blue", &wish).await.unwrap();
    has_new(&lane, "blue").await;
    let green: Deployment = lane.objects().get("green").await.unwrap();
    assert_eq!(image(&green), Some(kine::DEFAULT_IMAGE), "only the one that asks");

    // A rollout for another reason takes it along.
    let newer = json!({ "spec": { "kubernetes": { "version": "v1.34.5" } } });
    lane.edit::<TenantControlPlane>("green", &newer).await.unwrap();
    has_new(&lane, "green").await;
}
