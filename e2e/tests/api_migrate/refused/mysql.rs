//! What only MariaDB and MySQL can do to a migration, or have done to them.

use std::collections::BTreeMap;

use anyhow::Result;
use kamaji_datastore::{
    account::Account,
    migrate::{Error, Next, Servers, Side, Step},
};
use kamaji_e2e::{
    database::{Change, change},
    mariadb::MariaDb,
};
use mysql_async::prelude::Queryable;

use super::refusal;
use crate::{
    Kind, Lab, advance, finish,
    server::{
        Server,
        mysql::{self, session},
    },
    unwatched,
};

/// The MariaDB that this side is.
fn mariadb(server: &Server) -> &MariaDb {
    let Server::MySql(mariadb) = server else { unreachable!("as started") };
    mariadb
}

#[tokio::test]
async fn sessions_of_mysql_end_and_none_can_write_after_the_fence() -> Result<()> {
    let lab = Lab::start((Kind::MySql, Kind::MySql)).await?;
    lab.settle("blue").await?;
    let source = lab.source("blue");
    let mut before = session(mariadb(&lab.from), &source).await?;
    before.query_drop("SELECT 1").await?;
    let migration = lab.migration("blue", "first")?;
    assert_eq!(migration.run(Servers::Running, &mut unwatched).await?, Next::StopServers);
    assert!(before.query_drop("SELECT 1").await.is_err(), "the session has ended");
    // Whoever unlocks the user lets somebody in who may do nothing; and the copy is not trusted any more.
    let mut root = mariadb(&lab.from).superuser().await?;
    root.query_drop(format!("ALTER USER '{}'@'%' ACCOUNT UNLOCK", source.user)).await?;
    let entered = session(mariadb(&lab.from), &source).await;
    assert!(entered.is_err(), "it has no right to its database");
    assert_eq!(migration.next(Servers::Gone).await?, Next::Step(Step::Fence));
    // What is written through such a door is not lost.
    let insert = format!(
        "INSERT INTO `{}`.kine (name, created, deleted, create_revision, prev_revision, lease, value) \
         VALUES ('/registry/configmaps/default/late', 1, 0, 0, 0, 0, 'acknowledged')",
        source.schema
    );
    root.query_drop(insert).await?;
    root.disconnect().await?;
    finish(&migration).await?;
    let contents = lab.to.contents(&lab.target("blue")).await?;
    assert_eq!(contents["configmaps/default/late"].value, b"acknowledged");
    assert!(!lab.from.takes_writes(&source).await?);
    Ok(())
}

/// By the tenant itself, and by one who may do more.
const ODD: [(&str, &str); 8] = [
    ("column", "ALTER TABLE kine ADD COLUMN more INTEGER"),
    ("computed", "ALTER TABLE kine DROP COLUMN created, ADD COLUMN created INTEGER AS (deleted + 1)"),
    ("checked", "ALTER TABLE kine ADD CHECK (lease >= 0)"),
    (
        "foreign",
        "CREATE TABLE other (id INTEGER PRIMARY KEY); ALTER TABLE kine ADD FOREIGN KEY (lease) REFERENCES other (id)",
    ),
    ("engine", "ALTER TABLE kine ENGINE=MyISAM"),
    ("numbers", "ALTER TABLE kine MODIFY name DOUBLE, DROP INDEX kine_name_prev_revision_uindex"),
    ("trigger", "CREATE TRIGGER t BEFORE INSERT ON kine FOR EACH ROW SET NEW.lease = 1"),
    ("view", "ALTER TABLE kine RENAME TO kept; CREATE VIEW kine AS SELECT * FROM kept"),
];

