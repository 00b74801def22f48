//! Whatever happens to a datastore is named within seconds, by the DataStore and by its tenants, and mends soon after the cure.

use std::{rc::Rc, time::Instant};

use futures::{StreamExt, stream};
use jiff::SignedDuration;
use kamaji_api::v1alpha1::{DataStore, DataStoreStatus};
use kamaji_e2e::{
    credentials::Shown,
    database::{Change, Database, change},
    etcd::{
        now,
        proxy::{Aftermath, Mode, Moment, Proxy},
    },
    mariadb::MariaDb,
    nats::Nats,
    operator::{
        Lane, condition,
        described::{credentials_for, spec_for},
        wait_for,
    },
    postgres::Postgres,
};
use kamaji_pki::Authority;
use serde_json::json;

use crate::MOMENT;

/// How many datastores suffer at the same time.
const AT_ONCE: usize = 3;

/// What can happen, and what undoes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Nobody answers any more, in this way.
    Gone(Mode),
    /// The server is changed, and changed back.
    Changed(Change, Change),
    /// The operator's password is changed in the server; the cure is to say it in the Secret.
    Rotated,
    /// The Secret says something else under this key.
    Said(&'static str, Lie),
    /// The DataStore names an address for which the server has no certificate.
    Misnamed,
}

/// What a Secret says that is not right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    /// Nothing.
    Nothing,
    /// Any word.
    Word,
    /// The certificate of an authority that has nothing to do with it.
    OtherAuthority,
}

/// What can happen to servers of every kind, and how it is named.
const EVERYWHERE: [(Fault, &str); 8] = [
    (Fault::Gone(Mode::Refuse), "Unreachable"),
    (Fault::Gone(Mode::Swallow), "Timeout"),
    (Fault::Said("password", Lie::Word), "Unauthenticated"),
    (Fault::Rotated, "Unauthenticated"),
    (Fault::Said("username", Lie::Nothing), "BasicAuthValidationFailed"),
    (Fault::Said("ca.crt", Lie::OtherAuthority), "ServerNotTrusted"),
    (Fault::Misnamed, "ServerNotTrusted"),
    (Fault::Changed(Change::Shows(Shown::Expired), Change::Shows(Shown::Sound)), "ServerNotTrusted"),
];
/// A database that takes no writes.
const READ_ONLY: (Fault, &str) = (Fault::Changed(Change::ReadOnly, Change::Writable), "ReadOnly");
/// A store without room.
const FULL: (Fault, &str) = (Fault::Changed(Change::Full, Change::Roomy), "NoSpace");
/// What the operator's password is changed to.
const ROTATED: &str = "rotated";

impl Fault {
    /// Whether other users of the server suffer as well.
    fn is_of_the_server(self) -> bool {
        matches!(self, Self::Changed(..) | Self::Rotated)
    }
}

/// A datastore to which something happens.
struct Patient<D> {
    lane: Lane,
    database: Rc<D>,
    proxy: Proxy,
    misnamed: Proxy,
}

impl<D: Database> Patient<D> {
    async fn new(database: Rc<D>) -> Self {
        let proxy = Proxy::start(database.endpoint()).await.unwrap();
        // The certificate is not for this address.
        let misnamed = Proxy::start_at(([127, 0, 0, 2], 0).into(), database.endpoint()).await.unwrap();
        let lane = Lane::without_data_store().await.unwrap();
        let patient = Self { lane, database, proxy, misnamed };
        patient.lane.put_credentials(&credentials_for(&*patient.database)).await.unwrap();
        patient.lead_to(&patient.proxy).await;
        patient
    }

    /// The Secret says what is right, but for this key.
    async fn say(&self, key: &str, word: Option<&str>) {
        let mut credentials = credentials_for(&*self.database);
        match word {
            Some(word) => credentials[key] = json!(word),
            None => drop(credentials.as_object_mut().unwrap().remove(key)),
        }
        self.lane.put_credentials(&credentials).await.unwrap();
    }

