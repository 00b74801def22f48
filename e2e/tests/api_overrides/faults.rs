//! A store that cannot keep what it should is named, and holds up only what depends on it.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret};
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_e2e::{
    etcd::{
        Etcd,
        proxy::{Mode, Proxy},
    },
    operator::{Lane, condition, message, wait_for},
    postgres::Postgres,
};
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::{
    MOMENT, SILENCE,
    ground::{argument, found, keep, lane, manifest, named, second, third, told},
};

/// The tenant once this condition is so and names this store.
async fn names(lane: &Lane, kind: &str, status: &str, store: &str) -> TenantControlPlane {
    let what = format!("{kind} {status} that names {store}");
    let named = |tcp: &TenantControlPlane| {
        condition(tcp, kind) == status
            && condition(tcp, "Ready").starts_with("False/")
            && message(tcp, kind).contains(store)
    };
    let tcp = lane.tenant_that("blue", &what, named).await.unwrap();
    println!("{}", message(&tcp, kind));
    tcp
}

async fn no_deployment(lane: &Lane) {
    assert!(
        lane.objects::<Deployment>().get_opt("blue").await.unwrap().is_none(),
        "no Pod runs without its stores"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_down_at_creation_is_named_and_the_others_are_set_up() {
    let lane = lane().await;
    let proxy = Proxy::start(second().await.endpoint()).await.unwrap();
    proxy.set(Mode::Refuse);
    let store =
        lane.put_further_data_store("fragile", second().await, &proxy.endpoint().to_string()).await.unwrap();
    let operator = lane.operator().await.unwrap();
    let kinds = [("/events", "fragile"), ("/configmaps", "third")];
    lane.create(&manifest(&lane, "blue", &kinds)).await.unwrap();
    let tcp = names(&lane, "DataStoreReachable", "False/Unreachable", &store).await;
    operator.silence(MOMENT).await.unwrap();
    no_deployment(&lane).await;
    for etcd in [lane.etcd, third().await] {
        assert!(found(etcd, &tcp).await.contains("user "), "it waits for one store only");
    }
    proxy.set(Mode::Pass);
    lane.converged("blue").await.unwrap();
    assert!(argument(&lane, "blue").await.contains(&format!("/events#https://{}", proxy.endpoint())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_another_authority_says_what_to_do() {
    let lane = lane().await;
    let strange = Etcd::start().await.unwrap();
    let store =
        lane.put_further_data_store("strange", &strange, &strange.endpoint().to_string()).await.unwrap();
    let operator = lane.operator().await.unwrap();
    lane.create(&manifest(&lane, "blue", &[("/events", "strange")])).await.unwrap();
    let tcp = names(&lane, "DataStoreReachable", "False/ClientNotTrusted", &store).await;
    assert!(message(&tcp, "DataStoreReachable").contains("--trusted-ca-file"));
    no_deployment(&lane).await;
    keep(&lane, "blue", &[("/events", "second")]).await;
    lane.converged("blue").await.unwrap();
    operator.silence(SILENCE).await.unwrap();
    assert_eq!(argument(&lane, "blue").await, told(&[("/events", second().await)]));
    assert_eq!(found(&strange, &tcp).await, "", "what was made before it was refused is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_that_are_missing_or_no_etcd_are_refused() {
    let lane = lane().await;
    let postgres = json!({ "driver": "PostgreSQL", "endpoints": ["127.0.0.1:1"],
        "basicAuth": { "username": { "content": "YQ==" }, "password": { "content": "YQ==" } } });
    lane.put(&named(&lane, "relational"), &postgres).await.unwrap();
    let operator = lane.operator().await.unwrap();
    lane.create(&manifest(&lane, "blue", &[("/events", "nowhere")])).await.unwrap();
    names(&lane, "DataStoreReachable", "False/DataStoreMissing", &named(&lane, "nowhere")).await;
    no_deployment(&lane).await;
    keep(&lane, "blue", &[("/events", "relational")]).await;
    names(&lane, "SpecAccepted", "False/OverrideUnsupported", &named(&lane, "relational")).await;
    no_deployment(&lane).await;
    // What is missing may come.
    keep(&lane, "blue", &[("/events", "nowhere")]).await;
    names(&lane, "DataStoreReachable", "False/DataStoreMissing", &named(&lane, "nowhere")).await;
    let endpoint = second().await.endpoint().to_string();
    lane.put_further_data_store("nowhere", second().await, &endpoint).await.unwrap();
    lane.converged("blue").await.unwrap();
    operator.silence(SILENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_is_not_on_etcd_can_keep_nothing_in_one() {
    let postgres = Postgres::start().await.unwrap();
    let lane = Lane::without_data_store().await.unwrap();
    lane.put_database(&lane.data_store, &postgres, postgres.endpoint()).await.unwrap();
    let endpoint = second().await.endpoint().to_string();
    lane.put_further_data_store("second", second().await, &endpoint).await.unwrap();
    let operator = lane.operator().await.unwrap();
    lane.create(&manifest(&lane, "blue", &[("/events", "second")])).await.unwrap();
    let tcp = names(&lane, "SpecAccepted", "False/OverrideUnsupported", "PostgreSQL").await;
    operator.silence(MOMENT).await.unwrap();
    no_deployment(&lane).await;
    assert_eq!(found(second().await, &tcp).await, "");
    keep(&lane, "blue", &[]).await;
    lane.converged("blue").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_runs_is_not_touched_by_an_override_that_cannot_be() {
    let lane = lane().await;
    let operator = lane.operator().await.unwrap();
    lane.create(&manifest(&lane, "blue", &[("/events", "second")])).await.unwrap();
    lane.converged("blue").await.unwrap();
    operator.silence(MOMENT).await.unwrap();
    let deployments = lane.objects::<Deployment>();
    let before = deployments.get("blue").await.unwrap().metadata.generation;
    for kinds in [[("/events", "nowhere")].as_slice(), &[("/events", "second"), ("/pods", "nowhere")]] {
        keep(&lane, "blue", kinds).await;
        names(&lane, "DataStoreReachable", "False/DataStoreMissing", &named(&lane, "nowhere")).await;
        operator.silence(MOMENT).await.unwrap();
        assert_eq!(deployments.get("blue").await.unwrap().metadata.generation, before);
    }
    keep(&lane, "blue", &[("/events", "second")]).await;
    lane.converged("blue").await.unwrap();
    assert_eq!(deployments.get("blue").await.unwrap().metadata.generation, before);
}

/// The store has another authority, so that it would be missed in the file of authorities.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_down_when_the_operator_starts_changes_nothing_of_a_tenant_that_runs() {
    let lane = lane().await;
    let third = third().await;
    let proxy = Proxy::start(third.endpoint()).await.unwrap();
    let store = lane.put_further_data_store("fragile", third, &proxy.endpoint().to_string()).await.unwrap();
    let operator = lane.operator().await.unwrap();
    lane.create(&manifest(&lane, "blue", &[("/configmaps", "fragile")])).await.unwrap();
    lane.converged("blue").await.unwrap();
    operator.silence(MOMENT).await.unwrap();
    operator.kill().await;
    let deployments = lane.objects::<Deployment>();
    let secrets = lane.objects::<Secret>();
    let generation = deployments.get("blue").await.unwrap().metadata.generation;
    let certificate = secrets.get("blue-datastore-certificate").await.unwrap();
    let trusted = String::from_utf8(certificate.data.as_ref().unwrap()["ca.crt"].0.clone()).unwrap();
    assert_eq!(trusted.matches("BEGIN CERTIFICATE").count(), 2);

    proxy.set(Mode::Refuse);
    let operator = lane.operator().await.unwrap();
    names(&lane, "DataStoreReachable", "False/Unreachable", &store).await;
    operator.silence(MOMENT).await.unwrap();
    assert_eq!(deployments.get("blue").await.unwrap().metadata.generation, generation);
    assert_eq!(secrets.get("blue-datastore-certificate").await.unwrap().data, certificate.data);
    proxy.set(Mode::Pass);
    lane.converged("blue").await.unwrap();
    operator.silence(MOMENT).await.unwrap();
    assert_eq!(deployments.get("blue").await.unwrap().metadata.generation, generation);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_goes_while_the_tenant_runs_is_named_and_the_tenant_is_looked_after() {
    let lane = lane().await;
    let proxy = Proxy::start(second().await.endpoint()).await.unwrap();
    let store =
        lane.put_further_data_store("fragile", second().await, &proxy.endpoint().to_string()).await.unwrap();
    let operator = lane.operator().await.unwrap();
    lane.create(&manifest(&lane, "blue", &[("/events", "fragile")])).await.unwrap();
    lane.converged("blue").await.unwrap();
    operator.silence(MOMENT).await.unwrap();
    proxy.set(Mode::Refuse);
    let spec = json!({ "spec": { "controlPlane": { "deployment": { "replicas": 2 } } } });
    lane.edit::<TenantControlPlane>("blue", &spec).await.unwrap();
    let scaled = |deployment: &Deployment| deployment.spec.replicas == Some(2);
    wait_for(&lane.objects::<Deployment>(), "blue", "scaled", scaled).await.unwrap();
    tokio::select! {
        _ = names(&lane, "DataStoreReachable", "False/Unreachable", &store) => {}
        () = examined_again_and_again(&lane, &store) => {}
    }
    proxy.set(Mode::Pass);
    lane.converged("blue").await.unwrap();
}

/// Whatever happens to a DataStore has it examined, unless that was a moment ago.
async fn examined_again_and_again(lane: &Lane, store: &str) {
    for number in 0.. {
        let touched = json!({ "metadata": { "annotations": { "touched": number.to_string() } } });
        lane.data_stores().patch(store, &PatchParams::default(), &Patch::Merge(&touched)).await.unwrap();
        tokio::time::sleep(MOMENT).await;
    }
}
