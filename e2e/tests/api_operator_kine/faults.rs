//! Whatever happens to a datastore is named within seconds, by the DataStore and by its tenants, and mends soon after the cure.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use jiff::SignedDuration;
use kamaji_api::v1alpha1::{DataStore, DataStoreStatus};
use kamaji_e2e::{
    credentials::Shown,
    etcd::{
        now,
        proxy::{Mode, Proxy},
    },
    operator::{Lane, condition, wait_for},
    postgres::{OPERATOR, Postgres, Session},
};
use kamaji_pki::Authority;
use serde_json::json;

use crate::{
    MOMENT,
    postgres::{credentials, spec},
};

/// From the fault to the condition.
const NAMED: Duration = Duration::from_secs(10);
/// From the cure to the condition.
const CURED: Duration = Duration::from_secs(30);

/// How many datastores suffer at the same time.
const AT_ONCE: usize = 3;

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Down,
    Blackholed,
    ReadOnly,
    WrongPasswordInTheSecret,
    WrongPasswordInTheServer,
    NoSecret,
    WrongAuthority,
    WrongHostName,
    ExpiredCertificate,
}

const FAULTS: [(Fault, &str); 9] = [
    (Fault::Down, "Unreachable"),
    (Fault::Blackholed, "Timeout"),
    (Fault::ReadOnly, "ReadOnly"),
    (Fault::WrongPasswordInTheSecret, "Unauthenticated"),
    (Fault::WrongPasswordInTheServer, "Unauthenticated"),
    (Fault::NoSecret, "BasicAuthValidationFailed"),
    (Fault::WrongAuthority, "ServerNotTrusted"),
    (Fault::WrongHostName, "ServerNotTrusted"),
    (Fault::ExpiredCertificate, "ServerNotTrusted"),
];

/// A datastore to which something happens.
struct Patient {
    lane: Lane,
    postgres: Postgres,
    root: Session,
    proxy: Proxy,
    misnamed: Proxy,
}

impl Patient {
    async fn new() -> Self {
        let postgres = Postgres::start().await.unwrap();
        let proxy = Proxy::start(postgres.endpoint()).await.unwrap();
        // The certificate is not for this address.
        let misnamed = Proxy::start_at(([127, 0, 0, 2], 0).into(), postgres.endpoint()).await.unwrap();
        let root = postgres.superuser("postgres").await.unwrap();
        let lane = Lane::without_data_store().await.unwrap();
        let patient = Self { lane, postgres, root, proxy, misnamed };
        patient.say("password", None).await;
        patient.lead_to(&patient.proxy).await;
        patient
    }

    /// The Secret says what is right, but for this key.
    async fn say(&self, key: &str, value: Option<&str>) {
        let mut right = credentials(&self.postgres);
        if let Some(value) = value {
            right[key] = json!(value);
        }
        self.lane.put_credentials(&right).await.unwrap();
    }

    async fn lead_to(&self, proxy: &Proxy) {
        self.lane.put_spec(&spec(&self.lane, &proxy.endpoint().to_string())).await.unwrap();
    }

    async fn set(&self, statement: &str) {
        self.root.batch_execute(statement).await.unwrap();
        self.root.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    }

    async fn inject(&self, fault: Fault) {
        match fault {
            Fault::Down => self.proxy.set(Mode::Refuse),
            Fault::Blackholed => self.proxy.set(Mode::Swallow),
            Fault::ReadOnly => self.set("ALTER SYSTEM SET default_transaction_read_only = on").await,
            Fault::WrongPasswordInTheSecret => self.say("password", Some("wrong")).await,
            Fault::WrongPasswordInTheServer => {
                self.set(&format!("ALTER ROLE \"{OPERATOR}\" PASSWORD 'rotated'")).await;
                self.postgres.end_sessions(&self.root, OPERATOR).await.unwrap();
            }
            Fault::NoSecret => {
                let nothing = json!({ "ca.crt": credentials(&self.postgres)["ca.crt"] });
                self.lane.put_credentials(&nothing).await.unwrap();
            }
            Fault::WrongAuthority => {
                let other = Authority::create("other", now(), SignedDuration::from_hours(1)).unwrap();
                self.say("ca.crt", Some(other.certificate().pem())).await;
            }
            Fault::WrongHostName => self.lead_to(&self.misnamed).await,
            Fault::ExpiredCertificate => self.postgres.show(&self.root, Shown::Expired).await.unwrap(),
        }
    }

