//! A tenant's kine in MariaDB.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use kamaji_datastore::account::{Account, Credential};
use kamaji_e2e::mariadb::MariaDb;
use mysql_async::{Conn, prelude::Queryable};

use super::{Content, LASTS};

/// The table as kine makes it.
const TABLE: &str = "\
CREATE TABLE IF NOT EXISTS kine (id BIGINT UNSIGNED AUTO_INCREMENT, name VARCHAR(630) CHARACTER SET ascii, \
 created INTEGER, deleted INTEGER, create_revision BIGINT UNSIGNED, prev_revision BIGINT UNSIGNED, lease INTEGER, \
 value MEDIUMBLOB, old_value MEDIUMBLOB, PRIMARY KEY (id)); \
CREATE INDEX kine_name_index ON kine (name); \
CREATE INDEX kine_name_id_index ON kine (name,id); \
CREATE INDEX kine_id_deleted_index ON kine (id,deleted); \
CREATE INDEX kine_prev_revision_index ON kine (prev_revision); \
CREATE UNIQUE INDEX kine_name_prev_revision_uindex ON kine (name, prev_revision)";

/// What kine leaves beside keys: its mark of compaction, a row for a gap, a key that was deleted, and gaps.
const HISTORY: &str = "\
INSERT INTO kine (id, name, created, deleted, create_revision, prev_revision, lease, value) VALUES \
 (1, 'compact_rev_key', 1, 0, NULL, 3, 0, ''), (2, 'gap-3', 0, 1, 0, 0, 0, NULL), \
 (3, '/registry/deleted', 1, 0, 0, 0, 0, 'x'), (5, '/registry/deleted', 0, 1, 3, 3, 0, 'x')";

/// The tenant's own connection to its database.
pub(crate) async fn session(server: &MariaDb, account: &Account) -> Result<Conn> {
    let Credential::Password(password) = &account.credential else { anyhow::bail!("it has a password") };
    let schema = account.schema.as_str();
    Ok(server.connect(account.user.as_str(), password.reveal(), Some(schema)).await?)
}

/// Whether the tenant can write with its own credentials. What it writes is gone afterwards.
pub(super) async fn takes_writes(server: &MariaDb, account: &Account) -> bool {
    let Ok(mut session) = session(server, account).await else { return false };
    let probe = "START TRANSACTION; INSERT INTO kine (id, name) VALUES (1000000000, 'probe'); ROLLBACK";
    let written = session.query_drop(probe).await.is_ok();
    let _ = session.disconnect().await;
    written
}

pub(crate) async fn fill(
    server: &MariaDb,
    account: &Account,
    wanted: &BTreeMap<String, Content>,
) -> Result<()> {
    let mut tenant = session(server, account).await?;
    tenant.query_drop(TABLE).await?;
    tenant.query_drop(HISTORY).await?;
    let older = "INSERT INTO kine (name, created, deleted, create_revision, prev_revision, lease, value) \
         VALUES (?, 1, 0, NULL, 0, 0, 'older')";
    let newer = "INSERT INTO kine (name, created, deleted, create_revision, prev_revision, lease, value, old_value) \
         SELECT name, 0, 0, id, id, ?, ?, 'older' FROM kine WHERE name = ?";
    let name = |key: &String| format!("/registry/{key}");
    tenant.query_drop("START TRANSACTION").await?;
    tenant.exec_batch(older, wanted.keys().map(|key| (name(key),))).await?;
    let lease = |content: &Content| if content.expires { LASTS } else { 0 };
    // The server takes no such statement for many rows at once.
    let newer = tenant.prep(newer).await?;
    for (key, content) in wanted {
        tenant.exec_drop(&newer, (lease(content), content.value.as_slice(), name(key))).await?;
    }
    tenant.query_drop("COMMIT").await?;
    tenant.disconnect().await?;
    Ok(())
}

pub(super) async fn contents(server: &MariaDb, account: &Account) -> Result<BTreeMap<String, Content>> {
    let mut root = server.superuser().await?;
    let live = format!(
        "SELECT name, value, lease FROM `{0}`.kine WHERE id IN (SELECT MAX(id) FROM `{0}`.kine \
         WHERE name LIKE '/registry/%' GROUP BY name) AND deleted = 0",
        account.schema
    );
    let rows: Vec<(String, Vec<u8>, i64)> = root.query(live).await?;
    root.disconnect().await?;
    let content = |(name, value, lease): (String, Vec<u8>, i64)| {
        (name.trim_start_matches("/registry/").to_owned(), Content { value, expires: lease > 0 })
    };
    Ok(rows.into_iter().map(content).collect())
}

pub(super) async fn revision(server: &MariaDb, account: &Account) -> Result<i64> {
    one(server, &format!("SELECT MAX(id) FROM `{}`.kine", account.schema)).await
}

pub(super) async fn rows(server: &MariaDb, account: &Account) -> Result<Vec<String>> {
    let mut root = server.superuser().await?;
    let rows = format!(
        "SELECT CONCAT_WS(' ', id, HEX(name), created, deleted, COALESCE(create_revision, ''), prev_revision, lease, \
         COALESCE(MD5(value), ''), COALESCE(MD5(old_value), '')) FROM `{}`.kine ORDER BY id",
        account.schema
    );
    let rows = root.query(rows).await?;
    root.disconnect().await?;
    Ok(rows)
}

/// The only number of an answer.
pub(crate) async fn one(server: &MariaDb, statement: &str) -> Result<i64> {
    let mut root = server.superuser().await?;
    let found: Option<i64> = root.query_first(statement).await?;
    root.disconnect().await?;
    found.context("one row")
}
