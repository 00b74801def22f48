//! All anchors at once, from stage to stage, with an API server that is started anew in each.

use std::{net::SocketAddr, time::Duration};

use k8s_openapi::api::{
    apps::v1::Deployment,
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kamaji_api::{labels, v1alpha1::TenantControlPlane};
use kamaji_e2e::operator::{
    Lane, PATIENCE,
    kubelet::{self, TenantApiServer},
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    config::Kubeconfig,
};
use serde_json::json;

use crate::tenant::{
    ANCHORS, anchors, annotate, answer, answer_to, ask, give_up_the_others, kubeconfig, told,
};

/// How often it is looked whether the API server listens.
const INTERVAL: Duration = Duration::from_millis(50);
const FORBIDDEN: Option<u16> = Some(403);

/// All Pods are replaced: the API server is the one that the Deployment speaks of now.
async fn rolled_out(lane: &Lane, old: TenantApiServer) -> TenantApiServer {
    drop(old);
    let none = json!({ "status": { "readyReplicas": 0, "availableReplicas": 0, "unavailableReplicas": 1 } });
    let deployments = lane.objects::<Deployment>();
    deployments.patch_status("blue", &PatchParams::default(), &Patch::Merge(&none)).await.unwrap();
    let server = kubelet::run_api_server(lane, "blue").await.unwrap();
    let all = json!({ "status": { "unavailableReplicas": null } });
    deployments.patch_status("blue", &PatchParams::default(), &Patch::Merge(&all)).await.unwrap();
    answering(server.address()).await;
    kubelet::report_ready(lane, "blue").await.unwrap();
    server
}

/// As a Pod is ready when it answers.
async fn answering(address: SocketAddr) {
    let connected = async {
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(INTERVAL).await;
        }
    };
    tokio::time::timeout(PATIENCE, connected).await.unwrap();
}

/// A token of a service account of the tenant.
async fn token(kubeconfig: Kubeconfig) -> String {
    let client = kamaji_e2e::tenant::client_of(kubeconfig).await.unwrap();
    let accounts = Api::<ServiceAccount>::namespaced(client, "kube-system");
    let account = serde_json::from_value(json!({ "metadata": { "name": "somebody" } })).unwrap();
    // It may be there from an earlier call.
    let _ = accounts.create(&PostParams::default(), &account).await;
    let request = TokenRequest {
        spec: Some(TokenRequestSpec { expiration_seconds: Some(3600), ..TokenRequestSpec::default() }),
        ..TokenRequest::default()
    };
    let made = accounts.create_token_request("somebody", &PostParams::default(), &request).await.unwrap();
    made.status.unwrap().token.unwrap()
}

/// Whoever holds what was given out in an earlier stage is let in.
async fn all_are_let_in(files: &[Kubeconfig], tokens: &[String], stage: &str) {
    for (index, file) in files.iter().enumerate() {
        assert_eq!(answer(file.clone()).await, Some(200), "kubeconfig {index} at {stage}");
    }
    for (index, token) in tokens.iter().enumerate() {
        // It is known who asks, and that one may not.
        let newest = files.last().unwrap().clone();
        assert_eq!(answer_to(token, newest).await, FORBIDDEN, "token {index} at {stage}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_and_new_are_let_in_until_the_old_is_dropped_and_then_only_the_new() {
    let lane = Lane::new().await.unwrap();
    let operator = lane.operator().await.unwrap();
    lane.tenant("blue").await.unwrap();
    lane.converged("blue").await.unwrap();
    let mut server = kubelet::run_api_server(&lane, "blue").await.unwrap();
    kubelet::report_ready(&lane, "blue").await.unwrap();
    let answers = |tcp: &TenantControlPlane| kamaji_e2e::operator::condition(tcp, "Addons") == "True/Kept";
    let tcp = lane.tenant_that("blue", "kept", answers).await.unwrap();
    assert_eq!(kamaji_e2e::operator::condition(&tcp, "Rotation"), "");
    let before = anchors(&lane).await;
    let mut files = vec![kubeconfig(&lane).await];
    let mut tokens = vec![token(files[0].clone()).await];

    // A request that does not name this very tenant changes nothing.
    annotate(&lane, &json!({ (labels::ROTATE_CA): "true" })).await;
    told(&lane, "False/RotationNotNamed", "must hold the UID").await;
    assert_eq!(anchors(&lane).await, before);

    ask(&lane, &ANCHORS).await;
    told(&lane, "False/TrustingBoth", "every Pod").await;
    for (state, stage) in [("False/Reissuing", "every Pod"), ("False/LastWordAwaited", "both")] {
        server = rolled_out(&lane, server).await;
        told(&lane, state, stage).await;
        files.push(kubeconfig(&lane).await);
        tokens.push(token(files.last().unwrap().clone()).await);
        all_are_let_in(&files, &tokens, state).await;
    }
    // The last word about something else is none.
    annotate(&lane, &json!({ (labels::DROP_TRUST_ANCHOR): "0123456789abcdef" })).await;
    operator.silence(crate::SILENCE).await.unwrap();
    told(&lane, "False/LastWordAwaited", "both").await;

    give_up_the_others(&lane).await;
    told(&lane, "False/Dropping", "every Pod").await;
    let server = rolled_out(&lane, server).await;
    told(&lane, "True/Settled", "").await;
    operator.silence(crate::SILENCE).await.unwrap();
    let newest = kubeconfig(&lane).await;
    assert_eq!(answer(newest.clone()).await, Some(200));
    assert_eq!(answer(files[0].clone()).await, None, "the old authority is still believed");
    assert_eq!(answer_to(&tokens[0], newest.clone()).await, Some(401), "the old key is still known");
    assert_eq!(answer_to(tokens.last().unwrap(), newest).await, FORBIDDEN);
    let after = anchors(&lane).await;
    for (before, after) in before.iter().zip(&after) {
        let keys = |secret: &k8s_openapi::api::core::v1::Secret| {
            secret.data.clone().unwrap().into_keys().collect::<Vec<_>>()
        };
        assert_eq!(keys(before), keys(after));
        assert_ne!(before.data, after.data);
    }

    // The request stays, and is served once.
    operator.stop().await.unwrap();
    let operator = lane.operator().await.unwrap();
    operator.silence(crate::SILENCE).await.unwrap();
    assert_eq!(anchors(&lane).await, after);
    ask(&lane, &[]).await;
    let forgotten = |tcp: &TenantControlPlane| {
        let certificates = tcp.status.as_ref().and_then(|status| status.certificates.as_ref());
        certificates.is_some_and(|certificates| certificates.rotations.is_empty())
    };
    lane.tenant_that("blue", "forgotten", forgotten).await.unwrap();
    assert_eq!(anchors(&lane).await, after);
    drop(server);
}
