//! What every pass has at hand.

use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference, Secret, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kamaji_api::v1alpha1::{DataStore, TenantControlPlane};
use kamaji_api::{TenantId, tenant};
use kamaji_apply::Cluster;
use kube::runtime::events::{Event, EventType, Recorder};
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};

use crate::backoff::Backoff;
use crate::cache::Cache;
use crate::metrics::Metrics;
use crate::migration;
use crate::references::{Changed, References};
use crate::stores::{OpenStore, Stores};
use crate::tenants::Tenants;
use crate::upgrade::Examinations;

/// Name under which we own fields.
pub const FIELD_MANAGER: &str = "kamaji";

/// What the command line decides about every pass.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What it contributes to every tenant.
    pub tenant: tenant::Settings,
    /// The image of kine that tenants are to have.
    pub kine_image: String,
    /// What it says of migrations.
    pub migration: migration::Settings,
    /// How long before its end a certificate is renewed.
    pub renew_before: jiff::SignedDuration,
    /// Longest time of a pass.
    pub pass_timeout: Duration,
    /// How often every object is looked at although nothing happened.
    pub resync: Duration,
    /// How many tenants are worked on at the same time.
    pub concurrency: u16,
}

/// The newest known state of everything we watch.
#[derive(Clone)]
pub(crate) struct Caches {
    pub(crate) tenants: Cache<TenantControlPlane>,
    pub(crate) data_stores: Cache<DataStore>,
    pub(crate) secrets: Cache<Secret>,
    pub(crate) config_maps: Cache<ConfigMap>,
    pub(crate) services: Cache<Service>,
    pub(crate) deployments: Cache<Deployment>,
    /// Whoever made them: beside another one there is none of ours.
    pub(crate) budgets: Cache<PodDisruptionBudget>,
    /// Of migrations, in the operator's own namespace.
    pub(crate) jobs: Cache<Job>,
}

impl Caches {
    /// Waits until every watch has delivered its first complete list. Who acts before would make anew what is there.
    pub(crate) async fn ready(&self) {
        tokio::join!(
            self.tenants.ready(),
            self.data_stores.ready(),
            self.secrets.ready(),
            self.config_maps.ready(),
            self.services.ready(),
            self.deployments.ready(),
            self.budgets.ready(),
            self.jobs.ready(),
        );
    }
}

/// What every pass has at hand.
pub(crate) struct Context {
    pub(crate) cluster: Cluster,
    pub(crate) caches: Caches,
    pub(crate) stores: Arc<Stores>,
    pub(crate) references: References,
    /// The DataStore of this name is examined at once: a Secret that it names has changed.
    pub(crate) outdate_data_store: Changed,
    pub(crate) tenants: Tenants,
    pub(crate) examinations: Examinations,
    pub(crate) settings: Settings,
    pub(crate) backoff: Backoff,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) recorder: Recorder,
    pub(crate) nudge_tenants: mpsc::UnboundedSender<ObjectRef<TenantControlPlane>>,
    pub(crate) nudge_data_stores: mpsc::UnboundedSender<ObjectRef<DataStore>>,
}

impl Context {
    /// Publishes an Event about an object. An Event that cannot be published is logged: it never stops a pass.
    pub(crate) async fn event<K>(&self, about: &K, severity: EventType, reason: &str, note: String)
    where
        K: Resource<DynamicType = ()>,
    {
        let event = Event {
            type_: severity,
            reason: reason.to_owned(),
            note: Some(shortened(note)),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let reference: ObjectReference = about.object_ref(&());
        if let Err(error) = self.recorder.publish(&event, &reference).await {
            tracing::warn!(reason, error = %crate::error::chain(&error), "could not publish an Event");
        }
    }

    /// Every tenant that uses this DataStore is looked at again.
    pub(crate) fn nudge_users_of(&self, data_store: &str) {
        for tcp in self.caches.tenants.all() {
            if uses(&tcp, data_store, &self.settings.tenant) {
                // The receiver ends only with the process.
                let _ = self.nudge_tenants.unbounded_send(ObjectRef::from_obj(tcp.as_ref()));
            }
        }
    }
}

impl Context {
    /// A datastore failed a tenant. If it may fail all of them, nobody uses it until it was examined.
    pub(crate) fn data_store_failed(
        &self,
        name: &str,
        open: &Arc<OpenStore>,
        error: &kamaji_datastore::error::Error,
    ) {
        if error.concerns_everyone()
            && self.stores.failed(name, open, (error.reason(), crate::error::chain(error)))
        {
            // The receiver ends only with the process.
            let _ = self.nudge_data_stores.unbounded_send(ObjectRef::new(name));
            self.nudge_users_of(name);
        }
    }

