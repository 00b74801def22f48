//! A tenant on MariaDB from its making to its end.

use k8s_openapi::api::core::v1::Secret;
use kamaji_e2e::{
    mariadb::MariaDb,
    operator::{Lane, cluster::TenantCluster, wait_gone},
};
use kube::ResourceExt;
use mysql_async::prelude::Queryable;

use crate::{SILENCE, tenant::keeps_objects};

/// Users, databases and marks that have one of two names.
const TRACES: &str = "\
SELECT CONCAT('user ', User) FROM mysql.global_priv WHERE User IN (?, ?) \
UNION ALL SELECT CONCAT('database ', SCHEMA_NAME) FROM information_schema.schemata WHERE SCHEMA_NAME IN (?, ?) \
UNION ALL SELECT CONCAT('mark of ', owner) FROM _kamaji.owners WHERE schema_name IN (?, ?)";

/// What is there of the tenant with this UID.
async fn traces(mariadb: &MariaDb, uid: &str) -> Vec<String> {
    let user = uid.replace('-', "");
    let names = (uid, &user, uid, &user, uid, &user);
    mariadb.superuser().await.unwrap().exec(TRACES, names).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_on_mariadb_is_made_answers_is_left_alone_and_leaves_nothing() {
    let mariadb = MariaDb::start().await.unwrap();
    let lane = Lane::on_database(&mariadb).await.unwrap();
    let operator = lane.operator().await.unwrap();
    let tenant = TenantCluster::start(&lane, &lane.manifest("blue")).await.unwrap();
    let tcp = tenant.kept(&lane).await.unwrap_or_else(|error| {
        panic!("{error:#}; {}", tenant.server.words_of_kine());
    });
    let uid = tcp.uid().unwrap();
    keeps_objects(&tenant.client).await;

    // Its user fits MySQL's 32 characters, comes over TLS, and has the data in its own database.
    let user = uid.replace('-', "");
    let secret = lane.objects::<Secret>().get("blue-datastore-config").await.unwrap();
    let password = String::from_utf8(secret.data.unwrap()["DB_PASSWORD"].0.clone()).unwrap();
    let mut session = mariadb.connect(&user, &password, Some(&uid)).await.unwrap();
    let count = "SELECT COUNT(*) FROM kine WHERE name LIKE '/registry/configmaps/default/object-%'";
    assert_eq!(session.query_first::<u64, _>(count).await.unwrap(), Some(1000));
    session.disconnect().await.unwrap();
    let expected = [format!("user {user}"), format!("database {uid}"), format!("mark of {uid}")];
    assert_eq!(traces(&mariadb, &uid).await, expected);

    operator.silence(SILENCE).await.unwrap();
    operator.stop().await.unwrap();
    let operator = lane.operator().await.unwrap();
    operator.silence(SILENCE).await.unwrap();
    assert_eq!(operator.wire.writes(), [], "a restart changes nothing");

    // As in life: the Pods are told to end, and some still run.
    lane.delete("blue").await.unwrap();
    wait_gone(&lane.tenants(), "blue").await.unwrap();
    assert_eq!(traces(&mariadb, &uid).await, [""; 0]);
    drop(tenant);
}
