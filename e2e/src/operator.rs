//! The operator, run by a test: in a lane of its own, over a wire that can be cut, stopped or killed at any moment.

pub mod cluster;
pub mod described;
pub mod front;
pub mod kubelet;
mod lane;
pub mod node;
pub mod signer;

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use kamaji_api::{labels, tenant, v1alpha1::TenantControlPlane};
use kamaji_operator::{MigrationSettings, Options, Settings, manage};
use kamaji_resources::kine;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams},
    core::NamespaceResourceScope,
    runtime::wait,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{sync::watch, task::JoinSet};

pub use self::lane::{CREDENTIALS, Lane, credentials};
use crate::cut::Wire;

/// How long anything may take that a test waits for, on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A running operator. It is killed when this is dropped.
#[derive(Debug)]
pub struct Operator {
    /// What it says and hears goes over this.
    pub wire: Wire,
    stop: watch::Sender<bool>,
    task: JoinSet<Result<()>>,
}

impl Operator {
    /// Starts it with this client, whose requests go over this wire.
    pub fn start(wire: Wire, client: Client, options: Options) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut task = JoinSet::new();
        task.spawn(Box::pin(manage(client, options, stopped)));
        Self { wire, stop, task }
    }

    /// It is gone from one moment to the next, as when its process is killed.
    pub async fn kill(mut self) {
        self.wire.cut_now();
        self.task.shutdown().await;
    }

    /// It ends by itself after it is told to.
    pub async fn stop(mut self) -> Result<()> {
        self.stop.send_replace(true);
        self.ended().await
    }

    /// It has ended by itself.
    pub async fn ended(&mut self) -> Result<()> {
        let joined = tokio::time::timeout(PATIENCE, self.task.join_next()).await;
        joined.context("the operator does not end")?.context("the operator has ended before")??
    }

    /// It has asked nothing of the API for so long. Watches that are open count as nothing.
    pub async fn silence(&self, length: Duration) -> Result<()> {
        silent(&self.wire, length).await
    }
}

/// No request was made over the wire for so long.
pub async fn silent(wire: &Wire, length: Duration) -> Result<()> {
    let silent = async {
        loop {
            let before = wire.requests();
            tokio::time::sleep(length).await;
            if wire.requests() == before {
                return;
            }
        }
    };
    let waited = tokio::time::timeout(PATIENCE + length, silent).await;
    waited.with_context(|| format!("never silent; the last writes: {:?}", wire.writes().iter().rev().take(9)))
}

/// What the command line would say by default, but for the Lease and the servers.
pub fn options() -> Options {
    Options {
        settings: Settings {
            tenant: tenant::Settings { default_data_store: None },
            kine_image: kine::DEFAULT_IMAGE.to_owned(),
            migration: MigrationSettings {
                namespace: "default".into(),
                image: Some("kamaji:test".into()),
                service_account: "default".into(),
                retention: Duration::from_hours(24),
            },
            renew_before: jiff::SignedDuration::from_hours(24),
            pass_timeout: Duration::from_secs(30),
            resync: Duration::from_hours(10),
            concurrency: 4,
        },
        lease_namespace: None,
        health: None,
        metrics: None,
        admission: None,
    }
}

/// The object once this is true of it; it is watched, not asked for again and again.
///
/// # Errors
/// After [`PATIENCE`], with the object as it is then.
pub async fn wait_for<K>(api: &Api<K>, name: &str, what: &str, holds: impl Fn(&K) -> bool) -> Result<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Serialize + Send + Sync + 'static,
    K::DynamicType: Default,
{
    let condition = |object: Option<&K>| object.is_some_and(&holds);
    let waited = Box::pin(wait::await_condition(api.clone(), name, condition));
    if let Ok(found) = tokio::time::timeout(PATIENCE, waited).await {
        return found?.context("the condition holds only of an object");
    }
    let mut live = api.get_opt(name).await?;
    if let Some(live) = &mut live {
        live.managed_fields_mut().clear();
    }
    bail!("{what}: {name} is still {}", serde_json::to_string_pretty(&live)?)
}

/// The object is gone.
pub async fn wait_gone<K>(api: &Api<K>, name: &str) -> Result<()>
where
    K: Resource + Clone + Debug + DeserializeOwned + Serialize + Send + Sync + 'static,
    K::DynamicType: Default,
{
    let gone = |object: Option<&K>| object.is_none();
    match tokio::time::timeout(PATIENCE, Box::pin(wait::await_condition(api.clone(), name, gone))).await {
        Ok(found) => found.map(drop).map_err(Into::into),
        Err(_) => {
            bail!("not gone: {name} is still {}", serde_json::to_string_pretty(&api.get_opt(name).await?)?)
        }
    }
}

/// Status and reason of a condition, as in `True/Accepted`; empty when there is none.
pub fn condition(tcp: &TenantControlPlane, name: &str) -> String {
    let conditions = tcp.status.iter().flat_map(|status| &status.conditions);
    let found = conditions.into_iter().find(|condition| condition.type_ == name);
    found.map(|condition| format!("{}/{}", condition.status, condition.reason)).unwrap_or_default()
}

/// The message of a condition.
pub fn message(tcp: &TenantControlPlane, name: &str) -> String {
    let conditions = tcp.status.iter().flat_map(|status| &status.conditions);
    let found = conditions.into_iter().find(|condition| condition.type_ == name);
    found.map(|condition| condition.message.clone()).unwrap_or_default()
}

/// Everything is done that can be done where nobody runs Pods.
pub fn is_converged(tcp: &TenantControlPlane) -> bool {
    let set_up =
        tcp.status.as_ref().and_then(|status| status.storage.as_ref()?.setup.as_ref()?.checksum.as_ref());
    let held = tcp.finalizers().iter().any(|name| name == labels::DATASTORE_FINALIZER);
    held && set_up.is_some()
        && condition(tcp, "ControlPlane") == "False/RollingOut"
        && condition(tcp, "Ready") == "False/RollingOut"
        && condition(tcp, "DataStoreReachable").starts_with("True")
        && condition(tcp, "Certificates").starts_with("True")
}

/// A kind of children, as tests read, edit and delete them.
pub trait ChildKind:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl<K> ChildKind for K where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// Deletes a child and waits until there is another in its place; returns how long that took.
pub async fn comes_back<K: ChildKind>(lane: &Lane, name: &str) -> Result<Duration> {
    let api = lane.objects::<K>();
    let before = api.get(name).await?;
    api.delete(name, &DeleteParams::background()).await?;
    let started = Instant::now();
    wait_for(&api, name, "back", |object: &K| object.uid() != before.uid()).await?;
    Ok(started.elapsed())
}

/// Names of the objects of a kind in a namespace, sorted.
pub async fn names<K>(client: &Client, namespace: &str) -> Result<Vec<String>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let found = Api::<K>::namespaced(client.clone(), namespace).list(&ListParams::default()).await?;
    Ok(found.items.iter().map(ResourceExt::name_any).collect())
}
