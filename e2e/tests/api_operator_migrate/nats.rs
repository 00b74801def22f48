//! A tenant goes by way of NATS, and is refused where another one has the account.

use std::collections::BTreeSet;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_datastore::{
    account::{Account, Credential, Owner, Schema, Seal, Standing, User},
    store::Store,
};
use kamaji_e2e::{
    nats::{self, Nats, Options},
    operator::{
        Lane, message,
        node::{Node, Pods},
    },
};
use serde_json::json;

use crate::{
    ground::{PROGRAM, arrived, ground, in_etcd, no_errand_is_left, put, send, settled, told},
    journey::{client, counts, read, write},
};

/// The password of the NATS account.
const PASSWORD: &str = "of-the-datastore";

async fn start() -> Nats {
    let options = Options { password: PASSWORD.to_owned(), ..Options::default() };
    Box::pin(Nats::start_with(options)).await.unwrap()
}

/// A DataStore of the lane's on this NATS; returns its name.
async fn data_store(lane: &Lane, nats: &Nats) -> String {
    let content = |text: &str| json!({ "content": ByteString(text.as_bytes().to_vec()) });
    let spec = json!({
        "driver": "NATS", "endpoints": [nats.endpoint().to_string()],
        "basicAuth": { "username": content(nats::OPERATOR), "password": content(PASSWORD) },
        "tlsConfig": { "certificateAuthority": {
            "certificate": content(nats.authority().certificate().pem()),
        } },
    });
    let name = format!("nats-of-{}", lane.namespace);
    lane.put(&name, &spec).await.unwrap();
    name
}

/// Another tenant has the account.
async fn claim(nats: &Nats) {
    let first = Account {
        schema: Schema::parse("first").unwrap(),
        user: User::parse("first").unwrap(),
        owner: Owner::parse("uid-of-the-first").unwrap(),
        standing: Standing::Claimed,
        seal: Seal::Open,
        credential: Credential::Certificate,
    };
    Store::nats(nats.settings()).unwrap().ensure(&first).await.unwrap();
}

/// The streams that hold anything, and how much.
async fn streams(nats: &Nats) -> BTreeSet<(String, u64)> {
    let hand = nats.connect(nats::OWNER).await.unwrap();
    let streams = hand.streams().await.unwrap().into_iter();
    streams.map(|(name, _, messages)| (name, messages)).filter(|(_, messages)| *messages > 0).collect()
}

/// The password that the tenant shows to its datastore.
async fn password(lane: &Lane) -> String {
    let secret = lane.objects::<Secret>().get("blue-datastore-config").await.unwrap();
    String::from_utf8(secret.data.unwrap()["DB_PASSWORD"].0.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_goes_from_etcd_by_way_of_nats_to_postgres_and_keeps_everything() {
    let nats = Box::pin(start()).await;
    let (lane, postgres) = Box::pin(ground()).await;
    let way = data_store(&lane, &nats).await;
    let operator = lane.operator().await.unwrap();
    lane.tenant("blue").await.unwrap();
    let tcp = lane.converged("blue").await.unwrap();
    let own = password(&lane).await;
    let node = Node::start(&lane, "blue", Pods::Serve, PROGRAM);
    let first = write(&Box::pin(client(&lane, &node)).await, "first").await;
    let annotate =
        json!({ "metadata": { "annotations": { "kamaji.clastix.io/migration-retention": "1s" } } });
    lane.edit::<TenantControlPlane>("blue", &annotate).await.unwrap();

    let started = std::time::Instant::now();
    send(&lane, &way).await;
    Box::pin(arrived(&lane, &node, &way)).await;
    println!("moved to NATS in {:?}", started.elapsed());
    let inside = Box::pin(client(&lane, &node)).await;
    let (found, revision) = read(&inside).await;
    assert_eq!(found, counts(&["first"]));
    assert!(revision > first, "{revision} after {first}");
    assert_eq!(password(&lane).await, PASSWORD, "there it logs in as the DataStore does");
    let second = write(&inside, "second").await;
    assert!(second > first, "{second} after {first}");
    let is_forgotten =
        |tcp: &TenantControlPlane| tcp.status.as_ref().unwrap().storage.as_ref().unwrap().left.is_empty();
    lane.tenant_that("blue", "rid of etcd", is_forgotten).await.unwrap();
    assert_eq!(in_etcd(&lane, &tcp).await, "");

    send(&lane, &postgres).await;
    Box::pin(arrived(&lane, &node, &postgres)).await;
    let (found, revision) = read(&Box::pin(client(&lane, &node)).await).await;
    assert_eq!(found, counts(&["first", "second"]));
    assert!(revision > second, "{revision} after {second}");
    assert_eq!(password(&lane).await, own, "the DataStore's password is of no use elsewhere");
    lane.tenant_that("blue", "rid of NATS", is_forgotten).await.unwrap();
    assert_eq!(Box::pin(streams(&nats)).await, BTreeSet::new(), "the account is free for the next one");
    no_errand_is_left(&lane, &tcp).await;
    operator.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nats_account_that_another_tenant_has_is_refused_before_the_fence() {
    let nats = Box::pin(start()).await;
    Box::pin(claim(&nats)).await;
    let before = Box::pin(streams(&nats)).await;
    let (lane, _) = Box::pin(ground()).await;
    let taken = data_store(&lane, &nats).await;
    let _operator = lane.operator().await.unwrap();
    let (tcp, node) = Box::pin(settled(&lane)).await;

    send(&lane, &taken).await;
    let refused = Box::pin(told(&lane, &node, "False/MigrationFailed")).await;
    let said = message(&refused, "Migration");
    assert!(said.contains("uid-of-the-first") && said.contains("a DataStore of its own"), "{said}");
    put(&lane, &tcp, "two").await.unwrap();
    assert_eq!(Box::pin(streams(&nats)).await, before, "nothing of the second is there");
    no_errand_is_left(&lane, &tcp).await;
    let events = lane.events().await.unwrap();
    assert!(events.iter().any(|event| event.starts_with("MigrationFailed")), "{events:#?}");
    assert!(!events.iter().any(|event| event.starts_with("MigrationCopying")), "it was fenced: {events:#?}");
}