    /// A tenant came, changed or went: its session ends with it, and every DataStore it uses learns of it.
    pub(crate) fn notice(&self, tcp: &TenantControlPlane) {
        let newest = self.caches.tenants.get(&ObjectRef::from_obj(tcp));
        if newest.as_ref().is_none_or(|newest| newest.metadata.uid != tcp.metadata.uid) {
            self.tenants.forget(&TenantId::of(tcp));
            self.examinations.forget(&TenantId::of(tcp));
        }
        self.nudge_data_stores_of(tcp, newest.as_deref());
    }

    /// Every DataStore is looked at again that does not know yet that the tenant uses it now, or no longer.
    fn nudge_data_stores_of(&self, tcp: &TenantControlPlane, newest: Option<&TenantControlPlane>) {
        let user = format!("{}/{}", tcp.namespace().unwrap_or_default(), tcp.name_any());
        for data_store in self.caches.data_stores.all() {
            let is_listed = data_store.status.as_ref().is_some_and(|status| status.used_by.contains(&user));
            let is_used =
                newest.is_some_and(|newest| uses(newest, &data_store.name_any(), &self.settings.tenant));
            if is_listed != is_used {
                // The receiver ends only with the process.
                let _ = self.nudge_data_stores.unbounded_send(ObjectRef::from_obj(data_store.as_ref()));
            }
        }
    }
}

/// Whether a tenant keeps anything in this DataStore, or would.
pub(crate) fn uses(tcp: &TenantControlPlane, data_store: &str, settings: &tenant::Settings) -> bool {
    let storage = || tcp.status.iter().filter_map(|status| status.storage.as_ref());
    let overrides = storage().flat_map(|storage| &storage.overrides).map(|place| &place.data_store_name);
    let left = storage().flat_map(|storage| &storage.left).map(|place| &place.data_store_name);
    let target =
        storage().filter_map(|storage| storage.migration.as_ref()).map(|target| &target.data_store_name);
    let mut claimed = overrides.chain(left).chain(target).chain(&tcp.spec.data_store);
    let mut wanted = tcp.spec.data_store_overrides.iter().map(|wanted| &wanted.data_store);
    data_store_of(tcp, settings) == Some(data_store)
        || wanted.any(|name| name == data_store)
        || claimed.any(|name| name == data_store)
}

/// The DataStore that a tenant uses now, or would use.
fn data_store_of<'a>(tcp: &'a TenantControlPlane, settings: &'a tenant::Settings) -> Option<&'a str> {
    let claimed = || tcp.status.as_ref()?.storage.as_ref()?.data_store_name.as_deref();
    let wanted = || tcp.spec.data_store.as_deref().filter(|name| !name.is_empty());
    claimed().or_else(wanted).or(settings.default_data_store.as_deref())
}

/// The API server takes Events with notes of up to 1024 bytes.
fn shortened(mut note: String) -> String {
    const LIMIT: usize = 1000;
    if note.len() > LIMIT {
        let end = (0..=LIMIT).rev().find(|end| note.is_char_boundary(*end)).unwrap_or_default();
        note.truncate(end);
        note.push('…');
    }
    note
}
