//! `kamaji join-command`: a line that makes a machine a node of a tenant.

mod cluster_info;
mod error;
mod readiness;
mod token;

use std::fmt::{Debug, Formatter};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kamaji_addons::kubeadm::cluster_info::NAME as CLUSTER_INFO;
use kamaji_api::Child;
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_client::{Bounds, connect};
use kamaji_pki::Certificate;
use kamaji_resources::Kubeconfig;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, KubeconfigError};
use kube::runtime::wait::await_condition;
use kube::{Api, Client, Config, config};
use ring::rand::SystemRandom;

pub use self::error::JoinError;
pub use self::readiness::NotJoinable;
pub use self::token::TimeToLive;

use self::error::cause;
use self::token::Token;
use crate::administrator;
use crate::cli::JoinCommandArgs;
use crate::clock;

/// For somebody who waits.
pub(crate) const BOUNDS: Bounds = Bounds {
    connect: Duration::from_secs(5),
    answer: Duration::from_secs(15),
    silence: Duration::from_mins(2),
    size: 8 << 20,
    together: 16 << 20,
    rate: 1 << 20,
    requests: 100,
};
/// How long kube-controller-manager may take to sign, which it does at once when it runs.
const PATIENCE: Duration = Duration::from_secs(30);
/// From one look at the signature to the next, should a watch fail.
const INTERVAL: Duration = Duration::from_secs(1);
/// So often another token is drawn when there is one of that name; once in two thousand million.
const DRAWS: usize = 3;

/// Which tenant is to be joined, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// Namespace of the tenant.
    pub namespace: String,
    /// Name of the tenant.
    pub name: String,
    /// How long the token lasts.
    pub time_to_live: TimeToLive,
    /// How long to wait for the token's signature.
    pub patience: Duration,
}

/// How a machine joins.
#[derive(Clone)]
pub struct JoinCommand {
    /// The line to run on the machine. Whoever has it can join the tenant.
    pub line: String,
    /// Name of the token's Secret in the tenant's namespace `kube-system`: without it, the line is worth nothing.
    pub token: String,
    /// When the token ends.
    pub expires: Timestamp,
    /// Whether machines can join at once: the tenant's kube-controller-manager has signed `cluster-info` with the token.
    pub is_signed: bool,
}

impl Debug for JoinCommand {
    /// Never shows the line.
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("JoinCommand")
            .field("token", &self.token)
            .field("expires", &self.expires)
            .field("is_signed", &self.is_signed)
            .finish_non_exhaustive()
    }
}

/// Makes a bootstrap token in the tenant, and the line that uses it.
///
/// `management` must be allowed to get the TenantControlPlane and its Secret `<name>-admin-kubeconfig`. Nothing is made before
/// everything else is known to be right, so a failure leaves no token behind.
pub async fn join_command(management: &Client, request: &JoinRequest) -> Result<JoinCommand, JoinError> {
    let tcp = find(management, request).await?;
    readiness::joinable(&tcp).map_err(|why| JoinError::NotJoinable { tenant: request.to_string(), why })?;
    let administrator = administrator(management, request).await?;
    let tenant = Tenant::connect(&administrator).await.map_err(|()| unusable(request))?;
    let authority =
        Certificate::from_pem(administrator.authority.as_bytes()).map_err(|_| unusable(request))?;
    let address = cluster_info::address(&tenant.cluster_info().await?, &authority)
        .map_err(JoinError::ClusterInfoUnusable)?;
    let expires = request.time_to_live.from(clock::now());
    let token = tenant.invite(expires).await?;
    Ok(JoinCommand {
        line: format!(
            "kubeadm join {address} --token {} --discovery-token-ca-cert-hash sha256:{}",
            token.text(),
            authority.fingerprint()
        ),
        token: token.name(),
        expires,
        is_signed: tokio::time::timeout(request.patience, tenant.signature(&token)).await.is_ok(),
    })
}

/// Prints the line on standard output, and everything else on standard error.
pub(crate) async fn run(args: JoinCommandArgs) -> anyhow::Result<()> {
    let config = management(args.kubeconfig.as_deref(), args.context.as_deref());
    let config = config.await.context("find the management cluster")?;
    let request = JoinRequest {
        namespace: args.namespace.unwrap_or_else(|| config.default_namespace.clone()),
        name: args.name,
        time_to_live: args.ttl,
        patience: PATIENCE,
    };
    let client = connect(&config, BOUNDS).context("connect to the management cluster")?;
    let command = Box::pin(join_command(&client, &request)).await?;
    writeln!(std::io::stderr(), "{}", remarks(&request, &command))?;
    writeln!(std::io::stdout(), "{}", command.line)?;
    Ok(())
}

