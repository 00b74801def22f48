//! Keeps the Secret with the webhooks' certificate, and tells the API server whom to trust. Only the replica that leads does.

use std::time::Duration;

use futures::stream::{BoxStream, select_all};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::api::core::v1::Secret;
use kamaji_api::admission::{Hook, MUTATING_CONFIGURATION, VALIDATING_CONFIGURATION};
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};

use super::Admission;
use super::certificate::{is_ours, kept, secret};
use crate::backoff::WatchPause;
use crate::clock;
use crate::error::chain;

/// From a try that failed to the next.
const AGAIN: Duration = Duration::from_secs(10);
/// The longest sleep: clocks may be set, and machines may sleep.
const LONGEST_SLEEP: Duration = Duration::from_hours(10);
/// What cert-manager's injector writes into is left to it.
const INJECTED: [&str; 3] = [
    "cert-manager.io/inject-ca-from",
    "cert-manager.io/inject-ca-from-secret",
    "cert-manager.io/inject-apiserver-ca",
];

/// What is known.
#[derive(Default)]
struct World {
    /// Whether the Secret has been looked for.
    is_known: bool,
    secret: Option<Box<Secret>>,
    mutating: Option<Configuration>,
    validating: Option<Configuration>,
}

/// A configuration of webhooks.
#[derive(Clone, Debug, PartialEq)]
struct Configuration {
    resource: ApiResource,
    name: String,
    uid: Option<String>,
    /// Somebody else says in it whom to trust.
    is_others: bool,
    /// Whom it trusts, by webhook.
    hooks: Vec<(String, Option<ByteString>)>,
}

impl Configuration {
    fn of<'a, K: Resource<DynamicType = ()>>(
        object: &K,
        hooks: impl Iterator<Item = (&'a String, &'a WebhookClientConfig)>,
    ) -> Self {
        Self {
            resource: ApiResource::erase::<K>(&()),
            name: object.name_any(),
            uid: object.uid(),
            is_others: INJECTED.iter().any(|name| object.annotations().contains_key(*name)),
            hooks: hooks.map(|(name, config)| (name.clone(), config.ca_bundle.clone())).collect(),
        }
    }

    /// What must be applied so that this authority is trusted; nothing if it is. Webhooks of others are not touched.
    fn injection(&self, authority: &str) -> Option<DynamicObject> {
        let bundle = ByteString(authority.as_bytes().to_vec());
        let ours = || {
            self.hooks.iter().filter(|(name, _)| Hook::ALL.iter().any(|hook| hook.name() == name.as_str()))
        };
        if self.is_others || ours().all(|(_, trusted)| trusted.as_ref() == Some(&bundle)) {
            return None;
        }
        let hooks: Vec<Value> =
            ours().map(|(name, _)| json!({ "name": name, "clientConfig": { "caBundle": bundle } })).collect();
        let object = json!({
            "apiVersion": self.resource.api_version, "kind": self.resource.kind,
            "metadata": { "name": self.name, "uid": self.uid },
            "webhooks": hooks,
        });
        serde_json::from_value(object).ok()
    }
}

enum News {
    Secret(Option<Box<Secret>>),
    Mutating(Option<Configuration>),
    Validating(Option<Configuration>),
}

impl World {
    fn note(&mut self, news: News) {
        match news {
            News::Secret(found) => {
                self.is_known = true;
                self.secret = found;
            }
            News::Mutating(found) => self.mutating = found,
            News::Validating(found) => self.validating = found,
        }
    }
}

/// Keeps both as they should be, for ever. Given a certificate by somebody else, it does nothing.
pub(crate) async fn keep(admission: &Admission) {
    if admission.options.is_given_a_certificate() {
        return std::future::pending().await;
    }
    let mut world = World::default();
    let mut news = watch(admission);
    let mut pause = LONGEST_SLEEP;
    loop {
        tokio::select! {
            Some(news) = news.next() => world.note(news),
            () = tokio::time::sleep(pause) => {}
        }
        pause = match look_after(admission, &mut world).await {
            Ok(until) => pause_until(until, clock::now()),
            Err(error) => {
                tracing::warn!(error = chain(error.as_ref()), "the webhooks' certificate could not be kept");
                AGAIN
            }
        };
    }
}

fn pause_until(until: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(now)).unwrap_or(AGAIN).clamp(AGAIN, LONGEST_SLEEP)
}

