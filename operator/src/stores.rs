//! The datastores that have been examined, ready for use by every tenant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kamaji_api::v1alpha1::Driver;
use kamaji_datastore::store::Store;
use kamaji_pki::Authority;
use kamaji_resources::storage::Access;

/// For how long an examination need not be repeated, although tenants come and go.
const MOMENT: Duration = Duration::from_secs(10);

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
}

/// Every DataStore by name. The DataStore controller writes, the tenants' controller reads.
#[derive(Default)]
pub(crate) struct Stores(Mutex<HashMap<String, Examination>>);

struct Examination {
    result: Examined,
    generation: Option<i64>,
    at: Instant,
}

impl Stores {
    /// What is known of a datastore; `None` before its first examination.
    pub(crate) fn get(&self, name: &str) -> Option<Examined> {
        self.lock().get(name).map(|examination| examination.result.clone())
    }

    /// What is known, if it works, this generation was examined, and that was a moment ago.
    pub(crate) fn fresh(&self, name: &str, generation: Option<i64>) -> Option<Examined> {
        let stores = self.lock();
        let examination = stores.get(name)?;
        let usable = matches!(examination.result, Examined::Usable(_));
        let fresh = usable && examination.generation == generation && examination.at.elapsed() < MOMENT;
        fresh.then(|| examination.result.clone())
    }

    /// Notes the result of an examination.
    pub(crate) fn put(&self, name: &str, generation: Option<i64>, result: Examined) {
        self.lock().insert(name.to_owned(), Examination { result, generation, at: Instant::now() });
    }

    /// Forgets a datastore that is gone.
    pub(crate) fn remove(&self, name: &str) {
        self.lock().remove(name);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Examination>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
