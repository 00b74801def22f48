//! What we know of each tenant beyond its objects, and the sessions that keep their insides.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use kamaji_api::TenantId;
use kamaji_datastore::account::Seal;
use kamaji_datastore::migrate::Sign;
use kamaji_resources::Claim;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::context::Context;
use crate::session::{Plan, Session, Sight};
use crate::stores::OpenStore;

/// What we know of each tenant beyond its objects, by UID.
#[derive(Default)]
pub(crate) struct Tenants(Mutex<HashMap<String, Known>>);

#[derive(Default)]
struct Known {
    /// Its places in datastores as they were last seen to be right, and how they were sealed then.
    stored: Vec<(Place, Seal)>,
    /// The DataStore in which it has its user name, and that name, if it took it since we started.
    named: Option<(String, String)>,
    session: Option<Running>,
    /// What was last seen of its migration, and since when.
    migrating: Option<(Progress, Instant)>,
}

/// What is done for a tenant on its way to another DataStore: what the stores show, and how many Pods are left.
pub(crate) type Progress = (Sign, usize);

/// Where a tenant's data is, and as whom it is reached there.
pub(crate) struct Place {
    /// The connection over which it is looked at.
    pub(crate) open: Weak<OpenStore>,
    /// The checksum of the credentials that open it.
    pub(crate) credentials: String,
}

/// A session that goes on. It ends when this is dropped.
struct Running {
    plan: watch::Sender<Arc<Plan>>,
    sight: watch::Receiver<Option<Sight>>,
    wake: Arc<Notify>,
    /// Whether a Pod could answer when last looked.
    answers: bool,
    _task: JoinSet<()>,
}

impl Tenants {
    /// True when the tenant's place was seen to be right over this very connection.
    pub(crate) fn is_stored(&self, tenant: &TenantId, place: &Place, seal: &Seal) -> bool {
        let is_same = |(last, sealed): &(Place, Seal)| {
            last.open.ptr_eq(&place.open)
                && last.credentials == place.credentials
                && (sealed == seal || matches!(seal, Seal::AsFound(_)))
        };
        self.lock().get(&tenant.uid).is_some_and(|known| known.stored.iter().any(is_same))
    }

    /// Notes that this place of the tenant is right.
    pub(crate) fn stored(&self, tenant: &TenantId, place: Place, seal: Seal) {
        let mut tenants = self.lock();
        let stored = &mut tenants.entry(tenant.uid.clone()).or_default().stored;
        stored.retain(|(other, _)| other.open.strong_count() > 0 && !other.open.ptr_eq(&place.open));
        stored.push((place, seal));
    }

    /// Notes that the tenant's place in this datastore is about to be removed.
    pub(crate) fn unstored(&self, tenant: &TenantId, open: &Arc<OpenStore>) {
        if let Some(known) = self.lock().get_mut(&tenant.uid) {
            known.stored.retain(|(other, _)| !other.open.ptr_eq(&Arc::downgrade(open)));
        }
    }

    /// The tenant takes the user name of this claim, unless another has just taken it in a DataStore of which `collides` holds;
    /// returns that DataStore then.
    pub(crate) fn take_name(
        &self,
        tenant: &TenantId,
        claim: &Claim,
        collides: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let mut tenants = self.lock();
        let others = tenants.iter().filter(|(uid, _)| **uid != tenant.uid);
        let mut named = others.filter_map(|(_, known)| known.named.as_ref());
        if let Some((data_store, _)) = named.find(|(place, user)| *user == claim.user && collides(place)) {
            return Some(data_store.clone());
        }
        tenants.entry(tenant.uid.clone()).or_default().named =
            Some((claim.data_store.clone(), claim.user.clone()));
        None
    }

    /// For how long nothing else than this was seen of the tenant's migration.
    pub(crate) fn silence(&self, tenant: &TenantId, (sign, pods): Progress) -> Duration {
        let mut tenants = self.lock();
        let known = &mut tenants.entry(tenant.uid.clone()).or_default().migrating;
        let last = known.as_ref().map(|((last, _), _)| last);
        let sign = if let Some(last) = last { sign.after(last) } else { sign };
        let seen = (sign, pods);
        match known {
            Some((last, since)) if *last == seen => since.elapsed(),
            _ => {
                *known = Some((seen, Instant::now()));
                Duration::ZERO
            }
        }
    }

    /// Nothing could be seen of the tenant's migration, or there is none.
    pub(crate) fn unseen(&self, tenant: &TenantId) {
        if let Some(known) = self.lock().get_mut(&tenant.uid) {
            known.migrating = None;
        }
    }

    /// What the tenant's session saw last, whatever it was keeping then.
    pub(crate) fn seen(&self, tenant: &TenantId) -> Option<Sight> {
        self.lock().get(&tenant.uid)?.session.as_ref()?.sight.borrow().clone()
    }

    /// Forgets a tenant that is gone.
    pub(crate) fn forget(&self, tenant: &TenantId) {
        self.lock().remove(&tenant.uid);
    }

    /// Ends the session of a tenant whose Pods are not to run.
    pub(crate) fn leave(&self, tenant: &TenantId) {
        if let Some(known) = self.lock().get_mut(&tenant.uid) {
            known.session = None;
        }
    }

    /// What the tenant's session has seen while it kept `plan`, if anything yet. A session is begun when there is none,
    /// unless the tenant has just no Pod that could answer.
    pub(crate) fn sight(
        &self,
        cx: &Context,
        tenant: &TenantId,
        plan: Plan,
        ready_pods: i32,
    ) -> Option<Sight> {
        let answers = ready_pods > 0;
        let mut tenants = self.lock();
        let known = tenants.entry(tenant.uid.clone()).or_default();
        let Some(running) = &mut known.session else {
            known.session = answers.then(|| begin(cx, tenant, plan));
            return None;
        };
        running.plan.send_if_modified(|kept| {
            let differs = **kept != plan;
            if differs {
                *kept = Arc::new(plan);
            }
            differs
        });
        let sight = running.sight.borrow().clone();
        // Only what happens to the Pods: were a failure to wake the session, each would hasten the next.
        let answered = std::mem::replace(&mut running.answers, answers);
        let came_up = answers && !answered;
        if came_up && sight.as_ref().is_none_or(|sight| sight.reached.is_err()) {
            running.wake.notify_one();
        }
        sight.filter(|sight| sight.plan == *running.plan.borrow())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn begin(cx: &Context, tenant: &TenantId, plan: Plan) -> Running {
    let (plan, kept) = watch::channel(Arc::new(plan));
    let (seen, sight) = watch::channel(None);
    let wake = Arc::new(Notify::new());
    let nudge = cx.nudge_tenants.clone();
    let tenant = kube::runtime::reflector::ObjectRef::new(&tenant.name).within(&tenant.namespace);
    let session = Session {
        secrets: cx.caches.secrets.clone(),
        plan: kept,
        sight: seen,
        wake: Arc::clone(&wake),
        requests: cx.metrics.tenant_requests.clone(),
        // The receiver ends only with the process.
        nudge: Box::new(move || drop(nudge.unbounded_send(tenant.clone()))),
    };
    let mut task = JoinSet::new();
    task.spawn(session.run());
    Running { plan, sight, wake, answers: true, _task: task }
}