#[tokio::test]
async fn a_table_in_mysql_that_kine_has_not_made_is_refused_before_the_fence() -> Result<()> {
    let lab = Lab::start((Kind::MySql, Kind::MySql)).await?;
    for (name, change) in ODD {
        let source = lab.source(name);
        lab.from.store()?.ensure(&source).await?;
        mysql::fill(mariadb(&lab.from), &source, &BTreeMap::new()).await?;
        let mut root = mariadb(&lab.from).superuser().await?;
        // Its columns are empty, so that they can become any others.
        root.query_drop(format!("USE `{}`; DELETE FROM kine; {change}", source.schema)).await?;
        root.disconnect().await?;
        assert_eq!(refusal(&lab.migration(name, "first")?).await, "TableOdd", "{name}");
        session(mariadb(&lab.from), &source).await?.disconnect().await?;
        assert!(!lab.to.takes_writes(&lab.target(name)).await?);
    }
    Ok(())
}

#[tokio::test]
async fn a_key_that_mysql_cannot_keep_is_named_and_the_tenant_comes_back() -> Result<()> {
    let lab = Lab::start((Kind::Postgres, Kind::MySql)).await?;
    let long = "x".repeat(700);
    for (name, key) in [
        ("letters", "configmaps/\u{fc}"),
        ("twins", "CONFIGMAPS/default/0000"),
        ("long", &long),
        ("space", "a "),
    ] {
        lab.settle(name).await?;
        let tenant = lab.from.session(&lab.source(name)).await?;
        let key = format!("/registry/{key}");
        let put = "INSERT INTO kine (name, created, deleted, create_revision, prev_revision, lease, value) \
             VALUES ($1, 1, 0, 0, 0, 0, 'v')";
        tenant.execute(put, &[&key]).await?;
        drop(tenant);
        let migration = lab.migration(name, "first")?;
        assert_eq!(refusal(&migration).await, "KeyUnfit", "{name}");
        migration.abort().await?;
        let tenant = lab.from.session(&lab.source(name)).await?;
        tenant.execute("DELETE FROM kine WHERE name = $1", &[&key]).await?;
        lab.assert_stayed(name).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_mysql_that_takes_no_writes_any_more_is_named_and_the_tenant_comes_back() -> Result<()> {
    let lab = Lab::start((Kind::MySql, Kind::MySql)).await?;
    for steps in [0, 2, 6] {
        let tenant = format!("steps{steps}");
        lab.settle(&tenant).await?;
        let migration = lab.migration(&tenant, "first")?;
        assert!(advance(&migration, steps).await?);
        change(mariadb(&lab.to), Change::ReadOnly).await?;
        let error = finish(&lab.migration(&tenant, "first")?).await.expect_err("it is read-only");
        assert!(matches!(error, Error::Store { side: Side::Target, .. }), "{error}");
        assert_eq!(error.reason(), "ReadOnly", "{error}");
        // A session of before learns it as well.
        let error = finish(&migration).await.expect_err("it is read-only");
        assert_eq!(error.reason(), "ReadOnly", "{error}");
        migration.abort().await?;
        lab.assert_stayed(&tenant).await?;
        change(mariadb(&lab.to), Change::Writable).await?;
        migration.discard_target().await?;
        finish(&lab.migration(&tenant, "second")?).await?;
        lab.assert_moved(&tenant).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_mark_that_nobody_understands_keeps_everyone_out() -> Result<()> {
    let lab = Lab::start((Kind::MySql, Kind::MySql)).await?;
    lab.settle("blue").await?;
    let source: Account = lab.source("blue");
    let migration = lab.migration("blue", "first")?;
    assert_eq!(migration.run(Servers::Running, &mut unwatched).await?, Next::StopServers);
    let mut root = mariadb(&lab.from).superuser().await?;
    let spoil = "UPDATE _kamaji.migrations SET mark = '{}' WHERE schema_name = ?";
    root.exec_drop(spoil, (source.schema.as_str(),)).await?;
    root.disconnect().await?;
    assert_eq!(refusal(&migration).await, "Moving");
    assert_eq!(migration.abort().await.expect_err("whose is it?").reason(), "Moving");
    let refused = lab.from.store()?.ensure(&source).await.expect_err("nobody knows whether it has left");
    assert_eq!(refused.reason(), "Moving");
    assert!(!lab.from.takes_writes(&source).await?);
    Ok(())
}
