//! What the token is, what it may do, and how it ends.

use std::{collections::BTreeMap, fs, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::{
    authentication::v1::SelfSubjectReview,
    core::v1::{ConfigMap, Secret},
};
use kamaji_addons::kubeadm::rbac::BOOTSTRAPPERS;
use kamaji_e2e::operator::{PATIENCE, signer::run_signer, wait_for, wait_gone};
use kamaji_operator::{JoinCommand, JoinRequest, join_command};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{Joinable, config, kubeadm};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_says_what_it_is_for_and_ends_in_time() {
    let tenant = Joinable::start().await;
    let before = now();
    let unsigned = join_command(&tenant.lane.client, &impatient(&tenant)).await.unwrap();
    assert!(!unsigned.is_signed, "nobody is there who could sign");
    let _signer = run_signer(&tenant.lane, "blue").await.unwrap();
    let signature = signature_key(&unsigned);
    wait_for(&public(&tenant), "cluster-info", "signed late", |info| has_key(info, &signature))
        .await
        .unwrap();
    let command = tenant.command().await;
    assert!(command.is_signed);
    assert_ne!(command.token, unsigned.token);

    let secret = secrets(&tenant).get(&command.token).await.unwrap();
    assert_eq!(secret.type_.as_deref(), Some("bootstrap.kubernetes.io/token"));
    let mut data: BTreeMap<_, _> =
        secret.data.unwrap().into_iter().map(|(key, value)| (key, text(value.0))).collect();
    let expiration: Timestamp = data.remove("expiration").unwrap().parse().unwrap();
    assert_eq!(expiration, command.expires);
    let lasts = expiration.duration_since(before);
    assert!((3_599..3_700).contains(&lasts.as_secs()), "{lasts}");
    let token = format!("{}.{}", data.remove("token-id").unwrap(), data.remove("token-secret").unwrap());
    assert!(command.line.contains(&format!(" --token {token} ")));
    assert!(data.remove("description").unwrap().contains("kamaji join-command"));
    let expected = [
        ("auth-extra-groups", BOOTSTRAPPERS),
        ("usage-bootstrap-authentication", "true"),
        ("usage-bootstrap-signing", "true"),
    ];
    assert_eq!(data, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());

    may_join_and_nothing_else(&with_token(&tenant, &token).await).await;
    let listed = kubeadm::token_list(&tenant);
    assert!(listed.contains(token.split_once('.').unwrap().0), "{listed}");

    // The one is revoked, and the other has ended: both are over.
    secrets(&tenant).delete(&command.token, &DeleteParams::default()).await.unwrap();
    let past = json!({ "stringData": { "expiration": "2020-01-01T00:00:00Z" } });
    secrets(&tenant).patch(&unsigned.token, &PatchParams::default(), &Patch::Merge(&past)).await.unwrap();
    wait_gone(&secrets(&tenant), &unsigned.token).await.unwrap();
    let keys = [signature_key(&command), signature];
    let unsigned_again = |info: &ConfigMap| keys.iter().all(|key| !has_key(info, key));
    wait_for(&public(&tenant), "cluster-info", "without signatures", unsigned_again).await.unwrap();
    let refused = tokio::time::timeout(PATIENCE, refusal(&with_token(&tenant, &token).await)).await.unwrap();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 401), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_ask_at_once_and_each_gets_a_token_of_his_own() {
    let tenant = Joinable::start().await;
    let _signer = run_signer(&tenant.lane, "blue").await.unwrap();
    let commands = futures::future::join_all((0..8).map(|_| tenant.command())).await;
    assert!(commands.iter().all(|command| command.is_signed));
    let tokens: std::collections::BTreeSet<_> = commands.iter().map(|command| &command.token).collect();
    assert_eq!(tokens.len(), 8);
}

fn impatient(tenant: &Joinable) -> JoinRequest {
    JoinRequest { patience: Duration::from_secs(1), ..tenant.request("blue") }
}

/// Exactly what kubeadm needs: who it is, a certificate of its own, and to read what is meant for it.
async fn may_join_and_nothing_else(machine: &Client) {
    let user = whoami(machine).await.unwrap().status.unwrap().user_info.unwrap();
    assert!(user.username.unwrap().starts_with("system:bootstrap:"));
    assert!(user.groups.unwrap().contains(&BOOTSTRAPPERS.to_owned()));
    let config_maps = Api::<ConfigMap>::namespaced(machine.clone(), "kube-system");
    for name in ["kubeadm-config", "kubelet-config"] {
        config_maps.get(name).await.unwrap();
    }
    let secrets = Api::<Secret>::namespaced(machine.clone(), "kube-system");
    let refused = secrets.list(&kube::api::ListParams::default()).await.map(drop).unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 403), "{refused}");
}

async fn whoami(client: &Client) -> kube::Result<SelfSubjectReview> {
    Api::all(client.clone()).create(&PostParams::default(), &SelfSubjectReview::default()).await
}

/// The answer once the API server has forgotten whom it let in: it remembers that for ten seconds.
async fn refusal(client: &Client) -> kube::Error {
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    loop {
        tick.tick().await;
        if let Err(error) = whoami(client).await {
            return error;
        }
    }
}

/// A machine that has nothing but the token.
async fn with_token(tenant: &Joinable, token: &str) -> Client {
    let mut config = config(&fs::read_to_string(&tenant.file).unwrap()).await;
    config.auth_info = serde_json::from_value(json!({ "token": token })).unwrap();
    Client::try_from(config).unwrap()
}

fn secrets(tenant: &Joinable) -> Api<Secret> {
    Api::namespaced(tenant.administrator.clone(), "kube-system")
}

fn public(tenant: &Joinable) -> Api<ConfigMap> {
    Api::namespaced(tenant.administrator.clone(), "kube-public")
}

fn signature_key(command: &JoinCommand) -> String {
    command.token.replace("bootstrap-token", "jws-kubeconfig")
}

fn has_key(config_map: &ConfigMap, key: &str) -> bool {
    config_map.data.as_ref().is_some_and(|data| data.contains_key(key))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "tokens that a real server judges by the real time")]
fn now() -> Timestamp {
    Timestamp::now()
}