    async fn lead_to(&self, proxy: &Proxy) {
        self.lane.put_spec(&spec_for(&self.lane, &*self.database, proxy.endpoint())).await.unwrap();
    }

    /// The server is changed, and the operator's next message finds its connection cut.
    async fn change(&self, to: Change) {
        change(&*self.database, to).await.unwrap();
        let (moment, aftermath) = (Moment::Before, Aftermath::Alive);
        self.proxy.set(Mode::CutAfter { messages: 0, moment, aftermath });
    }

    async fn inject(&self, fault: Fault) {
        match fault {
            Fault::Gone(mode) => self.proxy.set(mode),
            Fault::Changed(change, _) => self.change(change).await,
            Fault::Rotated => self.change(Change::Password(ROTATED)).await,
            Fault::Said(key, Lie::Nothing) => self.say(key, None).await,
            Fault::Said(key, Lie::Word) => self.say(key, Some("wrong")).await,
            Fault::Said(key, Lie::OtherAuthority) => {
                let other = Authority::create("other", now(), SignedDuration::from_hours(1)).unwrap();
                self.say(key, Some(other.certificate().pem())).await;
            }
            Fault::Misnamed => self.lead_to(&self.misnamed).await,
        }
    }

    async fn cure(&self, fault: Fault) {
        match fault {
            Fault::Gone(_) => self.proxy.set(Mode::Pass),
            Fault::Changed(_, back) => self.change(back).await,
            Fault::Rotated => self.say("password", Some(ROTATED)).await,
            Fault::Said(..) => {
                self.lane.put_credentials(&credentials_for(&*self.database)).await.unwrap();
            }
            Fault::Misnamed => self.lead_to(&self.proxy).await,
        }
    }

    /// Until the DataStore and its tenant say so.
    async fn told(&self, ready: &str, tenant: &str) {
        let says = |data_store: &DataStore| data_store.status.as_ref().map(told).as_deref() == Some(ready);
        wait_for(&self.lane.data_stores(), &self.lane.data_store, ready, says).await.unwrap();
        let says = |tcp: &_| condition(tcp, "DataStoreReachable") == tenant;
        self.lane.tenant_that("blue", tenant, says).await.unwrap();
    }

    async fn shown(&self) -> String {
        let data_store = self.lane.data_stores().get(&self.lane.data_store).await.unwrap();
        let conditions = data_store.status.unwrap_or_default().conditions;
        let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
        ready.map(|ready| format!("{}: {}", ready.reason, ready.message)).unwrap_or_default()
    }
}

fn told(status: &DataStoreStatus) -> String {
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
    ready.map(|ready| format!("{}/{}", ready.status, ready.reason)).unwrap_or_default()
}

async fn suffers_and_recovers<D: Database>(database: Rc<D>, fault: Fault, reason: &str) {
    let patient = Patient::new(database).await;
    let operator = patient.lane.operator().await.unwrap();
    patient.lane.tenant("blue").await.unwrap();
    patient.lane.converged("blue").await.unwrap();
    operator.silence(MOMENT).await.unwrap();

    patient.inject(fault).await;
    let start = Instant::now();
    let failing = format!("False/{reason}");
    patient.told(&failing, &failing).await;
    let (named, message) = (start.elapsed(), patient.shown().await);

    patient.cure(fault).await;
    let start = Instant::now();
    patient.told("True/DataStoreIsValid", "True/Reached").await;
    let driver = D::DRIVER.as_str();
    println!("{driver}, {fault:?}: {reason} after {named:?}, over after {:?}: {message}", start.elapsed());
}

