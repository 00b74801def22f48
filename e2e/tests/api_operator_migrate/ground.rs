//! A lane with two datastores, the shared etcd and the shared PostgreSQL, and what lies in them.

use std::time::Duration;

use k8s_openapi::{api::batch::v1::Job, api::core::v1::Secret};
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_datastore::migrate::{Next, Servers, Step};
use kamaji_e2e::{
    database::Database,
    digest::{steady, store_digest},
    etcd::proxy::Proxy,
    operator::{
        Lane, PATIENCE, condition, names,
        node::{Node, Pods},
        wait_for,
    },
    postgres::Postgres,
};
use kamaji_operator::migrate::Route;
use kube::ResourceExt;
use serde_json::json;

/// How many times as long as others a migration may take.
const TRIES: usize = 3;
/// How often a step is tried that a store did not make.
const AGAIN: Duration = Duration::from_millis(20);
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
    let other = format!("other-of-{}", lane.namespace);
    lane.put_database(&other, server, server.endpoint()).await.unwrap();
    other
}

/// The same with a proxy before each of them.
pub(crate) struct Breakable {
    pub(crate) lane: Lane,
    pub(crate) other: String,
    pub(crate) source: Proxy,
    pub(crate) target: Proxy,
}

impl Breakable {
    pub(crate) async fn new() -> Self {
        let lane = Lane::without_data_store().await.unwrap();
        let postgres = Postgres::shared().await.unwrap();
        let source = Proxy::start(lane.etcd.endpoint()).await.unwrap();
        let target = Proxy::start(postgres.endpoint()).await.unwrap();
        let other = format!("other-of-{}", lane.namespace);
        lane.put_database(&lane.data_store, lane.etcd, source.endpoint()).await.unwrap();
        lane.put_database(&other, postgres, target.endpoint()).await.unwrap();
        Self { lane, other, source, target }
    }
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
    patiently(lane, node, "arrived", is_there).await
}

/// The condition of this tenant's migration says this.
pub(crate) async fn told(lane: &Lane, node: &Node, word: &str) -> TenantControlPlane {
    let says = |tcp: &TenantControlPlane| condition(tcp, "Migration") == word;
    patiently(lane, node, word, says).await
}

/// The tenant once this is true of it: some of what is waited for takes most of a minute on an idle machine.
async fn patiently(
    lane: &Lane,
    node: &Node,
    what: &str,
    holds: impl Fn(&TenantControlPlane) -> bool,
) -> TenantControlPlane {
    let mut tries = 0;
    loop {
        tries += 1;
        match lane.tenant_that("blue", what, &holds).await {
            Ok(tcp) => return tcp,
            Err(error) if tries == TRIES => panic!("{error:#}\n{}", node.words().join("\n")),
            Err(_) => {}
        }
    }
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

/// What the Job does up to the fence is done; returns the Job. Nothing is copied.
pub(crate) async fn fenced(lane: &Lane, tcp: &TenantControlPlane) -> Job {
    let job = job(lane, tcp).await;
    let secret = lane.objects::<Secret>().get(&job.name_any()).await.unwrap();
    let route = Route::parse(&secret.data.unwrap()["route.json"].0).unwrap();
    let migration = route.migration().unwrap();
    let mut last = None;
    let fencing = async {
        let mut tick = tokio::time::interval(AGAIN);
        loop {
            tick.tick().await;
            // A store that is slow today is asked again, as the Job does.
            let made = match migration.next(Servers::Running).await {
                Ok(Next::Step(Step::Copy)) => return,
                Ok(_) => migration.step(Servers::Running, &mut |_| {}).await,
                Err(error) => Err(error),
            };
            last = made.err();
        }
    };
    let fenced = tokio::time::timeout(PATIENCE, fencing).await;
    fenced.unwrap_or_else(|_| panic!("the source is not fenced: {last:?}"));
    job
}