/// The management cluster that kubectl would find, or the one that we run in.
pub(crate) async fn management(kubeconfig: Option<&Path>, context: Option<&str>) -> anyhow::Result<Config> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let file = match kubeconfig {
        Some(path) => config::Kubeconfig::read_from(path),
        None => config::Kubeconfig::read(),
    };
    let is_ours_to_find = kubeconfig.is_none() && context.is_none();
    let error = match file {
        Ok(file) => return Ok(Config::from_custom_kubeconfig(file, &options).await?),
        // What is wrong with the text is shown with the text, which may be a token.
        Err(KubeconfigError::Parse(_)) => {
            anyhow!("the kubeconfig is not valid YAML; `kubectl config view` says where")
        }
        Err(error) => error.into(),
    };
    if !is_ours_to_find || !is_missing(&error) {
        return Err(error);
    }
    Config::incluster().context("there is no kubeconfig and this is no Pod; say which with --kubeconfig")
}

/// Whether kubectl would have found no kubeconfig either.
fn is_missing(error: &anyhow::Error) -> bool {
    match error.downcast_ref() {
        Some(KubeconfigError::ReadConfig(cause, _)) => cause.kind() == std::io::ErrorKind::NotFound,
        found => matches!(found, Some(KubeconfigError::FindPath)),
    }
}

/// What a person wants to know besides the line.
fn remarks(request: &JoinRequest, command: &JoinCommand) -> String {
    let JoinCommand { token, expires, is_signed, .. } = command;
    let mut text = format!(
        "Run this as root on each machine that is to join {request}, until {expires}. Deleting the Secret kube-system/{token} in the tenant revokes it."
    );
    if !is_signed {
        text += "\nNote: the tenant's kube-controller-manager has not signed the token yet, perhaps because it has just been started; kubeadm waits for that for up to five minutes.";
    }
    text
}

impl std::fmt::Display for JoinRequest {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// The tenant, or which part of its name is wrong.
async fn find(management: &Client, request: &JoinRequest) -> Result<TenantControlPlane, JoinError> {
    let JoinRequest { namespace, name, .. } = request;
    let read = Api::namespaced(management.clone(), namespace).get(name).await;
    let error = match read {
        Ok(tcp) => return Ok(tcp),
        Err(error) if is_absent(&error) => error,
        Err(error) => return Err(refused(format!("TenantControlPlane {request}"), error)),
    };
    // A server that knows the kind says NotFound; one that does not has no words for it.
    if !matches!(&error, kube::Error::Api(status) if status.reason == "NotFound") {
        return Err(JoinError::NoManagementCluster);
    }
    match Api::<Namespace>::all(management.clone()).get(namespace).await {
        Err(error) if is_absent(&error) => Err(JoinError::NoNamespace(namespace.clone())),
        // Not everybody may look at namespaces.
        _ => Err(JoinError::NoTenant { namespace: namespace.clone(), name: name.clone() }),
    }
}

/// The credentials of the tenant's administrator.
///
/// Only certificates and keys are taken from the file, so that whoever can write the Secret cannot make us run a command.
async fn administrator(management: &Client, request: &JoinRequest) -> Result<Kubeconfig, JoinError> {
    let name = Child::AdminKubeconfig.name(&request.name);
    let secret = Api::<Secret>::namespaced(management.clone(), &request.namespace).get(&name).await;
    let secret = secret.map_err(|error| {
        let full_name = format!("{}/{name}", request.namespace);
        if is_absent(&error) {
            JoinError::CredentialsMissing(full_name)
        } else {
            refused(format!("Secret {full_name}"), error)
        }
    })?;
    let file = secret.data.as_ref().and_then(|data| data.get("admin.conf"));
    file.and_then(|file| Kubeconfig::from_yaml(&file.0)).ok_or_else(|| unusable(request))
}

fn unusable(request: &JoinRequest) -> JoinError {
    let name = Child::AdminKubeconfig.name(&request.name);
    JoinError::CredentialsUnusable(format!("{}/{name}", request.namespace))
}

fn refused(object: String, source: kube::Error) -> JoinError {
    JoinError::Management { object, source: cause(source) }
}

fn is_absent(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// A tenant's API server, and where it is.
struct Tenant {
    client: Client,
    address: String,
}

impl Tenant {
    /// Fails without a word: what is wrong with a file of credentials may be a part of them.
    async fn connect(administrator: &Kubeconfig) -> Result<Self, ()> {
        let config = administrator::config(administrator).await.ok_or(())?;
        let client = connect(&config, BOUNDS).map_err(drop)?;
        Ok(Self { client, address: administrator.server.clone() })
    }

    async fn cluster_info(&self) -> Result<ConfigMap, JoinError> {
        let read = self.public().get_opt(CLUSTER_INFO).await;
        read.map_err(|error| self.failed("read the ConfigMap kube-public/cluster-info", error))?
            .ok_or(JoinError::ClusterInfoMissing)
    }

    /// A token that the tenant's API server knows.
    async fn invite(&self, expires: Timestamp) -> Result<Token, JoinError> {
        let secrets = Api::<Secret>::namespaced(self.client.clone(), "kube-system");
        let random = SystemRandom::new();
        let mut drawn = 0;
        loop {
            let token = Token::new(&random).map_err(|_| JoinError::NoRandomness)?;
            drawn += 1;
            match secrets.create(&PostParams::default(), &token.object(expires)).await {
                Ok(_) => return Ok(token),
                Err(kube::Error::Api(status)) if status.is_already_exists() && drawn < DRAWS => {}
                Err(error) => return Err(self.failed("make a bootstrap token", error)),
            }
        }
    }

    /// Returns once machines can check `cluster-info` with the token.
    async fn signature(&self, token: &Token) {
        let key = token.signature_key();
        let is_signed = |cluster_info: Option<&ConfigMap>| {
            let data = cluster_info.and_then(|cluster_info| cluster_info.data.as_ref());
            data.is_some_and(|data| data.contains_key(&key))
        };
        while Box::pin(await_condition(self.public(), CLUSTER_INFO, is_signed)).await.is_err() {
            tokio::time::sleep(INTERVAL).await;
        }
    }

    fn public(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), "kube-public")
    }

