//! The datastores that have been examined, ready for use by every tenant.

mod breaker;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kamaji_api::v1alpha1::Driver;
use kamaji_datastore::store::{Health, Store};
use kamaji_pki::Authority;
use kamaji_resources::storage::Access;

use self::breaker::Breaker;

/// How often a datastore that works is examined from top to bottom.
const INTERVAL: Duration = Duration::from_mins(1);
/// How often it is asked in between whether it still answers.
const PULSE_INTERVAL: Duration = Duration::from_secs(3);

/// A datastore that can be used.
pub(crate) struct OpenStore {
    /// The connection, shared by all tenants.
    pub(crate) store: Store,
    /// Kind of store.
    pub(crate) driver: Driver,
    /// Addresses, as the DataStore names them.
    pub(crate) endpoints: Vec<String>,
    /// What tenants are let in with.
    pub(crate) admission: Admission,
    /// What it was opened with; another value means another connection.
    pub(crate) settings: kamaji_datastore::config::Settings,
}

/// What the tenants of a datastore are let in with.
pub(crate) enum Admission {
    /// A certificate of their own, which this authority signs: etcd.
    Signed(Authority),
    /// A password of their own, and this: every store that is reached through kine.
    Kine(Access),
}

impl PartialEq for Admission {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Signed(one), Self::Signed(other)) => {
                one.certificate() == other.certificate() && one.key().pem() == other.key().pem()
            }
            (Self::Kine(one), Self::Kine(other)) => one == other,
            _ => false,
        }
    }
}

impl OpenStore {
    /// The authority that signs certificates for its clients, if it lets them in with such.
    pub(crate) fn authority(&self) -> Option<&Authority> {
        match &self.admission {
            Admission::Signed(authority) => Some(authority),
            Admission::Kine(_) => None,
        }
    }
}

/// What is known of a datastore.
#[derive(Clone)]
pub(crate) enum Examined {
    /// It answered, knew us and let us do what tenants need.
    Usable(Arc<OpenStore>),
    /// It cannot be used; the text says why.
    Unusable {
        /// One of a closed set.
        reason: &'static str,
        /// What happened, and what to do.
        message: String,
        /// The connection as it last worked: a tenant that is there already may go on using it.
        last: Option<Arc<OpenStore>>,
        /// The connection as it would be, if it has never worked since we started: how its tenants reach it is known.
        untried: Option<Arc<OpenStore>>,
    },
}

impl Examined {
    /// The connection, whether it works now or worked last.
    pub(crate) fn last(&self) -> Option<&Arc<OpenStore>> {
        match self {
            Self::Usable(open) => Some(open),
            Self::Unusable { last, .. } => last.as_ref(),
        }
    }

    /// The same, or the connection as it would be.
    pub(crate) fn known(&self) -> Option<&Arc<OpenStore>> {
        match self {
            Self::Usable(open) => Some(open),
            Self::Unusable { last, untried, .. } => last.as_ref().or(untried.as_ref()),
        }
    }
}

/// Every DataStore by name. Its controller looks at them; the tenants' controller uses them, and says when one fails.
#[derive(Default)]
pub(crate) struct Stores {
    examinations: Mutex<HashMap<String, Examination>>,
    /// Those whose Secrets have changed since an examination last began.
    outdated: Mutex<HashSet<String>>,
}

struct Examination {
    result: Examined,
    /// What it last said of itself.
    health: Option<Health>,
    generation: Option<i64>,
    /// When it is examined again from top to bottom.
    next: Instant,
    /// When it is asked whether it still answers, if it works.
    pulse: Instant,
    breaker: Breaker,
}

/// What is to be done about a datastore at a moment.
pub(crate) enum Due {
    /// It is examined from top to bottom.
    Examination,
    /// It is asked whether it still answers.
    Pulse(Arc<OpenStore>),
    /// It is left alone for so long.
    Nothing(Duration),
}

impl Stores {
    /// What is known of a datastore; `None` before its first examination.
    pub(crate) fn get(&self, name: &str) -> Option<Examined> {
        self.lock().get(name).map(|examination| examination.result.clone())
    }

    /// What it last said of itself.
    pub(crate) fn health(&self, name: &str) -> Option<Health> {
        self.lock().get(name)?.health.clone()
    }

