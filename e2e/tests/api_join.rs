//! The command that makes a machine a node, on real software: the tenant's API server and kube-controller-manager, and kubeadm,
//! which joins as far as a machine without a kubelet can.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]
#![expect(clippy::large_futures, reason = "a test has few of them, and they are short-lived")]

#[path = "api_join/kubeadm.rs"]
mod kubeadm;
#[path = "api_join/refusals.rs"]
mod refusals;
#[path = "api_join/tokens.rs"]
mod tokens;

use std::{fs, path::PathBuf, time::Duration};

use k8s_openapi::api::core::v1::Secret;
use kamaji_api::Child;
use kamaji_e2e::operator::{
    Lane, Operator, PATIENCE, condition,
    kubelet::{self, TenantApiServer},
};
use kamaji_operator::{JoinCommand, JoinError, JoinRequest, TimeToLive, join_command};
use kube::{
    Api, Client, Config,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};

/// The tenant of a lane, whose API server runs and has everything of ours inside.
struct Joinable {
    lane: Lane,
    administrator: Client,
    /// The administrator's kubeconfig.
    file: PathBuf,
    operator: Option<Operator>,
    server: Option<TenantApiServer>,
}

impl Joinable {
    async fn start() -> Self {
        let lane = Lane::new().await.unwrap();
        let operator = lane.operator().await.unwrap();
        lane.tenant("blue").await.unwrap();
        lane.converged("blue").await.unwrap();
        let server = kubelet::run_api_server(&lane, "blue").await.unwrap();
        kubelet::report_ready(&lane, "blue").await.unwrap();
        let is_kept =
            |tcp: &_| ["Ready", "Addons"].iter().all(|name| condition(tcp, name).starts_with("True"));
        lane.tenant_that("blue", "ready and kept", is_kept).await.unwrap();
        let secret: Secret = lane.objects().get(&Child::AdminKubeconfig.name("blue")).await.unwrap();
        let text = String::from_utf8(secret.data.unwrap()["admin.conf"].0.clone()).unwrap();
        let file =
            std::env::temp_dir().join(format!("kamaji-join-{}-{}", std::process::id(), lane.namespace));
        fs::write(&file, &text).unwrap();
        let administrator = client(&text).await;
        Self { lane, administrator, file, operator: Some(operator), server: Some(server) }
    }

    /// From here on nobody repairs anything.
    async fn stop_operator(&mut self) {
        self.operator.take().unwrap().stop().await.unwrap();
    }

    /// From here on nobody answers.
    fn stop_server(&mut self) {
        drop(self.server.take().unwrap());
    }

    async fn may_list_secrets(&self) -> bool {
        let secrets = Api::<Secret>::all(self.administrator.clone());
        secrets.list(&ListParams::default()).await.is_ok()
    }

    async fn command(&self) -> JoinCommand {
        join_command(&self.lane.client, &self.request("blue")).await.unwrap()
    }

    async fn refused(&self, tenant: &str) -> JoinError {
        join_command(&self.lane.client, &self.request(tenant)).await.unwrap_err()
    }

    fn request(&self, tenant: &str) -> JoinRequest {
        JoinRequest {
            namespace: self.lane.namespace.clone(),
            name: tenant.to_owned(),
            time_to_live: TimeToLive::new(Duration::from_hours(1)).unwrap(),
            patience: PATIENCE,
        }
    }
}

impl Drop for Joinable {
    fn drop(&mut self) {
        // A file that stays behind in /tmp is no reason to fail.
        let _ = fs::remove_file(&self.file);
    }
}

async fn client(kubeconfig: &str) -> Client {
    Client::try_from(config(kubeconfig).await).unwrap()
}

async fn config(kubeconfig: &str) -> Config {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    config.proxy_url = None;
    config
}
