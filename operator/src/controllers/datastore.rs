//! Examines datastores: reached, authenticated, and allowed what tenants need.

mod material;
mod opening;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kamaji_api::labels;
use kamaji_api::v1alpha1::{DataStore, DataStoreStatus};
use kamaji_resources::conditions::{Finding, READY, merged};
use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;
use kube::runtime::reflector::ObjectRef;

use crate::clock;
use crate::context::{Context, uses};
use crate::error::{Error, chain};
use crate::fence;
use crate::stores::{Examined, OpenStore};

/// Name of this controller in metrics.
pub(crate) const CONTROLLER: &str = "datastore";

/// How often a datastore that works is examined.
const INTERVAL: Duration = Duration::from_mins(1);
/// How often one that does not work is examined, at the least.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

const VALIDATION: &str = "kamaji.clastix.io/DataStoreValidation";
const ALLOWED_DELETION: &str = "kamaji.clastix.io/DataStoreAllowedDeletion";

/// One pass over one datastore.
pub(crate) async fn reconcile(seen: Arc<DataStore>, cx: Arc<Context>) -> Result<Action, Error> {
    cx.caches.ready().await;
    let start = Instant::now();
    let newest = cx.caches.data_stores.get(&ObjectRef::from_obj(seen.as_ref()));
    let data_store = newest.unwrap_or(seen);
    let result = pass(&data_store, &cx).await;
    cx.metrics.reconciled(CONTROLLER, start.elapsed(), &result);
    result
}

/// When to try again after a failure.
#[expect(clippy::needless_pass_by_value, reason = "the controller passes shares")]
pub(crate) fn on_error(data_store: Arc<DataStore>, error: &Error, cx: Arc<Context>) -> Action {
    let name = data_store.name_any();
    let pause = cx.backoff.failed(&key(&name));
    tracing::error!(datastore = name, error = error.chain(), ?pause, "the pass failed");
    Action::requeue(pause)
}

async fn pass(data_store: &DataStore, cx: &Context) -> Result<Action, Error> {
    let name = data_store.name_any();
    if data_store.metadata.deletion_timestamp.is_some() {
        return end(data_store, cx).await;
    }
    if data_store.annotations().contains_key(labels::PAUSED) {
        return Ok(Action::await_change());
    }
    // It cannot go while tenants use it.
    cx.hold("hold", data_store, labels::DATASTORE_IN_USE_FINALIZER).await?;
    let before = cx.stores.get(&name);
    let generation = data_store.metadata.generation;
    let examined = if let Some(fresh) = cx.stores.fresh(&name, generation) {
        fresh
    } else {
        let examined = examine(data_store, before.as_ref().and_then(Examined::last), cx).await;
        cx.stores.put(&name, generation, examined.clone());
        examined
    };
    let usable = matches!(examined, Examined::Usable(_));
    let is_news = before.as_ref().is_none_or(|before| differ(before, &examined));
    report(data_store, &examined, cx).await?;
    if is_news {
        cx.nudge_users_of(&name);
    }
    if usable {
        cx.backoff.succeeded(&key(&name));
        return Ok(Action::requeue(INTERVAL));
    }
    Ok(Action::requeue(cx.backoff.failed(&key(&name)).min(LONGEST_PAUSE)))
}

fn key(name: &str) -> String {
    format!("DataStore {name}")
}

/// Tenants care whether it works, over which connection, and why not.
fn differ(before: &Examined, after: &Examined) -> bool {
    match (before, after) {
        (Examined::Usable(before), Examined::Usable(after)) => !Arc::ptr_eq(before, after),
        (Examined::Unusable { message: before, .. }, Examined::Unusable { message: after, .. }) => {
            before != after
        }
        _ => true,
    }
}