/// Everything that can happen to a server of this kind, some of it at the same time.
async fn suffers_all<D: Database>(own: (Fault, &'static str), sharing: Sharing) {
    let shared = match sharing {
        Sharing::Possible => Some(Rc::new(D::start().await.unwrap())),
        Sharing::Impossible => None,
    };
    let all = EVERYWHERE.into_iter().chain([own]).map(|(fault, reason)| {
        let shared = shared.clone().filter(|_| !fault.is_of_the_server());
        Box::pin(async move {
            let database = match shared {
                Some(shared) => shared,
                None => Rc::new(D::start().await.unwrap()),
            };
            suffers_and_recovers(database, fault, reason).await;
        })
    });
    stream::iter(all).buffer_unordered(AT_ONCE).collect::<()>().await;
}

/// Whether a server can have several tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    Possible,
    Impossible,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_postgres_is_named_and_is_over_after_its_cure() {
    suffers_all::<Postgres>(READ_ONLY, Sharing::Possible).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_mariadb_is_named_and_is_over_after_its_cure() {
    suffers_all::<MariaDb>(READ_ONLY, Sharing::Possible).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_nats_is_named_and_is_over_after_its_cure() {
    suffers_all::<Nats>(FULL, Sharing::Impossible).await;
}

/// The server answers on, and whoever is there already is well: the tenant that needs room says what is wrong.
async fn is_told_by_the_tenant_that_needs_room<D: Database>(database: D) {
    let patient = Patient::new(Rc::new(database)).await;
    let _operator = patient.lane.operator().await.unwrap();
    patient.lane.store_examined().await.unwrap();
    patient.database.change(Change::Full).await.unwrap();
    patient.lane.tenant("late").await.unwrap();
    let says = |tcp: &_| condition(tcp, "DataStoreReachable") == "False/NoSpace";
    patient.lane.tenant_that("late", "without room", says).await.unwrap();
    patient.database.change(Change::Roomy).await.unwrap();
    patient.lane.converged("late").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_postgres_is_named_and_its_end_is_noticed() {
    is_told_by_the_tenant_that_needs_room(Postgres::start_on_small_disk().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_mariadb_is_named_and_its_end_is_noticed() {
    is_told_by_the_tenant_that_needs_room(MariaDb::start_on_small_disk().await.unwrap()).await;
}

/// How many tenants each of the two stores gets.
const TENANTS: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_datastore_that_never_answers_holds_up_no_tenant_of_another() {
    let patient = Patient::new(Rc::new(Postgres::start().await.unwrap())).await;
    let lane = &patient.lane;
    let healthy = format!("healthy-{}", lane.namespace);
    let spec = spec_for(lane, &*patient.database, patient.database.endpoint());
    lane.put(&healthy, &spec).await.unwrap();
    let operator = lane.operator().await.unwrap();
    lane.store_examined().await.unwrap();
    operator.silence(MOMENT).await.unwrap();

    // From one moment to the next, with a connection that is open: nobody knows yet.
    patient.proxy.set(Mode::Swallow);
    for number in 0..TENANTS {
        lane.tenant(&format!("stuck-{number}")).await.unwrap();
    }
    let start = Instant::now();
    for number in 0..TENANTS {
        let mut manifest = lane.manifest(&format!("well-{number}"));
        manifest["spec"]["dataStore"] = json!(healthy);
        lane.create(&manifest).await.unwrap();
    }
    for number in 0..TENANTS {
        lane.converged(&format!("well-{number}")).await.unwrap();
    }
    println!("{TENANTS} tenants of the healthy DataStore after {:?}", start.elapsed());
    for number in 0..TENANTS {
        let named = |tcp: &_| condition(tcp, "DataStoreReachable").starts_with("False/");
        lane.tenant_that(&format!("stuck-{number}"), "named", named).await.unwrap();
    }
    // Once it is known to be dead, no tenant tries it any more: what comes are the few tries of the DataStore itself.
    operator.silence(MOMENT).await.unwrap();
    println!("{} connections in {:?}", patient.proxy.connections(), start.elapsed());
    assert!(patient.proxy.connections() <= 12, "{} connections", patient.proxy.connections());
    patient.proxy.set(Mode::Pass);
    for number in 0..TENANTS {
        lane.converged(&format!("stuck-{number}")).await.unwrap();
    }
}
