//! A tenant goes from PostgreSQL to MariaDB and back: from one kine to another.

use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_e2e::{
    mariadb::MariaDb,
    operator::{
        Lane,
        node::{Node, Pods},
    },
    postgres::Postgres,
};
use kube::ResourceExt;
use mysql_async::prelude::Queryable;
use serde_json::json;

use crate::{
    ground::{PROGRAM, arrived, further, in_postgres, no_errand_is_left, send},
    journey::{client, counts, read, write},
};

/// Users, databases and marks that have one of two names.
const TRACES: &str = "\
SELECT CONCAT('user ', User) FROM mysql.global_priv WHERE User IN (?, ?) \
UNION ALL SELECT CONCAT('database ', SCHEMA_NAME) FROM information_schema.schemata WHERE SCHEMA_NAME IN (?, ?) \
UNION ALL SELECT CONCAT('mark of ', owner) FROM _kamaji.owners WHERE schema_name IN (?, ?) \
UNION ALL SELECT CONCAT('migration of ', schema_name) FROM _kamaji.migrations WHERE schema_name IN (?, ?)";

/// What is in MariaDB under the tenant's names.
async fn in_mariadb(mariadb: &MariaDb, tcp: &TenantControlPlane) -> Vec<String> {
    let uid = tcp.uid().unwrap();
    let user = uid.replace('-', "");
    let mut root = mariadb.superuser().await.unwrap();
    let names = (&uid, &user, &uid, &user, &uid, &user, &uid, &user);
    let found = root.exec(TRACES, names).await.unwrap();
    root.disconnect().await.unwrap();
    found
}

/// What the tenant has left is gone.
async fn is_rid_of_the_source(lane: &Lane) {
    let is_forgotten =
        |tcp: &TenantControlPlane| tcp.status.as_ref().unwrap().storage.as_ref().unwrap().left.is_empty();
    lane.tenant_that("blue", "rid of the source", is_forgotten).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_goes_from_postgres_to_mariadb_and_back_and_keeps_everything() {
    let (postgres, mariadb) = tokio::try_join!(Postgres::shared(), MariaDb::start()).unwrap();
    let lane = Lane::on_database(postgres).await.unwrap();
    let other = further(&lane, &mariadb).await;
    let operator = lane.operator().await.unwrap();
    lane.tenant("blue").await.unwrap();
    let annotate =
        json!({ "metadata": { "annotations": { "kamaji.clastix.io/migration-retention": "1s" } } });
    lane.edit::<TenantControlPlane>("blue", &annotate).await.unwrap();
    let tcp = lane.converged("blue").await.unwrap();
    let uid = tcp.uid().unwrap();
    let node = Node::start(&lane, "blue", Pods::Serve, PROGRAM);
    let first = write(&client(&lane, &node).await, "first").await;

    send(&lane, &other).await;
    arrived(&lane, &node, &other).await;
    let inside = client(&lane, &node).await;
    let (found, revision) = read(&inside).await;
    assert_eq!(found, counts(&["first"]));
    assert!(revision >= first, "{revision} after {first}");
    let second = write(&inside, "second").await;
    assert!(second > first, "{second} after {first}");
    let user = uid.replace('-', "");
    let expected = [format!("user {user}"), format!("database {uid}"), format!("mark of {uid}")];
    assert_eq!(
        in_mariadb(&mariadb, &tcp).await,
        expected,
        "its user fits MySQL, and no mark of a migration is left"
    );
    is_rid_of_the_source(&lane).await;
    assert_eq!(in_postgres(&tcp).await, [""; 0]);

    send(&lane, &lane.data_store).await;
    arrived(&lane, &node, &lane.data_store).await;
    let inside = client(&lane, &node).await;
    let (found, revision) = read(&inside).await;
    assert_eq!(found, counts(&["first", "second"]));
    assert!(revision >= second, "{revision} after {second}");
    let third = write(&inside, "third").await;
    assert!(third > second, "{third} after {second}");
    is_rid_of_the_source(&lane).await;
    assert_eq!(in_mariadb(&mariadb, &tcp).await, [""; 0]);
    no_errand_is_left(&lane, &tcp).await;
    operator.stop().await.unwrap();
}