async fn examine(data_store: &DataStore, last: Option<&Arc<OpenStore>>, cx: &Context) -> Examined {
    let open = match opening::open(data_store, last, cx).await {
        Ok(open) => open,
        Err((reason, message)) => return Examined::Unusable { reason, message, last: last.cloned() },
    };
    match open.store.check().await {
        Ok(health) => {
            tracing::debug!(datastore = data_store.name_any(), ?health, "the datastore answers");
            Examined::Usable(open)
        }
        Err(error) => {
            Examined::Unusable { reason: error.reason(), message: chain(&error), last: last.cloned() }
        }
    }
}

async fn end(data_store: &DataStore, cx: &Context) -> Result<Action, Error> {
    let name = data_store.name_any();
    if !users(&name, cx).is_empty() {
        // Its tenants still need it, so it is still examined.
        let last = cx.stores.get(&name);
        let examined = examine(data_store, last.as_ref().and_then(Examined::last), cx).await;
        cx.stores.put(&name, data_store.metadata.generation, examined.clone());
        report(data_store, &examined, cx).await?;
        return Ok(Action::requeue(LONGEST_PAUSE));
    }
    let finalizers = [labels::DATASTORE_IN_USE_FINALIZER];
    let removed = cx.cluster.remove_finalizers(data_store, &finalizers).await;
    removed.map_err(|source| Error::kubernetes("deletion", source))?;
    cx.stores.remove(&name);
    Ok(Action::await_change())
}

/// Tenants that keep data here, as `namespace/name`, sorted.
pub(crate) fn users(name: &str, cx: &Context) -> Vec<String> {
    let mut users: Vec<String> = cx
        .caches
        .tenants
        .all()
        .iter()
        .filter(|tcp| uses(tcp, name, &cx.settings.tenant))
        .map(|tcp| format!("{}/{}", tcp.namespace().unwrap_or_default(), tcp.name_any()))
        .collect();
    users.sort();
    users
}

async fn report(data_store: &DataStore, examined: &Examined, cx: &Context) -> Result<(), Error> {
    let status = status(data_store, examined, users(&data_store.name_any(), cx));
    let news = data_store.status.as_ref().map(|known| known.ready) != Some(status.ready);
    let desired =
        DataStore { metadata: fence::of(data_store), spec: data_store.spec.clone(), status: Some(status) };
    let written = cx.cluster.settle_status(&desired, Some(data_store)).await;
    if let kamaji_apply::Applied::Changed(made) =
        written.map_err(|source| Error::kubernetes("status", source))?
    {
        cx.caches.data_stores.wrote(made);
    }
    if news {
        let (severity, reason, message) = match examined {
            Examined::Usable(_) => {
                (EventType::Normal, "DataStoreIsValid", "reached, authenticated and allowed".into())
            }
            Examined::Unusable { reason, message, .. } => (EventType::Warning, *reason, message.clone()),
        };
        cx.event(data_store, severity, reason, message).await;
    }
    Ok(())
}

fn status(data_store: &DataStore, examined: &Examined, used_by: Vec<String>) -> DataStoreStatus {
    let known = data_store.status.clone().unwrap_or_default();
    let generation = data_store.metadata.generation.unwrap_or_default();
    let verdict = match examined {
        Examined::Usable(_) => {
            Finding::holds("DataStoreIsValid", "reached, authenticated, and allowed what tenants need")
        }
        Examined::Unusable { reason, message, .. } => Finding::fails(reason, message.clone()),
    };
    let deletion = match used_by.len() {
        0 => Finding::holds("DataStoreUnused", "no tenant control plane uses it"),
        count => Finding::fails("DataStoreStillUsed", format!("{count} tenant control planes use it")),
    };
    let findings = [(VALIDATION, verdict.clone()), (ALLOWED_DELETION, deletion), (READY, verdict.clone())];
    DataStoreStatus {
        observed_generation: Some(generation),
        used_by,
        conditions: merged(&known.conditions, &findings, generation, clock::now()),
        ready: verdict.holds,
    }
}