    /// What is to be done now. However often somebody asks, one that fails is tried once in each pause.
    pub(crate) fn due(&self, name: &str, generation: Option<i64>, now: Instant) -> Due {
        let stores = self.lock();
        let Some(known) = stores.get(name) else { return Due::Examination };
        let is_outdated = self.outdated().contains(name);
        if is_outdated || known.generation != generation || now >= known.next {
            return Due::Examination;
        }
        match &known.result {
            Examined::Usable(open) if now >= known.pulse => Due::Pulse(Arc::clone(open)),
            Examined::Usable(_) => Due::Nothing(known.pulse.min(known.next) - now),
            Examined::Unusable { .. } => Due::Nothing(known.next - now),
        }
    }

    /// Notes the result of an examination, and what the datastore said of itself.
    pub(crate) fn examined(
        &self,
        name: &str,
        generation: Option<i64>,
        (result, health): (Examined, Option<Health>),
    ) {
        let (mut stores, now) = (self.lock(), Instant::now());
        let known = stores.remove(name);
        let mut breaker = known.as_ref().map(|known| known.breaker).unwrap_or_default();
        let next = if let Examined::Usable(_) = result {
            breaker.worked(now);
            now + INTERVAL
        } else {
            now + breaker.failed(name, now)
        };
        let health = health.or_else(|| known.and_then(|known| known.health));
        let examination =
            Examination { result, health, generation, next, pulse: now + PULSE_INTERVAL, breaker };
        stores.insert(name.to_owned(), examination);
    }

    /// Notes that the datastore still answers.
    pub(crate) fn answered(&self, name: &str) {
        if let Some(known) = self.lock().get_mut(name) {
            known.pulse = Instant::now() + PULSE_INTERVAL;
        }
    }

    /// Notes that the datastore failed somebody who used it: it is used no more until it was examined, which is due at once
    /// unless it fails on and off. True if that is news.
    pub(crate) fn failed(
        &self,
        name: &str,
        open: &Arc<OpenStore>,
        (reason, message): (&'static str, String),
    ) -> bool {
        let mut stores = self.lock();
        let Some(known) = stores.get_mut(name) else { return false };
        if !matches!(&known.result, Examined::Usable(used) if Arc::ptr_eq(used, open)) {
            return false;
        }
        let now = Instant::now();
        let is_first = known.breaker.is_new();
        let pause = known.breaker.failed(name, now);
        known.next = if is_first { now } else { now + pause };
        known.result = Examined::Unusable { reason, message, last: Some(Arc::clone(open)), untried: None };
        true
    }

    /// The datastore is examined at once, because what it is opened with has changed.
    pub(crate) fn outdate(&self, name: &str) {
        self.outdated().insert(name.to_owned());
    }

    /// An examination begins: what changes from now on makes another one due.
    pub(crate) fn begin(&self, name: &str) {
        self.outdated().remove(name);
    }

    /// Forgets a datastore that is gone.
    pub(crate) fn remove(&self, name: &str) {
        self.lock().remove(name);
        self.outdated().remove(name);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Examination>> {
        self.examinations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outdated(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.outdated.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unusable() -> Examined {
        Examined::Unusable { reason: "Unreachable", message: "it is gone".into(), last: None, untried: None }
    }

    #[test]
    fn one_that_fails_is_tried_once_in_each_pause_however_often_somebody_asks() {
        let stores = Stores::default();
        let is_due = |after: Duration| {
            matches!(stores.due("store", Some(1), Instant::now() + after), Due::Examination)
        };
        assert!(is_due(Duration::ZERO));
        for _ in 0..9 {
            stores.examined("store", Some(1), (unusable(), None));
        }
        assert!(!is_due(Duration::ZERO) && !is_due(Duration::from_secs(20)));
        assert!(is_due(Duration::from_secs(30)), "not later, or its return would be noticed too late");
        // What might mend it is not waited for.
        stores.outdate("store");
        assert!(is_due(Duration::ZERO));
        stores.begin("store");
        assert!(!is_due(Duration::ZERO));
        assert!(matches!(stores.due("store", Some(2), Instant::now()), Due::Examination));
    }

    #[test]
    fn a_change_during_an_examination_makes_another_one_due() {
        let stores = Stores::default();
        stores.begin("store");
        stores.outdate("store");
        stores.examined("store", Some(1), (unusable(), None));
        assert!(matches!(stores.due("store", Some(1), Instant::now()), Due::Examination));
    }
}
