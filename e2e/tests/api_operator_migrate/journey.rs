//! A tenant goes from etcd to PostgreSQL and back.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Namespace},
};
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_e2e::operator::{
    Lane, PATIENCE,
    cluster::administrator,
    condition,
    node::{Node, Pods},
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, PostParams},
};
use serde_json::json;

use crate::ground::{PROGRAM, arrived, ground, in_etcd, in_postgres, no_errand_is_left, send};

/// So many objects are written in each store.
const OBJECTS: usize = 40;

/// A client of the tenant's API server, once that answers.
pub(crate) async fn client(lane: &Lane, node: &Node) -> Client {
    let answers = async {
        loop {
            if let Some(address) = node.address() {
                let client = administrator(lane, "blue", address).await.unwrap();
                // One of the last things that a new API server makes.
                if Api::<Namespace>::all(client.clone()).get("default").await.is_ok() {
                    return client;
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    let answers = tokio::time::timeout(2 * PATIENCE, answers).await;
    answers.unwrap_or_else(|_| panic!("no answer:\n{}", node.words().join("\n")))
}

/// Objects of this name, so many; returns the newest resourceVersion.
pub(crate) async fn write(client: &Client, name: &str) -> u64 {
    let api = Api::<ConfigMap>::namespaced(client.clone(), "default");
    let mut newest = 0;
    for number in 0..OBJECTS {
        let object = json!({ "metadata": { "name": format!("{name}-{number}") }, "data": { "a": name } });
        let made =
            api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
        newest = made.resource_version().unwrap().parse().unwrap();
    }
    newest
}

/// How many objects of each name there are, and the resourceVersion of the list.
pub(crate) async fn read(client: &Client) -> (BTreeMap<String, usize>, u64) {
    let api = Api::<ConfigMap>::namespaced(client.clone(), "default");
    let found = api.list(&ListParams::default()).await.unwrap();
    let mut counted = BTreeMap::new();
    for object in &found.items {
        let name = object.data.as_ref().and_then(|data| data.get("a")).cloned();
        *counted.entry(name.unwrap_or_default()).or_default() += 1;
    }
    counted.remove("");
    (counted, found.metadata.resource_version.unwrap().parse().unwrap())
}

pub(crate) fn counts(names: &[&str]) -> BTreeMap<String, usize> {
    names.iter().map(|name| ((*name).to_owned(), OBJECTS)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_goes_from_etcd_to_postgres_and_back_and_keeps_everything() {
    let (lane, other) = ground().await;
    let operator = lane.operator().await.unwrap();
    lane.tenant("blue").await.unwrap();
    let tcp = lane.converged("blue").await.unwrap();
    let node = Node::start(&lane, "blue", Pods::Serve, PROGRAM);
    let first = write(&client(&lane, &node).await, "first").await;

    let started = std::time::Instant::now();
    send(&lane, &other).await;
    let there = arrived(&lane, &node, &other).await;
    println!("moved to PostgreSQL in {:?}", started.elapsed());
    let left = &there.status.as_ref().unwrap().storage.as_ref().unwrap().left;
    assert_eq!(left.iter().map(|left| left.data_store_name.as_str()).collect::<Vec<_>>(), [&lane.data_store]);
    let inside = client(&lane, &node).await;
    let (found, revision) = read(&inside).await;
    assert_eq!(found, counts(&["first"]));
    assert!(revision > first, "{revision} after {first}");
    let second = write(&inside, "second").await;
    assert!(second > first, "{second} after {first}");
    assert_ne!(in_etcd(&lane, &tcp).await, "", "the source is kept for a while");
    let deployment = lane.objects::<Deployment>().get("blue").await.unwrap();
    assert_eq!(deployment.spec.replicas, tcp.spec.control_plane.deployment.replicas.or(Some(2)));

    // Its time is over at once.
    let annotate =
        json!({ "metadata": { "annotations": { "kamaji.clastix.io/migration-retention": "1s" } } });
    lane.edit::<TenantControlPlane>("blue", &annotate).await.unwrap();
    let is_forgotten =
        |tcp: &TenantControlPlane| tcp.status.as_ref().unwrap().storage.as_ref().unwrap().left.is_empty();
    lane.tenant_that("blue", "rid of the source", is_forgotten).await.unwrap();
    assert_eq!(in_etcd(&lane, &tcp).await, "");
    no_errand_is_left(&lane, &tcp).await;

    send(&lane, &lane.data_store).await;
    arrived(&lane, &node, &lane.data_store).await;
    let inside = client(&lane, &node).await;
    let (found, revision) = read(&inside).await;
    assert_eq!(found, counts(&["first", "second"]));
    assert!(revision > second, "{revision} after {second}");
    lane.tenant_that("blue", "rid of the source", is_forgotten).await.unwrap();
    assert_eq!(in_postgres(&tcp).await, [""; 0]);
    let ready = |tcp: &TenantControlPlane| condition(tcp, "Ready") == "True/Ready";
    lane.tenant_that("blue", "ready", ready).await.unwrap();
    let events = lane.events().await.unwrap();
    for word in ["MigrationPreparing", "MigrationSourceRemoved", "Settled"] {
        assert!(events.iter().any(|event| event.starts_with(word)), "{word}: {events:#?}");
    }
    // How much it was is told when it has come.
    let told =
        |event: &String| event.starts_with("MigrationSwitched: ") && event.contains(" KiB) were copied");
    assert!(events.iter().any(told), "{events:#?}");
    operator.stop().await.unwrap();
}
