//! Examines datastores: reached, authenticated, and allowed what tenants need.

mod material;
mod measure;
mod opening;
mod status;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kamaji_api::v1alpha1::DataStore;
use kamaji_api::{Pause, labels};
use kamaji_datastore::store::Health;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;
use kube::runtime::reflector::ObjectRef;

use crate::clock;
use crate::context::{Context, uses};
use crate::controllers::tenant_control_plane::after;
use crate::error::{Error, chain};
use crate::fence;
use crate::stores::{Due, Examined, OpenStore};

use self::measure::measure;
use self::opening::Problem;
pub(crate) use self::opening::obstacle;
use self::status::Facts;
pub(crate) use self::status::was_asked;

/// Name of this controller in metrics.
pub(crate) const CONTROLLER: &str = "datastore";

/// How long a datastore that works may take to say so.
const PULSE: Duration = Duration::from_secs(3);

/// One pass over one datastore.
pub(crate) async fn reconcile(seen: Arc<DataStore>, cx: Arc<Context>) -> Result<Action, Error> {
    cx.caches.ready().await;
    let start = Instant::now();
    let newest = cx.caches.data_stores.get(&ObjectRef::from_obj(seen.as_ref()));
    let data_store = newest.unwrap_or(seen);
    let result = pass(&data_store, &cx).await;
    if result.is_ok() {
        cx.backoff.succeeded(&key(&data_store.name_any()));
    }
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
    if data_store.metadata.deletion_timestamp.is_some() {
        return end(data_store, cx).await;
    }
    let now = clock::now();
    if let Some(pause) = Pause::of(data_store.annotations(), now) {
        return Ok(after(pause, now));
    }
    // It cannot go while tenants use it.
    cx.hold("hold", data_store, labels::DATASTORE_IN_USE_FINALIZER).await?;
    look_after(data_store, cx).await
}

/// What is due is done, what is known is reported, and whoever uses the datastore learns of news.
async fn look_after(data_store: &DataStore, cx: &Context) -> Result<Action, Error> {
    let name = data_store.name_any();
    let generation = data_store.metadata.generation;
    let before = cx.stores.get(&name);
    let mut told = None;
    let due = cx.stores.due(&name, generation, Instant::now());
    // One that has worked is asked first whether it still answers: an examination may wait longer.
    let used = match (&due, &before) {
        (Due::Pulse(open), _) | (Due::Examination, Some(Examined::Usable(open))) => Some(Arc::clone(open)),
        _ => None,
    };
    let silence = match &used {
        Some(open) => pulse(open).await.err(),
        None => None,
    };
    match (due, silence) {
        (_, Some((reason, message))) => {
            let failed = Examined::Unusable { reason, message, last: used, untried: None };
            cx.stores.examined(&name, generation, (failed, None));
        }
        (Due::Nothing(_), None) => {}
        (Due::Pulse(_), None) => cx.stores.answered(&name),
        (Due::Examination, None) => {
            cx.stores.begin(&name);
            let (examined, health) = examine(data_store, before.as_ref().and_then(Examined::last), cx).await;
            told.clone_from(&health);
            cx.stores.examined(&name, generation, (examined, health));
        }
    }
    if let Some(examined) = cx.stores.get(&name) {
        if before.is_none_or(|before| differ(&before, &examined)) {
            cx.nudge_users_of(&name);
        }
        report(data_store, &examined, cx).await?;
        if let (Some(health), Some(open)) = (told, examined.last()) {
            measure(&name, &open.store, &health, cx).await;
        }
    }
    Ok(Action::requeue(match cx.stores.due(&name, generation, Instant::now()) {
        Due::Nothing(left) => left,
        Due::Pulse(_) | Due::Examination => Duration::ZERO,
    }))
}

/// The datastore still answers.
async fn pulse(open: &OpenStore) -> Result<(), Problem> {
    if let Ok(answer) = tokio::time::timeout(PULSE, open.store.pulse()).await {
        return answer.map_err(|error| (error.reason(), chain(&error)));
    }
    let message = format!(
        "no answer within {PULSE:?} from {}; check that the datastore runs and that its endpoints are right",
        open.endpoints.join(", "),
    );
    Err(("Timeout", message))
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

async fn examine(
    data_store: &DataStore,
    last: Option<&Arc<OpenStore>>,
    cx: &Context,
) -> (Examined, Option<Health>) {
    let unusable =
        |(reason, message), untried| Examined::Unusable { reason, message, last: last.cloned(), untried };
    let open = match opening::open(data_store, last, cx).await {
        Ok(open) => open,
        Err(problem) => return (unusable(problem, None), None),
    };
    match open.store.check().await {
        Ok(health) => {
            tracing::debug!(datastore = data_store.name_any(), ?health, "the datastore answers");
            (Examined::Usable(open), Some(health))
        }
        Err(error) => (unusable((error.reason(), chain(&error)), Some(open)), None),
    }
}

async fn end(data_store: &DataStore, cx: &Context) -> Result<Action, Error> {
    let name = data_store.name_any();
    if !users(&name, cx).is_empty() {
        // Its tenants still need it, so it is still examined.
        return look_after(data_store, cx).await;
    }
    let finalizers = [labels::DATASTORE_IN_USE_FINALIZER];
    let removed = cx.cluster.remove_finalizers(data_store, &finalizers).await;
    removed.map_err(|source| Error::kubernetes("deletion", source))?;
    cx.stores.remove(&name);
    cx.references.forget(&name);
    cx.metrics.usage.forget(&name);
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
    let name = data_store.name_any();
    let facts = Facts {
        examined,
        health: cx.stores.health(&name),
        used_by: users(&name, cx),
        usage: cx.metrics.usage.of_tenants(&name),
    };
    let status = status::compute(data_store, facts, clock::now());
    let news = status::news(data_store.status.as_ref(), &status);
    let desired =
        DataStore { metadata: fence::of(data_store), spec: data_store.spec.clone(), status: Some(status) };
    let written = cx.cluster.settle_status(&desired, Some(data_store)).await;
    if let kamaji_apply::Applied::Changed(made) =
        written.map_err(|source| Error::kubernetes("status", source))?
    {
        cx.caches.data_stores.wrote(made);
    }
    if let Some(ready) = news {
        let severity = if ready.status == "True" { EventType::Normal } else { EventType::Warning };
        cx.event(data_store, severity, &ready.reason, ready.message).await;
    }
    Ok(())
}