    fn failed(&self, what: &'static str, error: kube::Error) -> JoinError {
        match error {
            kube::Error::Api(_) => JoinError::Refused { what, source: cause(error) },
            error => JoinError::Unreachable { address: self.address.clone(), source: cause(error) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of this kubeconfig.
    async fn refusal(name: &str, text: &str) -> String {
        let path = std::env::temp_dir().join(format!("kamaji-join-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let error = management(Some(&path), None).await.unwrap_err();
        std::fs::remove_file(path).unwrap();
        format!("{error:#} {error:?}")
    }

    #[tokio::test]
    async fn a_kubeconfig_that_cannot_be_read_is_not_shown() {
        for (name, text) in [("list", "users: [{ user: { token: [HUSH] } }]"), ("open", "users: [HUSH")] {
            let said = refusal(name, text).await;
            assert!(said.contains("not valid YAML") && !said.contains("HUSH"), "{said}");
        }
        assert!(refusal("empty", "{}").await.contains("current context"));
    }

    fn request() -> JoinRequest {
        JoinRequest {
            namespace: "teams".into(),
            name: "blue".into(),
            time_to_live: TimeToLive::new(Duration::from_hours(1)).unwrap(),
            patience: PATIENCE,
        }
    }

    fn command() -> JoinCommand {
        JoinCommand {
            line: "kubeadm join 192.0.2.1:6443 --token abcdef.0123456789abcdef".into(),
            token: "bootstrap-token-abcdef".into(),
            expires: "2026-11-23T07:00:00Z".parse().unwrap(),
            is_signed: true,
        }
    }

    #[test]
    fn the_remarks_say_where_until_when_and_how_to_revoke() {
        assert_eq!(
            remarks(&request(), &command()),
            "Run this as root on each machine that is to join teams/blue, until 2026-11-23T07:00:00Z. Deleting the Secret kube-system/bootstrap-token-abcdef in the tenant revokes it."
        );
        let late = JoinCommand { is_signed: false, ..command() };
        assert!(remarks(&request(), &late).contains("has not signed the token yet"));
    }

    #[test]
    fn the_secret_is_in_the_line_alone() {
        let seen = format!("{:?} {}", command(), remarks(&request(), &command()));
        assert!(!seen.contains("0123456789abcdef"), "{seen}");
    }
}
