//! Datastores that cannot be used say why; those that fail under a tenant hold it up and no longer than they must.

use std::time::Duration;

use futures::future::join_all;
use kamaji_api::{
    labels,
    v1alpha1::{DataStore, TenantControlPlane},
};
use kamaji_e2e::{
    digest::store_digest,
    etcd::{
        self, Authentication, Etcd,
        proxy::{Mode, Proxy},
    },
    operator::{Lane, Operator, condition, credentials, message, wait_for, wait_gone},
};
use kamaji_pki::Authority;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{MOMENT, SILENCE, crash::assert_nothing_left};

/// One way in which a DataStore can be wrong, and how it is called.
struct Wrong {
    what: &'static str,
    credentials: Value,
    endpoint: String,
    reason: &'static str,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datastore_that_cannot_be_used_says_why_and_so_do_its_tenants() {
    let shared = Etcd::shared().await.unwrap();
    let open = Etcd::start_with(etcd::Options { authentication: Authentication::Off, ..Default::default() })
        .await
        .unwrap();
    let mut root = shared.root().await.unwrap();
    root.user_add("nobody", "", Some(etcd_client::UserAddOptions::new().with_no_pwd())).await.unwrap();
    let stranger = Authority::create("stranger", etcd::now(), jiff::SignedDuration::from_hours(1)).unwrap();
    let right = || credentials(shared, "root").unwrap();
    let with = |key: &str, value: Value| {
        let mut changed = right();
        changed[key] = value;
        changed
    };
    let mut no_key = right();
    no_key.as_object_mut().unwrap().remove("tls.key");
    let mut other_ca = with("ca.crt", json!(stranger.certificate().pem()));
    other_ca["ca.key"] = json!(stranger.key().pem());
    let address = shared.endpoint().to_string();
    let nowhere = "127.0.0.1:1".to_owned();
    let table = [
        Wrong { what: "dead endpoint", credentials: right(), endpoint: nowhere, reason: "Unreachable" },
        Wrong {
            what: "wrong CA",
            credentials: other_ca,
            endpoint: address.clone(),
            reason: "ServerNotTrusted",
        },
        Wrong {
            what: "no client key",
            credentials: no_key,
            endpoint: address.clone(),
            reason: "TLSConfigurationValidationFailed",
        },
        Wrong {
            what: "garbage",
            credentials: with("tls.key", json!("garbage")),
            endpoint: address.clone(),
            reason: "InvalidSettings",
        },
        Wrong {
            what: "authentication off",
            credentials: credentials(&open, "root").unwrap(),
            endpoint: open.endpoint().to_string(),
            reason: "AuthDisabled",
        },
        Wrong {
            what: "no rights",
            credentials: credentials(shared, "nobody").unwrap(),
            endpoint: address.clone(),
            reason: "Forbidden",
        },
        Wrong {
            what: "unknown user",
            credentials: credentials(shared, "unknown").unwrap(),
            endpoint: address,
            reason: "Forbidden",
        },
    ];
    join_all(table.map(|wrong| Box::pin(refused_and_healed(wrong)))).await;
}

async fn refused_and_healed(wrong: Wrong) {
    let Wrong { what, reason, .. } = wrong;
    let lane = Lane::without_data_store().await.unwrap();
    lane.put_data_store(&wrong.credentials, &wrong.endpoint).await.unwrap();
    let _operator = lane.operator().await.unwrap();
    lane.tenant("blue").await.unwrap();
    let examined = |data_store: &DataStore| {
        data_store.status.as_ref().is_some_and(|status| !status.conditions.is_empty())
    };
    let data_store = wait_for(&lane.data_stores(), &lane.data_store, what, examined).await.unwrap();
    let status = data_store.status.unwrap();
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    println!("{what}: {}: {}", ready.reason, ready.message);
    assert_eq!((status.ready, ready.reason.as_str()), (false, reason), "{what}: {}", ready.message);

    let named = format!("False/{reason}");
    let held_up = lane
        .tenant_that("blue", what, |tcp| {
            condition(tcp, "DataStoreReachable") == named && condition(tcp, "Ready") == named
        })
        .await
        .unwrap();
    let said = message(&held_up, "DataStoreReachable");
    assert!(said.contains(&ready.message), "{what}: {said}");
    assert!(lane.children().await.unwrap().iter().all(|(name, _)| !name.contains("Deployment")), "{what}");

    // What a user would do about it. A changed Secret is noticed at the next examination, at the latest after 20 s.
    lane.put_data_store(&lane.credentials().unwrap(), &lane.etcd.endpoint().to_string()).await.unwrap();
    let healed = tokio::time::timeout(Duration::from_secs(30), lane.converged("blue")).await;
    healed.unwrap_or_else(|_| panic!("{what}: not healed within 30 s")).unwrap();
}

