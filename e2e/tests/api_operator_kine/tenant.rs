//! A tenant on PostgreSQL from its making to its end, and one that the Go operator has made.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_e2e::{
    operator::{
        Lane, Operator, cluster::TenantCluster, condition, described::credentials_for, wait_for, wait_gone,
    },
    postgres::Postgres,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{MOMENT, SILENCE, postgres::traces};

/// How many objects are written into a tenant.
const OBJECTS: usize = 1000;
/// How many of them at the same time.
const AT_ONCE: usize = 16;

/// The texts in a Secret.
async fn texts(lane: &Lane, secret: &str) -> BTreeMap<String, String> {
    let secret = lane.objects::<Secret>().get(secret).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    secret.data.unwrap_or_default().iter().map(|(key, value)| (key.clone(), text(&value.0))).collect()
}

/// So many objects are written, and read back as they were written.
pub(crate) async fn keeps_objects(client: &Client) {
    let api = Api::<ConfigMap>::namespaced(client.clone(), "default");
    let named = |number: usize| -> ConfigMap {
        let data = json!({ "number": number.to_string() });
        let object = json!({ "metadata": { "name": format!("object-{number}") }, "data": data });
        serde_json::from_value(object).unwrap()
    };
    let started = std::time::Instant::now();
    let made = stream::iter(0..OBJECTS).map(|number| {
        let api = api.clone();
        async move { api.create(&PostParams::default(), &named(number)).await }
    });
    made.buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await.unwrap();
    println!("{OBJECTS} objects written in {:?}", started.elapsed());
    let found = api.list(&ListParams::default()).await.unwrap().items;
    let numbers = found.iter().filter_map(|object| Some((object.name_any(), object.data.clone()?)));
    let numbers: BTreeMap<_, _> = numbers.filter(|(name, _)| name.starts_with("object-")).collect();
    assert_eq!(numbers.len(), OBJECTS);
    for (name, data) in numbers {
        assert_eq!(Some(data["number"].as_str()), name.strip_prefix("object-"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_on_postgres_is_made_answers_is_left_alone_and_leaves_nothing() {
    let postgres = Postgres::shared().await.unwrap();
    let lane = Lane::on_database(postgres).await.unwrap();
    let operator = lane.operator().await.unwrap();
    let tenant = TenantCluster::start(&lane, &lane.manifest("blue")).await.unwrap();
    let tcp = tenant.kept(&lane).await.unwrap_or_else(|error| {
        panic!("{error:#}; {}", tenant.server.words_of_kine());
    });
    let uid = tcp.uid().unwrap();
    keeps_objects(&tenant.client).await;

    // Go's keys, for whoever reads them, and what kine is told.
    let config = texts(&lane, "blue-datastore-config").await;
    assert_eq!(config["DB_CONNECTION_STRING"], postgres.endpoint().to_string());
    assert_eq!((&config["DB_USER"], &config["DB_SCHEMA"]), (&uid, &uid));
    let session = postgres.connect(&uid, &config["DB_PASSWORD"], &uid).await.unwrap();
    let count = "SELECT count(*) FROM kine WHERE name LIKE '/registry/configmaps/default/object-%'";
    let rows: i64 = session.query_one(count, &[]).await.unwrap().get(0);
    assert_eq!(usize::try_from(rows).unwrap(), OBJECTS, "its data is in its database");
    drop(session);
    let certificates = texts(&lane, "blue-datastore-certificate").await;
    assert_eq!(certificates.keys().collect::<Vec<_>>(), ["ca.crt"]);

    operator.silence(SILENCE).await.unwrap();
    operator.stop().await.unwrap();
    let operator = lane.operator().await.unwrap();
    operator.silence(SILENCE).await.unwrap();
    assert_eq!(operator.wire.writes(), [], "a restart changes nothing");
    operator.stop().await.unwrap();
    let _operator = is_kept_without_its_data_store(&lane, &tenant, postgres).await;

    assert_eq!(traces(postgres, &uid).await, [format!("database {uid}"), format!("role {uid}")]);
    // As in life: the Pods are told to end, and some still run.
    lane.delete("blue").await.unwrap();
    wait_gone(&lane.tenants(), "blue").await.unwrap();
    assert_eq!(traces(postgres, &uid).await, [""; 0]);
    drop(tenant);
}

/// An operator that starts while it cannot use the DataStore keeps what is inside the tenant, which can.
async fn is_kept_without_its_data_store(
    lane: &Lane,
    tenant: &TenantCluster,
    postgres: &Postgres,
) -> Operator {
    let right = credentials_for(postgres);
    let mut wrong = right.clone();
    wrong["password"] = json!("wrong");
    lane.put_credentials(&wrong).await.unwrap();
    let inside = Api::<ConfigMap>::namespaced(tenant.client.clone(), "kube-system");
    inside.delete("kubeadm-config", &DeleteParams::default()).await.unwrap();
    let operator = lane.operator().await.unwrap();
    wait_for(&inside, "kubeadm-config", "there again", |_| true).await.unwrap();
    let says = |tcp: &TenantControlPlane| {
        condition(tcp, "DataStoreReachable") == "False/Unauthenticated"
            && condition(tcp, "TenantReachable") == "True/Answers"
            && condition(tcp, "Addons") == "True/Kept"
    };
    lane.tenant_that("blue", "kept without its DataStore", says).await.unwrap();
    lane.put_credentials(&right).await.unwrap();
    let says = |tcp: &TenantControlPlane| condition(tcp, "Ready") == "True/Ready";
    lane.tenant_that("blue", "ready again", says).await.unwrap();
    operator
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_lost_or_changed_is_the_one_that_opens_the_database() {
    let postgres = Postgres::shared().await.unwrap();
    let lane = Lane::on_database(postgres).await.unwrap();
    let operator = lane.operator().await.unwrap();
    lane.tenant("blue").await.unwrap();
    let uid = lane.converged("blue").await.unwrap().uid().unwrap();
    operator.silence(MOMENT).await.unwrap();
    let first = texts(&lane, "blue-datastore-config").await["DB_PASSWORD"].clone();

    let edit = json!({ "stringData": { "DB_PASSWORD": "chosen-by-somebody" } });
    lane.edit::<Secret>("blue-datastore-config", &edit).await.unwrap();
    opens(postgres, &uid, "chosen-by-somebody").await;
    assert!(postgres.connect(&uid, &first, &uid).await.is_err(), "the old one opens it no more");
    let told = |secret: &Secret| {
        let endpoint = secret.data.as_ref().and_then(|data| data.get("KINE_ENDPOINT"));
        endpoint.is_some_and(|told| String::from_utf8_lossy(&told.0).contains("chosen-by-somebody"))
    };
    wait_for(&lane.objects(), "blue-datastore-config", "told to kine", told).await.unwrap();

    let secrets = lane.objects::<Secret>();
    let before = secrets.get("blue-datastore-config").await.unwrap().uid();
    secrets.delete("blue-datastore-config", &DeleteParams::default()).await.unwrap();
    let again = |secret: &Secret| secret.uid() != before && secret.metadata.deletion_timestamp.is_none();
    wait_for(&secrets, "blue-datastore-config", "there again", again).await.unwrap();
    // Our finalizer held it until it was made anew.
    assert_eq!(texts(&lane, "blue-datastore-config").await["DB_PASSWORD"], "chosen-by-somebody");

    operator.silence(MOMENT).await.unwrap();
    let loss = json!({ "data": { "DB_PASSWORD": null } });
    lane.edit::<Secret>("blue-datastore-config", &loss).await.unwrap();
    let anew = |secret: &Secret| secret.data.as_ref().is_some_and(|data| data.contains_key("DB_PASSWORD"));
    wait_for(&secrets, "blue-datastore-config", "made anew", anew).await.unwrap();
    let newest = texts(&lane, "blue-datastore-config").await["DB_PASSWORD"].clone();
    assert_ne!(newest, "chosen-by-somebody");
    opens(postgres, &uid, &newest).await;
    assert!(postgres.connect(&uid, "chosen-by-somebody", &uid).await.is_err());
    operator.silence(SILENCE).await.unwrap();
}

/// The tenant's user gets into its database with this password, sooner or later.
async fn opens(postgres: &Postgres, uid: &str, password: &str) {
    let opened = async {
        while postgres.connect(uid, password, uid).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), opened).await.expect("it opens the database");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_go_made_keeps_its_names_and_its_password() {
    let postgres = Postgres::shared().await.unwrap();
    let lane = Lane::on_database(postgres).await.unwrap();
    let tcp = lane.tenant("blue").await.unwrap();
    let name = format!("go_{}", lane.namespace.replace('-', "_"));
    let password = "2aa54532-e3bd-456d-ba58-b54ff44aee1f";
    postgres.make_as_go(&name, password).await.unwrap();
    let owner = json!({
        "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "TenantControlPlane", "name": "blue",
        "uid": tcp.uid(), "controller": true, "blockOwnerDeletion": true,
    });
    let labels = json!({
        "kamaji.clastix.io/project": "kamaji", "kamaji.clastix.io/name": "blue",
        "kamaji.clastix.io/component": "datastore-config",
    });
    let secret = json!({
        "metadata": {
            "name": "blue-datastore-config", "namespace": lane.namespace, "labels": labels,
            "ownerReferences": [owner], "finalizers": ["finalizer.kamaji.clastix.io/datastore-secret"],
        },
        "stringData": {
            "DB_CONNECTION_STRING": postgres.endpoint().to_string(),
            "DB_USER": name, "DB_SCHEMA": name, "DB_PASSWORD": password,
        },
    });
    let secret: Secret = serde_json::from_value(secret).unwrap();
    lane.objects().create(&PostParams::default(), &secret).await.unwrap();
    let status = json!({ "status": { "storage": {
        "driver": "PostgreSQL", "dataStoreName": lane.data_store,
        "setup": { "schema": name, "user": name, "checksum": "of Go's" },
    } } });
    let tenants: Api<TenantControlPlane> = lane.tenants();
    tenants.patch_status("blue", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();

    let operator = lane.operator().await.unwrap();
    let tcp = lane.converged("blue").await.unwrap();
    operator.silence(MOMENT).await.unwrap();
    let config = texts(&lane, "blue-datastore-config").await;
    assert_eq!((config["DB_USER"].as_str(), config["DB_SCHEMA"].as_str()), (name.as_str(), name.as_str()));
    assert_eq!(config["DB_PASSWORD"], password);
    postgres.connect(&name, password, &name).await.unwrap();
    let marked = traces(postgres, &tcp.uid().unwrap()).await;
    assert_eq!(marked, [format!("database {name}"), format!("role {name}")], "they are marked as its own");
    lane.delete("blue").await.unwrap();
    wait_gone(&lane.tenants(), "blue").await.unwrap();
    assert_eq!(traces(postgres, &name).await, [""; 0]);
}
