//! A real API server starts with what is rendered for it, and sends what is for the nodes into the tunnel.

use k8s_openapi::api::core::v1::{Node, Secret};
use kamaji_api::{Child, v1alpha1::TenantControlPlane};
use kamaji_e2e::{
    operator::{Lane, PATIENCE, condition, kubelet},
    tenant::client_of,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    config::Kubeconfig,
};
use serde_json::json;
use tokio::{io::AsyncReadExt, net::UnixListener, task::JoinSet};

use crate::{
    SILENCE,
    state::{enabled, manifest},
};

async fn administrator(lane: &Lane) -> Client {
    let secret = lane.objects::<Secret>().get(&Child::AdminKubeconfig.name("blue")).await.unwrap();
    let file = secret.data.unwrap().remove("super-admin.conf").unwrap();
    client_of(Kubeconfig::from_yaml(std::str::from_utf8(&file.0).unwrap()).unwrap()).await.unwrap()
}

/// Asks the API server to speak to the kubelet of a node, which it cannot do.
async fn ask_for_a_node(client: Client) {
    let nodes = Api::<Node>::all(client.clone());
    let node = serde_json::from_value(json!({ "metadata": { "name": "far" } })).unwrap();
    nodes.create(&PostParams::default(), &node).await.unwrap();
    let status = json!({ "status": {
        "addresses": [{ "type": "InternalIP", "address": "192.0.2.1" }],
        "daemonEndpoints": { "kubeletEndpoint": { "Port": 1 } },
    } });
    nodes.patch_status("far", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    let request = http::Request::get("/api/v1/nodes/far/proxy/healthz").body(Vec::new()).unwrap();
    let _ = client.request_text(request).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_api_server_takes_the_configuration_and_uses_the_socket() {
    let lane = Lane::new().await.unwrap();
    let operator = lane.operator().await.unwrap();
    lane.create(&manifest(&lane, "blue")).await.unwrap();
    lane.converged("blue").await.unwrap();
    let server = kubelet::run_api_server(&lane, "blue").await.unwrap();
    kubelet::report_ready(&lane, "blue").await.unwrap();
    let answers = |tcp: &TenantControlPlane| condition(tcp, "TenantReachable") == "True/Answers";
    let tcp = lane.tenant_that("blue", "answering", answers).await.unwrap();
    assert_eq!(enabled(&tcp), Some(true));
    operator.silence(SILENCE).await.unwrap();

    let socket = server.volume("konnectivity-uds").join("konnectivity-server.socket");
    let listener = UnixListener::bind(socket).unwrap();
    // It ends with the test: nobody answers.
    let mut asked = JoinSet::new();
    asked.spawn(ask_for_a_node(administrator(&lane).await));
    let (mut tunnel, _) = tokio::time::timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let mut greeting = [0; 14];
    tunnel.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"PRI * HTTP/2.0", "gRPC");
}
