//! The password of a tenant's user is made once, and what kine is told follows from it.

use std::sync::Arc;

use kamaji_api::{Child, labels};
use kamaji_resources::kine::Unsayable;

use super::{HOSTILE, OF_GO, Store, mysql, nats, postgres};
use crate::scenario::{self, Ground, clock, now};

fn text(store: &Store, key: &str) -> String {
    let data = store.credentials().unwrap().config.data.unwrap();
    String::from_utf8(data[key].0.clone()).unwrap()
}

#[test]
fn what_go_made_stays_to_the_byte() {
    let store = postgres();
    let uid = &store.ground.tenant.id.uid;
    assert_eq!(text(&store, "DB_PASSWORD"), OF_GO);
    assert_eq!(text(&store, "DB_USER"), *uid);
    assert_eq!(text(&store, "DB_SCHEMA"), *uid);
    assert_eq!(text(&store, "DB_CONNECTION_STRING"), "pg.stores:5432");
    assert_eq!(text(&store, "KINE_ENDPOINT"), format!("postgres://{uid}:{OF_GO}@pg.stores:5432/{uid}"));
}

#[test]
fn a_new_one_is_made_once_whatever_becomes_of_the_checksum() {
    let mut store = mysql();
    store.ground.held.remove(&Child::DatastoreConfig);
    let first = store.credentials().unwrap();
    let password = first.password().unwrap().to_owned();
    assert_eq!(password.len(), 43, "32 bytes");
    for sum in ["", "edited", "d41d8cd98f00b204e9800998ecf8427e"] {
        let mut held = first.config.clone();
        held.metadata.annotations.get_or_insert_default().insert(labels::CHECKSUM.into(), sum.into());
        held.data.as_mut().unwrap().remove("DB_USER");
        store.ground.held.insert(Child::DatastoreConfig, Arc::new(held));
        assert_eq!(store.credentials().unwrap().config, first.config, "{sum}");
    }
    store.ground.held.insert(Child::DatastoreConfig, Arc::default());
    assert_ne!(text(&store, "DB_PASSWORD"), password, "it is gone, so there is another");
}

#[test]
fn the_pods_are_replaced_when_kine_is_told_something_else() {
    let sum = |store: &Store| store.credentials().unwrap().config_checksum();
    let before = sum(&postgres());
    assert_eq!(sum(&postgres()), before);
    assert_ne!(sum(&postgres().knowing("another")), before);
    let mut moved = postgres();
    moved.ground.storage.endpoints.push("pg2.stores:5432".into());
    assert_ne!(sum(&moved), before, "the first endpoint is the same");
}

#[test]
fn a_tenant_of_nats_logs_in_as_its_administrator_says() {
    let store = nats();
    assert_eq!((text(&store, "DB_USER"), text(&store, "DB_PASSWORD")), ("kamaji".into(), "s3cret".into()));
    let mut store = nats();
    store.access.login = Some(("kamaji".into(), HOSTILE.to_owned().into()));
    assert_eq!(text(&store, "DB_PASSWORD"), HOSTILE);
    assert!(text(&store, "nats.json").contains("nats://nats.stores:4222"));
}

#[test]
fn a_password_of_its_own_waits_while_a_tenant_is_in_nats_and_the_datastores_goes_nowhere_else() {
    // Through NATS and on: what is held is what the last place left.
    let moved = |mut to: Store, from: &Store| {
        to.ground.held.insert(Child::DatastoreConfig, Arc::new(from.credentials().unwrap().config));
        to
    };
    let there = moved(nats(), &postgres());
    assert_eq!((text(&there, "DB_PASSWORD"), text(&there, "OWN_PASSWORD")), ("s3cret".into(), OF_GO.into()));
    assert_eq!(text(&moved(mysql(), &there), "DB_PASSWORD"), OF_GO);

    // One that was born there, or taken over there from the Go operator.
    for known in ["", "s3cret"] {
        let born = nats().knowing(known);
        let settled = moved(nats(), &born);
        let own = text(&settled, "OWN_PASSWORD");
        assert_eq!((own.len(), text(&settled, "DB_PASSWORD")), (43, "s3cret".to_owned()));
        assert_eq!(text(&moved(nats(), &settled), "OWN_PASSWORD"), own, "made once");
        let left = moved(postgres(), &settled);
        assert_eq!(text(&left, "DB_PASSWORD"), own);
        assert!(!left.credentials().unwrap().config.data.unwrap().contains_key("OWN_PASSWORD"));
        let etcd = Ground { held: left.ground.held, ..scenario::named("minimal").ground() };
        let config = etcd.storage_credentials(clock(now())).config.data.unwrap();
        assert_eq!(config["DB_PASSWORD"].0, own.as_bytes(), "etcd has no use for it, and keeps it");
    }
}

#[test]
fn a_refused_login_is_not_shown() {
    let mut store = mysql();
    store.ground.storage.user = "s3cret:".into();
    let error = store.credentials().unwrap_err();
    let cause = std::error::Error::source(&error).unwrap();
    assert!(matches!(cause.downcast_ref(), Some(Unsayable::Character { what: "user", .. })));
    assert!(!format!("{error}{cause}{error:?}").contains(OF_GO), "{cause}");
}

#[test]
fn nothing_has_to_be_renewed() {
    let credentials = postgres().credentials().unwrap();
    assert_eq!((credentials.reissued, credentials.deadline > now()), (None, true));
}