fn watch(admission: &Admission) -> futures::stream::SelectAll<BoxStream<'static, News>> {
    let client = admission.cluster.client();
    let secrets = Api::<Secret>::namespaced(client.clone(), &admission.options.namespace);
    let secret = watcher::watch_object(secrets, &admission.options.secret_name())
        .backoff(WatchPause::default())
        .map_ok(|found| News::Secret(found.map(Box::new)));
    let mutating = watcher::watch_object(Api::all(client.clone()), MUTATING_CONFIGURATION)
        .backoff(WatchPause::default())
        .map_ok(|found: Option<MutatingWebhookConfiguration>| {
            let hooks = |object: &MutatingWebhookConfiguration| {
                let hooks = object.webhooks.iter().flatten();
                Configuration::of(object, hooks.map(|hook| (&hook.name, &hook.client_config)))
            };
            News::Mutating(found.as_ref().map(hooks))
        });
    let validating = watcher::watch_object(Api::all(client.clone()), VALIDATING_CONFIGURATION)
        .backoff(WatchPause::default())
        .map_ok(|found: Option<ValidatingWebhookConfiguration>| {
            let hooks = |object: &ValidatingWebhookConfiguration| {
                let hooks = object.webhooks.iter().flatten();
                Configuration::of(object, hooks.map(|hook| (&hook.name, &hook.client_config)))
            };
            News::Validating(found.as_ref().map(hooks))
        });
    // What interrupts a watch is tried again after a pause.
    let heard = |result: Result<News, watcher::Error>| std::future::ready(result.ok());
    select_all([
        secret.filter_map(heard).boxed(),
        mutating.filter_map(heard).boxed(),
        validating.filter_map(heard).boxed(),
    ])
}

/// What is not as it should be is made so; returns when the next certificate is due.
async fn look_after(
    admission: &Admission,
    world: &mut World,
) -> Result<Timestamp, Box<dyn std::error::Error + Send + Sync>> {
    let (options, now) = (&admission.options, clock::now());
    if !world.is_known {
        return Ok(Timestamp::MAX);
    }
    let held = world.secret.as_deref();
    if held.is_some_and(|held| !is_ours(held)) {
        let secret = options.secret_name();
        return Err(format!("Secret {secret} is not ours: delete it, or give it another name").into());
    }
    let kept = kept(held, &options.names(), now)?;
    if let Some(reason) = kept.reason {
        let wanted = secret(&options.secret_name(), &options.namespace, held, &kept, now);
        let written = match held {
            Some(_) => admission.cluster.apply(&wanted).await?,
            None => admission.cluster.create(&wanted).await?.into_object(),
        };
        tracing::info!(
            secret = options.secret_name(),
            reason = reason.sentence(),
            "the webhooks have a new certificate"
        );
        // Of two that made one at the same time, the other's may be the one that counts.
        let is_what_was_wanted = written.data.as_ref() == Some(&kept.data);
        world.secret = Some(Box::new(written));
        if !is_what_was_wanted {
            return Ok(now);
        }
    }
    for configuration in [&world.mutating, &world.validating].into_iter().flatten() {
        if let Some(wanted) = configuration.injection(&kept.authority) {
            admission.cluster.settle_dynamic(&configuration.resource, &wanted, None).await?;
        }
    }
    Ok(kept.renew_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(annotation: &str, bundle: Option<&str>) -> Configuration {
        let hook = |name: &str| {
            json!({
                "name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "clientConfig": { "caBundle": bundle.map(|text| ByteString(text.into())) },
            })
        };
        let object: ValidatingWebhookConfiguration = serde_json::from_value(json!({
            "metadata": { "name": "configuration", "uid": "u", "annotations": { annotation: "x" } },
            "webhooks": [hook("vtenantcontrolplane.kb.io"), hook("telemetry.kamaji.clastix.io")],
        }))
        .unwrap();
        let hooks = object.webhooks.iter().flatten();
        Configuration::of(&object, hooks.map(|hook| (&hook.name, &hook.client_config)))
    }

    #[test]
    fn whom_to_trust_is_told_for_our_webhooks_only() {
        for stale in [None, Some("old")] {
            let object = configuration("a", stale).injection("new").unwrap();
            assert_eq!(
                object.data,
                json!({ "webhooks": [{ "name": "vtenantcontrolplane.kb.io", "clientConfig": { "caBundle": "bmV3" } }] })
            );
            assert_eq!(object.metadata.uid.as_deref(), Some("u"));
        }
        assert_eq!(configuration("a", Some("new")).injection("new"), None);
        assert_eq!(configuration("cert-manager.io/inject-ca-from", None).injection("new"), None);
    }

    #[test]
    fn nobody_sleeps_for_too_long_or_too_short() {
        let now: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
        assert_eq!(pause_until(Timestamp::MIN, now), AGAIN);
        assert_eq!(pause_until(now, now), AGAIN);
        assert_eq!(pause_until(Timestamp::MAX, now), LONGEST_SLEEP);
    }
}
