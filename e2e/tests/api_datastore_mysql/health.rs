//! What is wrong with a datastore is told apart, and never waited for without end.

use std::time::Duration;

use anyhow::{Context, Result};
use kamaji_datastore::{
    config::{Deadlines, Endpoint, Settings},
    store::Store,
};
use kamaji_e2e::{
    faults::{self, words},
    mariadb::{MariaDb, PASSWORD, RIGHTS, TRUSTED},
};
use mysql_async::prelude::Queryable;

use super::{account, assert_complete, assert_gone, operator};

/// All verbs fail with this reason; returns the words of the first.
async fn assert_all_fail(settings: Settings, reason: &str) -> Result<String> {
    let account = account("unhealthy", "unhealthy");
    Ok(faults::assert_all_fail(&Store::mysql(settings)?, &account, reason).await)
}

kamaji_e2e::test_logins!(
    MariaDb,
    account("unhealthy", "unhealthy"),
    [
        passwords_certificates_and_both_open_a_session,
        client_certificates_that_the_server_does_not_accept_are_told_apart_from_a_dead_server,
        a_server_that_is_not_the_one_we_trust_is_not_talked_to,
    ]
);
kamaji_e2e::test_logins!(MariaDb, account("silent", "silent"), [silence_and_absence_are_told_in_time]);
kamaji_e2e::test_logins!(
    MariaDb,
    account("paused", "paused"),
    [an_unreachable_datastore_is_left_alone_for_a_while]
);

#[tokio::test]
async fn a_sound_datastore_says_what_it_is() -> Result<()> {
    let mariadb = MariaDb::shared().await?;
    let health = operator(mariadb)?.check().await?;
    assert_eq!(health.endpoint, mariadb.endpoint().to_string());
    assert!(health.version.starts_with("10.11."), "{health:?}");
    assert!(health.used_bytes > 100_000 && health.quota_bytes.is_none(), "{health:?}");
    assert!(!operator(mariadb)?.initialise().await?, "nothing has to be done");
    Ok(())
}

#[tokio::test]
async fn a_server_that_asks_nobody_is_noticed() -> Result<()> {
    let mariadb = MariaDb::shared().await?;
    let error = Store::mysql(mariadb.settings_as(TRUSTED, ""))?.check().await.expect_err("trusted");
    assert_eq!(error.reason(), "AuthDisabled", "{error}");
    Ok(())
}

#[tokio::test]
async fn missing_rights_are_named() -> Result<()> {
    let mariadb = MariaDb::shared().await?;
    let mut root = mariadb.superuser().await?;
    for right in RIGHTS.split(", ") {
        let others: Vec<_> = RIGHTS.split(", ").filter(|other| *other != right).collect();
        for statement in [
            format!("CREATE USER poor@'%' IDENTIFIED BY '{PASSWORD}'"),
            format!("GRANT {} ON *.* TO poor@'%' WITH GRANT OPTION", others.join(", ")),
        ] {
            root.query_drop(statement).await?;
        }
        let store = Store::mysql(mariadb.settings_as("poor", PASSWORD))?;
        let error = store.check().await.expect_err("lacks a right");
        assert_eq!(error.reason(), "Forbidden", "{right}: {}", words(&error));
        assert!(words(&error).contains(&format!("not {right} on")), "{}", words(&error));
        root.query_drop("DROP USER poor@'%'").await?;
    }
    root.query_drop(format!("CREATE USER poor@'%' IDENTIFIED BY '{PASSWORD}'")).await?;
    root.query_drop(format!("GRANT {RIGHTS} ON *.* TO poor@'%'")).await?;
    let error = Store::mysql(mariadb.settings_as("poor", PASSWORD))?.check().await.expect_err("no option");
    assert!(words(&error).contains("GRANT OPTION"), "{}", words(&error));
    root.query_drop("DROP USER poor@'%'").await?;
    Ok(())
}

#[tokio::test]
async fn a_read_only_server_is_named_and_passed_over() -> Result<()> {
    let (reader, writer) = tokio::try_join!(MariaDb::start(), MariaDb::start())?;
    let mut root = reader.superuser().await?;
    let (standing, writing) = (operator(&reader)?, operator(&reader)?);
    standing.check().await?;
    let kept = account("kept", "kept");
    writing.ensure(&kept).await?;
    root.query_drop("SET GLOBAL read_only = 1").await?;
    let error = standing.check().await.expect_err("read-only");
    assert_eq!(error.reason(), "ReadOnly");
    assert!(words(&error).contains("primary"), "{}", words(&error));
    // On a session that stood before, a statement is refused, and says why.
    assert_eq!(writing.remove(&kept).await.expect_err("read-only").reason(), "ReadOnly");
    let words = assert_all_fail(reader.settings(), "ReadOnly").await?;
    assert!(words.contains(&reader.endpoint().to_string()), "{words}");
    // Of several servers the one is used that takes writes, wherever it stands in the list.
    let mut settings = writer.settings();
    let both = String::from_utf8(settings.tls.as_ref().context("TLS is set")?.ca_pem.clone())?;
    let both = format!("{both}\n{}", reader.authority().certificate().pem());
    settings.tls.as_mut().context("TLS is set")?.ca_pem = both.into();
    let dead = Endpoint::parse("127.0.0.1:1")?;
    settings.endpoints = vec![dead, reader.endpoint().clone(), writer.endpoint().clone()];
    let store = Store::mysql(settings)?;
    assert_eq!(store.check().await.context("three")?.endpoint, writer.endpoint().to_string());
    let account = account("written", "written");
    store.ensure(&account).await.context("ensure at writer")?;
    assert_complete(&writer, &account).await?;
    store.remove(&account).await?;
    assert_gone(&writer, &account).await?;
    // Cured, it serves at once.
    root.query_drop("SET GLOBAL read_only = 0").await?;
    standing.check().await.context("cured")?;
    writing.remove(&kept).await.context("removed")?;
    assert_gone(&reader, &kept).await
}

#[tokio::test]
async fn a_statement_that_waits_for_others_locks_is_given_up_in_time() -> Result<()> {
    let mariadb = MariaDb::shared().await?;
    let mut root = mariadb.superuser().await?;
    let deadlines = Deadlines { request: Duration::from_secs(2), ..faults::SHORT };
    let store = Store::mysql(Settings { deadlines, ..mariadb.settings() })?;
    let account = account("locked", "locked");
    store.ensure(&account).await?;
    root.query_drop("CREATE TABLE locked.kine (value text)").await?;
    // An administrator who looks at it in a transaction is not ended as a tenant's own sessions are.
    root.query_drop("START TRANSACTION").await?;
    root.query_drop("SELECT * FROM locked.kine").await?;
    let error = store.remove(&account).await.expect_err("held up");
    assert_eq!(error.reason(), "Timeout", "{}", words(&error));
    root.query_drop("COMMIT").await?;
    store.remove(&account).await?;
    assert_gone(mariadb, &account).await
}
