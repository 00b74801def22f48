//! The final state of a tenant without its random parts, so that two ways to it can be compared.

use std::{collections::BTreeMap, fmt::Debug};

use anyhow::{Context, Result};
use etcd_client::{Client, GetOptions};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service},
    policy::v1::PodDisruptionBudget,
};
use kamaji_api::{labels, v1alpha1::TenantControlPlane};
use kamaji_resources::checksum;
use kube::{Resource, ResourceExt, api::ListParams, core::NamespaceResourceScope};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{etcd::Etcd, operator::Lane};

/// Everything of a tenant: its objects, and what is in the datastore under its names.
///
/// UIDs, times, addresses and the values in Secrets are replaced by what they are. A checksum is replaced by the name
/// of the object that bears it, so one that fits no object shows.
pub async fn digest(lane: &Lane, tenant: &str) -> Result<String> {
    let tcp = lane.tenants().get(tenant).await?;
    let uid = tcp.uid().context("what was read has a UID")?;
    let names = claimed_names(&tcp);
    let mut words = vec![(uid, "<uid>".to_owned()), (lane.namespace.clone(), "<namespace>".to_owned())];
    let mut objects = vec![shown(&tcp)?];
    for secret in lane.objects::<Secret>().list(&ours()).await? {
        words.extend(checksums(&secret));
        objects.push(shown(&secret)?);
    }
    for config_map in lane.objects::<ConfigMap>().list(&ours()).await? {
        objects.push(shown(&config_map)?);
    }
    for service in lane.objects::<Service>().list(&ours()).await? {
        let address = service.spec.iter().filter_map(|spec| spec.cluster_ip.clone());
        words.extend(address.map(|address| (address, "<cluster IP>".to_owned())));
        objects.push(shown(&service)?);
    }
    for deployment in lane.objects::<Deployment>().list(&ours()).await? {
        objects.push(shown(&deployment)?);
    }
    for budget in lane.objects::<PodDisruptionBudget>().list(&ours()).await? {
        objects.push(shown(&budget)?);
    }
    // ConfigMaps bear no checksum, so the status alone knows it.
    let kubeadm = tcp.status.as_ref().and_then(|status| status.kubeadm_config.as_ref()?.checksum.clone());
    words.extend(kubeadm.map(|sum| (sum, "<checksum of kubeadmconfig>".to_owned())));
    let mut text = serde_json::to_string_pretty(&objects)?;
    text.push_str(&store_digest(lane.etcd, &names).await?);
    Ok(words.iter().fold(text, |text, (word, meaning)| text.replace(word, meaning)))
}

fn ours() -> ListParams {
    ListParams::default().labels(&format!("{}={}", labels::PROJECT, labels::PROJECT_VALUE))
}

fn claimed_names(tcp: &TenantControlPlane) -> Vec<String> {
    let setup =
        tcp.status.as_ref().and_then(|status| status.storage.as_ref()?.setup.clone()).unwrap_or_default();
    [setup.schema, setup.user, tcp.uid()].into_iter().flatten().collect()
}

/// What it bears, and what Pods bear that read it: on some Secrets the former is as the Go operator would make it.
fn checksums(secret: &Secret) -> impl Iterator<Item = (String, String)> {
    let borne = secret.annotations().get(labels::CHECKSUM).cloned();
    let sums = borne.into_iter().chain([checksum::of_secret(secret)]);
    sums.map(|sum| (sum, format!("<checksum of {}>", secret.name_any())))
}

fn shown(object: &impl Serialize) -> Result<Value> {
    let mut value = serde_json::to_value(object)?;
    hide(&mut value);
    // One after the other, so that each kind's own values are gone whatever they were.
    for key in ["data", "stringData"] {
        let is_secret = value["kind"] == "Secret" || value["type"] == "Opaque";
        if let Some(data) = value.get_mut(key).and_then(Value::as_object_mut).filter(|_| is_secret) {
            data.values_mut().for_each(|value| *value = "<value>".into());
        }
    }
    Ok(value)
}

/// Removes what the server numbers and dates.
fn hide(value: &mut Value) {
    const RANDOM: [&str; 7] = [
        "resourceVersion",
        "creationTimestamp",
        "managedFields",
        "lastUpdate",
        "lastTransitionTime",
        "uid",
        "message",
    ];
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !RANDOM.contains(&name.as_str()));
            fields.values_mut().for_each(hide);
        }
        Value::Array(items) => {
            items.iter_mut().for_each(hide);
            // Conditions stand in the order in which they were first found.
            items.sort_by_key(|item| item["type"].as_str().map(str::to_owned));
        }
        _ => {}
    }
}

/// Users, roles, ranges, marks and the number of keys in etcd whose names are or contain one of these.
pub async fn store_digest(etcd: &Etcd, names: &[String]) -> Result<String> {
    let client = etcd.root().await?;
    Ok(steady(async || read_store(client.clone(), names).await).await?)
}

/// The answer of etcd, asked again for as long as somebody else changes users and roles meanwhile.
pub async fn steady<T>(
    mut ask: impl AsyncFnMut() -> Result<T, etcd_client::Error>,
) -> Result<T, etcd_client::Error> {
    loop {
        match ask().await {
            Err(error) if error.to_string().contains("revision of auth store is old") => {}
            answer => return answer,
        }
    }
}

async fn read_store(mut client: Client, names: &[String]) -> Result<String, etcd_client::Error> {
    let concerns = |text: &str| names.iter().any(|name| text.contains(name.as_str()));
    let mut found = BTreeMap::new();
    for user in client.user_list().await?.users().iter().filter(|user| concerns(user)) {
        found.insert(format!("user {user}"), format!("{:?}", client.user_get(user).await?.roles()));
    }
    for role in client.role_list().await?.roles().iter().filter(|role| concerns(role)) {
        let ranges: Vec<String> = client.role_get(role).await?.permissions().iter().map(range).collect();
        found.insert(format!("role {role}"), ranges.join(", "));
    }
    let everything = GetOptions::new().with_all_keys().with_keys_only();
    for pair in client.get(vec![], Some(everything)).await?.kvs() {
        let key = String::from_utf8_lossy(pair.key()).into_owned();
        if !concerns(&key) {
            continue;
        }
        if key.starts_with("/_kamaji/") {
            let value = client.get(key.clone(), None).await?;
            let value = value.kvs().first().map(|pair| String::from_utf8_lossy(pair.value()).into_owned());
            found.insert(format!("mark {key}"), value.unwrap_or_default());
        } else {
            found.insert(format!("key {key}"), String::new());
        }
    }
    let lines: Vec<String> = found.iter().map(|(name, value)| format!("\n{name} {value}")).collect();
    Ok(lines.concat())
}

/// As in `from /x/ to /x0, type 2`.
fn range(permission: &etcd_client::Permission) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (key, end) = (text(permission.key()), text(permission.range_end()));
    format!("from {key} to {end}, type {}", permission.get_type())
}

/// Version of every object of a kind in the lane that is the operator's, by name.
pub async fn versions<K>(lane: &Lane) -> Result<BTreeMap<String, String>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let objects = lane.objects::<K>().list(&ListParams::default()).await?;
    let version = |object: &K| object.resource_version().unwrap_or_default();
    Ok(objects
        .items
        .iter()
        .map(|object| (format!("{}/{}", K::kind(&()), object.name_any()), version(object)))
        .collect())
}
