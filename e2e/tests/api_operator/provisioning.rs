//! What a tenant is made of, what that costs, and that what is there is left alone.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service},
};
use kamaji_e2e::{
    cut::Write,
    digest::versions,
    operator::{Lane, kubelet, names},
};

use crate::SILENCE;

/// What is written while a tenant comes into being, sorted; more or less than this is for a reviewer to judge.
const WRITES: &[&str] = &[
    "PATCH configmaps blue-kubeadmconfig",
    "PATCH datastores status",
    "PATCH deployments blue",
    "PATCH poddisruptionbudgets blue",
    "PATCH secrets blue-admin-kubeconfig",
    "PATCH secrets blue-api-server-certificate",
    "PATCH secrets blue-api-server-kubelet-client-certificate",
    "PATCH secrets blue-ca",
    "PATCH secrets blue-controller-manager-kubeconfig",
    "PATCH secrets blue-datastore-certificate",
    "PATCH secrets blue-datastore-config",
    "PATCH secrets blue-front-proxy-ca-certificate",
    "PATCH secrets blue-front-proxy-client-certificate",
    "PATCH secrets blue-sa-certificate",
    "PATCH secrets blue-scheduler-kubeconfig",
    "PATCH services blue",
    "PATCH tenantcontrolplanes blue",
    "PATCH tenantcontrolplanes blue status",
    "PATCH tenantcontrolplanes blue status",
    "POST events",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_exactly_its_children_and_one_generation_of_its_deployment() {
    let lane = Lane::new().await.unwrap();
    let operator = lane.operator().await.unwrap();
    // The DataStore's own writes are not the tenant's.
    lane.store_examined().await.unwrap();
    operator.silence(SILENCE).await.unwrap();
    operator.wire.clear();

    crate::pair(&lane).await.unwrap();
    lane.converged("blue").await.unwrap();
    operator.silence(SILENCE).await.unwrap();

    let writes = listed(&operator.wire.writes());
    println!("{} writes, {} requests\n{}", writes.len(), operator.wire.requests(), writes.join("\n"));
    assert_eq!(writes, WRITES);
    assert!(writes.len() <= 50);
    let deployment = lane.objects::<Deployment>().get("blue").await.unwrap();
    assert_eq!(deployment.metadata.generation, Some(1));
    assert_eq!(names::<Service>(&lane.client, &lane.namespace).await.unwrap(), ["blue"]);
    assert_eq!(names::<ConfigMap>(&lane.client, &lane.namespace).await.unwrap(), ["blue-kubeadmconfig"]);
    let mut secrets = names::<Secret>(&lane.client, &lane.namespace).await.unwrap();
    secrets.retain(|name| name.starts_with("blue"));
    assert_eq!(
        secrets,
        [
            "blue-admin-kubeconfig",
            "blue-api-server-certificate",
            "blue-api-server-kubelet-client-certificate",
            "blue-ca",
            "blue-controller-manager-kubeconfig",
            "blue-datastore-certificate",
            "blue-datastore-config",
            "blue-front-proxy-ca-certificate",
            "blue-front-proxy-client-certificate",
            "blue-sa-certificate",
            "blue-scheduler-kubeconfig",
        ]
    );
}

/// Method, kind and name of every write, sorted, without what is generated.
fn listed(writes: &[Write]) -> Vec<String> {
    let mut lines: Vec<String> = writes
        .iter()
        .map(|write| {
            let mut segments: Vec<&str> =
                write.path.split('/').skip_while(|part| *part != "namespaces").skip(2).collect();
            if segments.is_empty() {
                segments = vec!["datastores", write.path.split('/').next_back().unwrap_or_default()];
            }
            format!("{} {}", write.method, segments.join(" "))
        })
        .collect();
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_answers_is_ready_and_restarting_the_operator_changes_nothing() {
    let lane = Lane::new().await.unwrap();
    let operator = lane.operator().await.unwrap();
    for name in ["blue", "green", "red"] {
        lane.tenant(name).await.unwrap();
        lane.converged(name).await.unwrap();
    }
    let _server = kubelet::run_api_server(&lane, "blue").await.unwrap();
    kubelet::report_ready(&lane, "blue").await.unwrap();
    let ready = lane
        .tenant_that("blue", "ready", |tcp| kamaji_e2e::operator::condition(tcp, "Ready") == "True/Ready")
        .await
        .unwrap();
    assert_eq!(ready.status.unwrap().observed_generation, Some(1));
    operator.silence(SILENCE).await.unwrap();
    operator.stop().await.unwrap();

    let before = everything(&lane).await;
    for round in 0..10 {
        let operator = lane.operator().await.unwrap();
        operator.silence(std::time::Duration::from_secs(1)).await.unwrap();
        assert_eq!(operator.wire.writes(), [], "restart {round}");
        operator.kill().await;
    }
    assert_eq!(everything(&lane).await, before);
}

async fn everything(lane: &Lane) -> Vec<(String, String)> {
    let mut all = versions::<kamaji_api::v1alpha1::TenantControlPlane>(lane).await.unwrap();
    all.extend(versions::<Secret>(lane).await.unwrap());
    all.extend(versions::<ConfigMap>(lane).await.unwrap());
    all.extend(versions::<Service>(lane).await.unwrap());
    all.extend(versions::<Deployment>(lane).await.unwrap());
    all.into_iter().collect()
}
