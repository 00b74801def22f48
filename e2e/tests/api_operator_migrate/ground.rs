//! A lane with two datastores, the shared etcd and the shared PostgreSQL, and what lies in them.

use k8s_openapi::{ByteString, api::batch::v1::Job, api::core::v1::Secret};
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_e2e::{
    database::{Database, OPERATOR, PASSWORD},
    digest::{steady, store_digest},
    operator::{
        Lane, condition, names,
        node::{Node, Pods},
        wait_for,
    },
    postgres::Postgres,
};
use kube::ResourceExt;
use serde_json::json;

/// The program of the Jobs.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_kamaji");

/// Roles and databases whose names or marks contain a word.
const TRACES: &str = "\
SELECT 'role ' || rolname FROM pg_roles \
 WHERE rolname || coalesce(shobj_description(oid, 'pg_authid'), '') LIKE '%' || $1 || '%' \
UNION ALL SELECT 'database ' || datname FROM pg_database \
 WHERE datname || coalesce(shobj_description(oid, 'pg_database'), '') LIKE '%' || $1 || '%' ORDER BY 1";

/// A lane whose own DataStore is an etcd, and the name of another one, which is a PostgreSQL.
pub(crate) async fn ground() -> (Lane, String) {
    let lane = Lane::new().await.unwrap();
    let other = further(&lane, Postgres::shared().await.unwrap()).await;
    (lane, other)
}

/// The name of another DataStore of this lane, which is this server.
pub(crate) async fn further<D: Database>(lane: &Lane, server: &D) -> String {
    let content = |text: &str| json!({ "content": ByteString(text.as_bytes().to_vec()) });
    let spec = json!({
        "driver": D::DRIVER.as_str(), "endpoints": [server.endpoint().to_string()],
        "basicAuth": { "username": content(OPERATOR), "password": content(PASSWORD) },
        "tlsConfig": { "certificateAuthority": {
            "certificate": content(server.authority().certificate().pem()),
        } },
    });
    let other = format!("other-of-{}", lane.namespace);
    lane.put(&other, &spec).await.unwrap();
    other
}

/// A tenant in etcd with one key, and the stand-in that counts its Pods.
pub(crate) async fn settled(lane: &Lane) -> (TenantControlPlane, Node) {
    lane.tenant("blue").await.unwrap();
    let tcp = lane.converged("blue").await.unwrap();
    put(lane, &tcp, "one").await.unwrap();
    (tcp, Node::start(lane, "blue", Pods::Count, PROGRAM))
}

/// The tenant is to be in this DataStore.
pub(crate) async fn send(lane: &Lane, to: &str) {
    lane.edit::<TenantControlPlane>("blue", &json!({ "spec": { "dataStore": to } })).await.unwrap();
}

/// The tenant once its data is in this DataStore and nothing is on its way.
pub(crate) async fn arrived(lane: &Lane, node: &Node, at: &str) -> TenantControlPlane {
    let is_there = |tcp: &TenantControlPlane| {
        let storage = tcp.status.as_ref().and_then(|status| status.storage.as_ref());
        let is_at = storage.is_some_and(|storage| {
            storage.data_store_name.as_deref() == Some(at) && storage.migration.is_none()
        });
        is_at && condition(tcp, "Migration") == "True/Settled"
    };
    let arrived = lane.tenant_that("blue", "arrived", is_there).await;
    arrived.unwrap_or_else(|error| panic!("{error:#}\n{}", node.words().join("\n")))
}

/// The condition of this tenant's migration says this.
pub(crate) async fn told(lane: &Lane, node: &Node, word: &str) -> TenantControlPlane {
    let says = |tcp: &TenantControlPlane| condition(tcp, "Migration") == word;
    let told = lane.tenant_that("blue", word, says).await;
    told.unwrap_or_else(|error| panic!("{error:#}\n{}", node.words().join("\n")))
}

/// The tenant writes to etcd.
pub(crate) async fn put(lane: &Lane, tcp: &TenantControlPlane, name: &str) -> Result<(), etcd_client::Error> {
    let uid = tcp.uid().unwrap();
    let client = lane.etcd.client(&uid).await.unwrap();
    let key = format!("/{uid}/configmaps/default/{name}");
    steady(async || client.clone().put(key.clone(), name, None).await).await.map(drop)
}

/// What is in etcd under the tenant's names.
pub(crate) async fn in_etcd(lane: &Lane, tcp: &TenantControlPlane) -> String {
    store_digest(lane.etcd, &[tcp.uid().unwrap()]).await.unwrap()
}

/// What is in PostgreSQL under the tenant's names.
pub(crate) async fn in_postgres(tcp: &TenantControlPlane) -> Vec<String> {
    let root = Postgres::shared().await.unwrap().superuser("postgres").await.unwrap();
    let uid = tcp.uid().unwrap();
    root.query(TRACES, &[&uid]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// The names of the live keys in the tenant's table.
pub(crate) async fn rows(tcp: &TenantControlPlane) -> Vec<String> {
    let uid = tcp.uid().unwrap();
    let root = Postgres::shared().await.unwrap().superuser(&uid).await.unwrap();
    let query = "SELECT DISTINCT name FROM kine WHERE name LIKE '/registry/configmaps/default/%' ORDER BY 1";
    root.query(query, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Nothing is left of Jobs, nor of what they were told.
pub(crate) async fn no_errand_is_left(lane: &Lane, tcp: &TenantControlPlane) {
    let name = format!("migrate-{}", tcp.uid().unwrap());
    kamaji_e2e::operator::wait_gone(&lane.objects::<Job>(), &name).await.unwrap();
    kamaji_e2e::operator::wait_gone(&lane.objects::<Secret>(), &name).await.unwrap();
    assert_eq!(names::<Job>(&lane.client, &lane.namespace).await.unwrap(), [""; 0]);
}

/// The tenant's Job.
pub(crate) async fn job(lane: &Lane, tcp: &TenantControlPlane) -> Job {
    let name = format!("migrate-{}", tcp.uid().unwrap());
    wait_for(&lane.objects::<Job>(), &name, "there", |_| true).await.unwrap()
}