    async fn cure(&self, fault: Fault) {
        match fault {
            Fault::Down | Fault::Blackholed => self.proxy.set(Mode::Pass),
            Fault::ReadOnly => self.set("ALTER SYSTEM RESET default_transaction_read_only").await,
            Fault::WrongPasswordInTheServer => self.say("password", Some("rotated")).await,
            Fault::WrongPasswordInTheSecret | Fault::NoSecret | Fault::WrongAuthority => {
                self.say("password", None).await;
            }
            Fault::WrongHostName => self.lead_to(&self.proxy).await,
            Fault::ExpiredCertificate => self.postgres.show(&self.root, Shown::Sound).await.unwrap(),
        }
    }

    /// Until the DataStore and its tenant say so.
    async fn told(&self, ready: &str, tenant: &str) {
        let says = |data_store: &DataStore| data_store.status.as_ref().map(told).as_deref() == Some(ready);
        wait_for(&self.lane.data_stores(), &self.lane.data_store, ready, says).await.unwrap();
        let says = |tcp: &_| condition(tcp, "DataStoreReachable") == tenant;
        self.lane.tenant_that("blue", tenant, says).await.unwrap();
    }
}

fn told(status: &DataStoreStatus) -> String {
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
    ready.map(|ready| format!("{}/{}", ready.status, ready.reason)).unwrap_or_default()
}

async fn suffers_and_recovers(fault: Fault, reason: &str) {
    let patient = Patient::new().await;
    let operator = patient.lane.operator().await.unwrap();
    patient.lane.tenant("blue").await.unwrap();
    patient.lane.converged("blue").await.unwrap();
    operator.silence(MOMENT).await.unwrap();

    patient.inject(fault).await;
    let start = Instant::now();
    let failing = format!("False/{reason}");
    let named = tokio::time::timeout(NAMED, patient.told(&failing, &failing)).await;
    assert!(named.is_ok(), "{fault:?} is not named within {NAMED:?}: {}", patient.shown().await);
    let named = start.elapsed();
    let message = patient.shown().await;

    patient.cure(fault).await;
    let start = Instant::now();
    let cured = tokio::time::timeout(CURED, patient.told("True/DataStoreIsValid", "True/Reached")).await;
    assert!(cured.is_ok(), "{fault:?} is not over within {CURED:?}: {}", patient.shown().await);
    println!("{fault:?}: {reason} after {named:?}, over after {:?}: {message}", start.elapsed());
}

impl Patient {
    async fn shown(&self) -> String {
        let data_store = self.lane.data_stores().get(&self.lane.data_store).await.unwrap();
        let conditions = data_store.status.unwrap_or_default().conditions;
        let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
        ready.map(|ready| format!("{}: {}", ready.reason, ready.message)).unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_postgres_is_named_within_10_s_and_over_30_s_after_its_cure() {
    let all = FAULTS.map(|(fault, reason)| Box::pin(suffers_and_recovers(fault, reason)));
    stream::iter(all).buffer_unordered(AT_ONCE).collect::<()>().await;
}

/// How many tenants each of the two stores gets.
const TENANTS: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_datastore_that_never_answers_holds_up_no_tenant_of_another() {
    let patient = Patient::new().await;
    let lane = &patient.lane;
    let healthy = format!("healthy-{}", lane.namespace);
    let address = patient.postgres.endpoint().to_string();
    lane.put(&healthy, &spec(lane, &address)).await.unwrap();
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
