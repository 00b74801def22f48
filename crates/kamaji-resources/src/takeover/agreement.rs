//! Whether Pods that the Go operator has made are those that the spec asks for, however differently ours would be made.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, PodTemplateSpec, Secret};
use kamaji_api::{Child, labels};

use super::View;
use crate::deployment::{ADDED_PLUGINS, CHECKSUM_LABELS, args};
use crate::{checksum, kine};

/// What the Go operator stores of a place in a datastore; what we add it does not count.
const CONFIG_KEYS: [&str; 4] = ["DB_CONNECTION_STRING", "DB_PASSWORD", "DB_SCHEMA", "DB_USER"];

/// The argument of the API server that names its admission plugins.
const PLUGINS: &str = "enable-admission-plugins";

/// In what the Pods are not those that the spec asks for; `None` if they are.
///
/// Compared is what decides which cluster runs there and how: the containers, their images and arguments, and whether they
/// have read what their Secrets hold. Arguments count where both name them.
pub(super) fn disagreement(live: &Deployment, view: &View<'_>) -> Option<String> {
    let template = &live.spec.template;
    stale(template, view).or_else(|| {
        let pod = view.desired.spec.template.spec.as_ref()?;
        pod.containers.iter().find_map(|container| differs(template, container))
    })
}

pub(super) fn label<'a>(template: &'a PodTemplateSpec, name: &str) -> Option<&'a str> {
    template.metadata.as_ref()?.labels.as_ref()?.get(name).map(String::as_str)
}

fn annotation<'a>(template: &'a PodTemplateSpec, name: &str) -> Option<&'a str> {
    template.metadata.as_ref()?.annotations.as_ref()?.get(name).map(String::as_str)
}

/// The Secret that the Pods have read in another state than it is in.
fn stale(template: &PodTemplateSpec, view: &View<'_>) -> Option<String> {
    let data =
        |child: Child| view.secrets.get(&child).and_then(|secret| secret.data.clone()).unwrap_or_default();
    let labelled = CHECKSUM_LABELS.iter().map(|(name, child)| {
        let read = label(template, &format!("{}/{name}", labels::COMPONENT_CHECKSUM_PREFIX));
        (*child, read, checksum::of_go(&data(*child)))
    });
    let stored = [
        (Child::DatastoreConfig, labels::STORAGE_CONFIG, config(view.secrets)),
        (Child::DatastoreCertificate, labels::STORAGE_CERTIFICATE, data(Child::DatastoreCertificate)),
    ];
    let stored =
        stored.map(|(child, name, data)| (child, annotation(template, name), checksum::of_go(&data)));
    let (child, ..) = labelled.chain(stored).find(|(_, read, sum)| *read != Some(sum))?;
    Some(format!("Secret {} is other than the Pods have read it", named(child, view)))
}

fn named(child: Child, view: &View<'_>) -> String {
    child.name(view.desired.metadata.name.as_deref().unwrap_or_default())
}

fn config(secrets: &BTreeMap<Child, &Secret>) -> BTreeMap<String, ByteString> {
    let data = secrets.get(&Child::DatastoreConfig).and_then(|secret| secret.data.clone());
    let mut data = data.unwrap_or_default();
    data.retain(|key, _| CONFIG_KEYS.contains(&key.as_str()));
    data
}

/// In what a container is not as it should be.
fn differs(template: &PodTemplateSpec, desired: &Container) -> Option<String> {
    let name = &desired.name;
    let live = template.spec.iter().flat_map(|pod| &pod.containers).find(|container| container.name == *name);
    let Some(live) = live else { return Some(format!("there is no container {name}")) };
    // Which image of kine runs is decided elsewhere, and it is told of its store in another way.
    if name == kine::NAME {
        return None;
    }
    if live.image != desired.image {
        return Some(format!("the image of {name} is another"));
    }
    let (has, wants) =
        (live.args.as_deref().unwrap_or_default(), desired.args.as_deref().unwrap_or_default());
    let values = |list: &[String], flag: &str| -> BTreeSet<String> {
        args::values(list, flag).into_iter().map(|value| plain(flag, value)).collect()
    };
    let wanted: BTreeSet<String> = wants.iter().filter_map(|argument| args::name(argument)).collect();
    let other = wanted.into_iter().find(|flag| {
        let has = values(has, flag);
        !has.is_empty() && has != values(wants, flag)
    })?;
    Some(format!("the argument --{other} of {name} is another"))
}

/// The value, without the plugins that only we add.
fn plain(flag: &str, value: &str) -> String {
    if flag != PLUGINS {
        return value.to_owned();
    }
    let is_added = |plugin: &str| ADDED_PLUGINS.iter().any(|added| added.as_str() == plugin);
    value.split(',').filter(|plugin| !is_added(plugin)).collect::<Vec<_>>().join(",")
}
