//! Etcds beside the tenants' own, and what tenants have in them.

use std::time::Duration;

use anyhow::{Context, Result};
use etcd_client::{Certificate, Client, ConnectOptions, GetOptions, Identity, TlsOptions};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret};
use kamaji_api::v1alpha1::{DataStore, StorageOverrideStatus, TenantControlPlane};
use kamaji_e2e::{
    digest::{steady, store_digest},
    etcd::Etcd,
    operator::{Lane, PATIENCE, wait_for},
};
use kube::ResourceExt;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// An etcd with the authority of the tenants' own.
pub(crate) async fn second() -> &'static Etcd {
    static SECOND: OnceCell<Etcd> = OnceCell::const_new();
    SECOND.get_or_try_init(async || Etcd::start_under(own().await.authority(), &[]).await).await.unwrap()
}

/// An etcd with an authority of its own, which lets in clients of the tenants' own etcd.
pub(crate) async fn third() -> &'static Etcd {
    static THIRD: OnceCell<Etcd> = OnceCell::const_new();
    let start = async || {
        let other = Etcd::start().await?;
        Etcd::start_under(other.authority(), &[own().await.authority()]).await
    };
    THIRD.get_or_try_init(start).await.unwrap()
}

async fn own() -> &'static Etcd {
    Etcd::shared().await.unwrap()
}

/// A lane with the stores `second` and `third` beside its own.
pub(crate) async fn lane() -> Lane {
    let lane = Lane::new().await.unwrap();
    for (name, etcd) in [("second", second().await), ("third", third().await)] {
        lane.put_further_data_store(name, etcd, &etcd.endpoint().to_string()).await.unwrap();
    }
    lane
}

/// What a DataStore of the lane is called.
pub(crate) fn named(lane: &Lane, name: &str) -> String {
    format!("{name}-of-{}", lane.namespace)
}

/// What the spec says of kinds and the stores that keep them.
pub(crate) fn overrides(lane: &Lane, kinds: &[(&str, &str)]) -> Value {
    let entry = |(kind, store): &(&str, &str)| json!({ "resource": kind, "dataStore": named(lane, store) });
    kinds.iter().map(entry).collect()
}

/// A small tenant that keeps these kinds elsewhere.
pub(crate) fn manifest(lane: &Lane, name: &str, kinds: &[(&str, &str)]) -> Value {
    let mut manifest = lane.manifest(name);
    manifest["spec"]["dataStoreOverrides"] = overrides(lane, kinds);
    manifest
}

/// The tenant keeps these kinds elsewhere from now on, and no others.
pub(crate) async fn keep(lane: &Lane, tenant: &str, kinds: &[(&str, &str)]) {
    let spec = json!({ "spec": { "dataStoreOverrides": overrides(lane, kinds) } });
    lane.edit::<TenantControlPlane>(tenant, &spec).await.unwrap();
}

/// What the API server is told of kinds that are kept elsewhere; empty if nothing.
pub(crate) async fn argument(lane: &Lane, tenant: &str) -> String {
    argument_of(&lane.objects::<Deployment>().get(tenant).await.unwrap())
}

pub(crate) fn argument_of(deployment: &Deployment) -> String {
    let pod = deployment.spec.template.spec.as_ref().unwrap();
    let container = pod.containers.iter().find(|container| container.name == "kube-apiserver").unwrap();
    let mut arguments = container.args.iter().flatten();
    arguments
        .find_map(|argument| argument.strip_prefix("--etcd-servers-overrides="))
        .unwrap_or_default()
        .to_owned()
}

/// What the API server should be told of these kinds.
pub(crate) fn told(kinds: &[(&str, &Etcd)]) -> String {
    let words: Vec<String> =
        kinds.iter().map(|(kind, etcd)| format!("{kind}#https://{}", etcd.endpoint())).collect();
    words.join(",")
}

/// The places that the status remembers.
pub(crate) fn places(tcp: &TenantControlPlane) -> Vec<StorageOverrideStatus> {
    let storage = tcp.status.as_ref().and_then(|status| status.storage.as_ref());
    storage.map(|storage| storage.overrides.clone()).unwrap_or_default()
}

/// Everything in an etcd that bears the tenant's UID.
pub(crate) async fn found(etcd: &Etcd, tcp: &TenantControlPlane) -> String {
    store_digest(etcd, &[tcp.uid().unwrap()]).await.unwrap()
}

/// Names of the tenant's keys in an etcd, without its prefix.
pub(crate) async fn keys(etcd: &Etcd, tcp: &TenantControlPlane) -> Vec<String> {
    let prefix = format!("/{}/", tcp.uid().unwrap());
    let client = etcd.root().await.unwrap();
    let below = || GetOptions::new().with_prefix().with_keys_only();
    let read = steady(async || client.clone().get(prefix.clone(), Some(below())).await).await.unwrap();
    let name = |key: &[u8]| String::from_utf8_lossy(key).trim_start_matches(&prefix).to_owned();
    read.kvs().iter().map(|pair| name(pair.key())).collect()
}

/// The tenant has this key in an etcd.
pub(crate) async fn put(etcd: &Etcd, tcp: &TenantControlPlane, key: &str) {
    let client = etcd.client(&tcp.uid().unwrap()).await;
    let client = match client {
        Ok(client) => client,
        Err(_) => etcd.root().await.unwrap(),
    };
    let key = format!("/{}/{key}", tcp.uid().unwrap());
    steady(async || client.clone().put(key.clone(), "x", None).await).await.unwrap();
}

/// A client of an etcd that is what the tenant's API server is.
pub(crate) async fn as_tenant(lane: &Lane, tenant: &str, etcd: &Etcd) -> Result<Client> {
    let secret = lane.objects::<Secret>().get(&format!("{tenant}-datastore-certificate")).await?;
    let data = secret.data.context("a Secret has data")?;
    let tls = TlsOptions::new()
        .ca_certificate(Certificate::from_pem(&data["ca.crt"].0))
        .identity(Identity::from_pem(&data["server.crt"].0, &data["server.key"].0));
    let options = ConnectOptions::new().with_tls(tls);
    Ok(Client::connect([format!("https://{}", etcd.endpoint())], Some(options)).await?)
}

/// The DataStore is used by exactly these tenants.
pub(crate) async fn used_by(lane: &Lane, store: &str, tenants: &[&str]) {
    let users: Vec<String> = tenants.iter().map(|tenant| format!("{}/{tenant}", lane.namespace)).collect();
    let listed = |data_store: &DataStore| {
        data_store.status.as_ref().is_some_and(|status| status.ready && status.used_by == users)
    };
    wait_for(&lane.data_stores(), store, "used by them", listed).await.unwrap();
}

/// Looks until it is so.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

/// An Event whose reason and note begin so, and which says this.
pub(crate) async fn event(lane: &Lane, begins: &str, says: &str) {
    let what = format!("an Event {begins} that says {says}");
    until(&what, async || {
        let events = lane.events().await.unwrap();
        events.iter().any(|event| event.starts_with(begins) && event.contains(says))
    })
    .await;
}