/// A lane whose datastore can be taken away.
async fn fragile() -> (Lane, Proxy) {
    let lane = Lane::without_data_store().await.unwrap();
    let proxy = Proxy::start(lane.etcd.endpoint()).await.unwrap();
    lane.put_data_store(&lane.credentials().unwrap(), &proxy.endpoint().to_string()).await.unwrap();
    (lane, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datastore_that_is_down_at_creation_delays_the_tenant_until_it_is_back() {
    let (lane, proxy) = fragile().await;
    proxy.set(Mode::Refuse);
    let _operator = lane.operator().await.unwrap();
    lane.tenant("blue").await.unwrap();
    let down = |tcp: &TenantControlPlane| condition(tcp, "DataStoreReachable") == "False/Unreachable";
    tokio::time::timeout(Duration::from_secs(10), lane.tenant_that("blue", "down", down))
        .await
        .expect("named within 10 s")
        .unwrap();
    proxy.set(Mode::Pass);
    tokio::time::timeout(Duration::from_secs(30), lane.converged("blue"))
        .await
        .expect("back within 30 s")
        .unwrap();
}

/// A tenant whose datastore goes, and that is deleted then.
async fn stuck() -> (Lane, Proxy, Operator, TenantControlPlane) {
    let (lane, proxy) = fragile().await;
    let operator = lane.operator().await.unwrap();
    lane.tenant("blue").await.unwrap();
    let tcp = lane.converged("blue").await.unwrap();
    operator.silence(MOMENT).await.unwrap();
    proxy.set(Mode::Refuse);
    lane.delete("blue").await.unwrap();
    let way_out = format!("{}={}", labels::ABANDON_DATASTORE, tcp.uid().unwrap());
    let named = |tcp: &TenantControlPlane| {
        condition(tcp, "DataStoreReachable").starts_with("False")
            && message(tcp, "DataStoreReachable").contains(&way_out)
    };
    let waiting = lane.tenant_that("blue", "the way out", named).await.unwrap();
    println!("{}", message(&waiting, "DataStoreReachable"));
    assert!(message(&waiting, "DataStoreReachable").contains(&lane.data_store));
    (lane, proxy, operator, tcp)
}

async fn abandon(lane: &Lane, uid: &str) {
    let wish = json!({ "metadata": { "annotations": { labels::ABANDON_DATASTORE: uid } } });
    lane.edit::<TenantControlPlane>("blue", &wish).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datastore_that_is_down_at_deletion_is_cleaned_once_it_is_back() {
    let (lane, proxy, _operator, tcp) = stuck().await;
    proxy.set(Mode::Pass);
    wait_gone(&lane.tenants(), "blue").await.unwrap();
    assert_nothing_left(&lane, &tcp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datastore_is_abandoned_by_uid_only_and_an_event_lists_what_stays() {
    let (lane, proxy, operator, tcp) = stuck().await;
    abandon(&lane, "true").await;
    abandon(&lane, "00000000-0000-0000-0000-000000000000").await;
    // Several passes go by.
    let before = operator.wire.requests();
    tokio::time::timeout(Duration::from_secs(10), async {
        while operator.wire.requests() < before + 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .ok();
    assert!(lane.tenants().get_opt("blue").await.unwrap().is_some(), "another UID abandons nothing");

    let uid = tcp.uid().unwrap();
    abandon(&lane, &uid).await;
    wait_gone(&lane.tenants(), "blue").await.unwrap();
    operator.silence(SILENCE).await.unwrap();
    let events = lane.events().await.unwrap();
    let told = events.iter().find(|event| event.starts_with("DataStoreAbandoned"));
    let told = told.unwrap_or_else(|| panic!("no such Event in {events:#?}"));
    assert!(told.contains(&uid) && told.contains(&lane.data_store), "{told}");
    drop(proxy);
    assert_ne!(store_digest(lane.etcd, &[uid]).await.unwrap(), "", "the Event tells the truth");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datastore_cannot_be_deleted_while_it_is_used() {
    let lane = Lane::new().await.unwrap();
    let _operator = lane.operator().await.unwrap();
    lane.tenant("blue").await.unwrap();
    lane.converged("blue").await.unwrap();
    let all = lane.data_stores();
    all.delete(&lane.data_store, &DeleteParams::default()).await.unwrap();
    let held = |data_store: &DataStore| {
        let used = data_store.status.iter().flat_map(|status| &status.conditions);
        let mut used = used.filter(|condition| condition.type_.ends_with("DataStoreAllowedDeletion"));
        used.any(|condition| condition.status == "False" && condition.reason == "DataStoreStillUsed")
    };
    let data_store = wait_for(&all, &lane.data_store, "held", held).await.unwrap();
    assert_eq!(data_store.status.unwrap().used_by, [format!("{}/blue", lane.namespace)]);
    let grown = json!({ "spec": { "networkProfile": { "certSANs": ["blue.example.com"] } } });
    lane.edit::<TenantControlPlane>("blue", &grown).await.unwrap();
    let seen = |tcp: &TenantControlPlane| {
        let conditions = tcp.status.iter().flat_map(|status| &status.conditions);
        conditions
            .into_iter()
            .any(|condition| condition.type_ == "Certificates" && condition.observed_generation == Some(2))
    };
    lane.tenant_that("blue", "still looked after", seen).await.unwrap();
    lane.delete("blue").await.unwrap();
    wait_gone(&lane.tenants(), "blue").await.unwrap();
    wait_gone(&all, &lane.data_store).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datastore_object_that_was_forced_away_is_named_and_can_be_abandoned() {
    let lane = Lane::new().await.unwrap();
    let operator = lane.operator().await.unwrap();
    lane.tenant("blue").await.unwrap();
    let tcp = lane.converged("blue").await.unwrap();
    operator.silence(MOMENT).await.unwrap();
    operator.kill().await;
    let all: Api<DataStore> = lane.data_stores();
    all.delete(&lane.data_store, &DeleteParams::default()).await.unwrap();
    let freed = json!({ "metadata": { "finalizers": null } });
    all.patch(&lane.data_store, &PatchParams::default(), &Patch::Merge(&freed)).await.unwrap();
    wait_gone(&all, &lane.data_store).await.unwrap();

    let operator = lane.operator().await.unwrap();
    let missing = |tcp: &TenantControlPlane| condition(tcp, "DataStoreReachable") == "False/DataStoreMissing";
    lane.tenant_that("blue", "missing", missing).await.unwrap();
    lane.delete("blue").await.unwrap();
    let uid = tcp.uid().unwrap();
    let way_out = format!("{}={uid}", labels::ABANDON_DATASTORE);
    lane.tenant_that("blue", "the way out", |tcp| message(tcp, "DataStoreReachable").contains(&way_out))
        .await
        .unwrap();
    abandon(&lane, &uid).await;
    wait_gone(&lane.tenants(), "blue").await.unwrap();
    operator.silence(MOMENT).await.unwrap();
    let events = lane.events().await.unwrap();
    assert!(
        events.iter().any(|event| event.starts_with("DataStoreAbandoned") && event.contains(&uid)),
        "{events:#?}"
    );
}
