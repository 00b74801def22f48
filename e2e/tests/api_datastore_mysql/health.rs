//! What is wrong with a datastore is told apart, and never waited for without end.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use jiff::SignedDuration;
use kamaji_datastore::{
    config::{Deadlines, Endpoint, Settings},
    store::Store,
};
use kamaji_e2e::{
    credentials::Shown,
    etcd::{client_leaf, now, proxy::Proxy},
    faults::{self, showing, words},
    mariadb::{BOTH, CERTIFIED, CLEAR, MariaDb, OPERATOR, PASSWORD, RIGHTS, Statements, TRUSTED},
};
use kamaji_pki::{Authority, Leaf};
use mysql_async::prelude::Queryable;

use super::{account, assert_complete, assert_gone, operator};

/// All verbs fail with this reason; returns the words of the first.
async fn assert_all_fail(settings: Settings, reason: &str) -> Result<String> {
    let account = account("unhealthy", "unhealthy");
    Ok(faults::assert_all_fail(&Store::mysql(settings)?, &account, reason).await)
}

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
async fn passwords_certificates_and_both_open_a_session() -> Result<()> {
    let mariadb = MariaDb::shared().await?;
    let settings = |user: &str, password| -> Result<Settings> {
        Ok(showing(mariadb.settings_as(user, password), &mariadb.certificate_of(user)?))
    };
    Store::mysql(settings(BOTH, PASSWORD)?)?.check().await?;
    Store::mysql(settings(CERTIFIED, "")?)?.check().await?;
    let clear = Settings { tls: None, ..mariadb.settings_as(CLEAR, PASSWORD) };
    Store::mysql(clear)?.check().await?;
    // Neither is left out silently: not the password, not the certificate, not TLS.
    for settings in [
        settings(BOTH, "wrong")?,
        settings(BOTH, "")?,
        mariadb.settings_as(BOTH, PASSWORD),
        mariadb.settings_as(CERTIFIED, ""),
        showing(mariadb.settings_as(CERTIFIED, ""), &mariadb.certificate_of(BOTH)?),
        Settings { tls: None, ..mariadb.settings() },
        mariadb.settings_as(OPERATOR, "wrong"),
        mariadb.settings_as(OPERATOR, ""),
        mariadb.settings_as("nobody-of-that-name", PASSWORD),
    ] {
        let words = assert_all_fail(settings, "Unauthenticated").await?;
        assert!(!words.contains(PASSWORD), "{words}");
    }
    Ok(())
}

#[tokio::test]
async fn client_certificates_that_the_server_does_not_accept_are_told_apart_from_a_dead_server() -> Result<()>
{
    let mariadb = MariaDb::shared().await?;
    let other = Authority::create("other", now(), SignedDuration::from_hours(1))?;
    let foreign = other.issue(&client_leaf(BOTH), now())?;
    let short = Leaf { valid_for: SignedDuration::from_hours(1), ..client_leaf(BOTH) };
    let expired = mariadb.authority().issue(&short, now() - SignedDuration::from_hours(2))?;
    for pair in [foreign, expired] {
        let settings = showing(mariadb.settings_as(BOTH, PASSWORD), &pair);
        assert_all_fail(settings, "Unauthenticated").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_not_the_one_we_trust_is_not_talked_to() -> Result<()> {
    let mariadb = MariaDb::shared().await?;
    let other = Authority::create("other", now(), SignedDuration::from_hours(1))?;
    let mut settings = mariadb.settings();
    settings.tls.as_mut().context("TLS is set")?.ca_pem = other.certificate().pem().into();
    assert_all_fail(settings, "ServerNotTrusted").await?;
    let proxy = Proxy::start_at(SocketAddr::from(([127, 0, 0, 2], 0)), mariadb.endpoint()).await?;
    let settings = Settings { endpoints: vec![proxy.endpoint().clone()], ..mariadb.settings() };
    assert_all_fail(settings, "ServerNotTrusted").await?;
    let expired = MariaDb::start_with(Statements::None, Shown::Expired).await?;
    let mut settings = expired.settings();
    // It is not waited for: at first nobody listens yet.
    let words = loop {
        let error = Store::mysql(settings.clone())?.check().await.expect_err("expired");
        if error.reason() != "Unreachable" {
            break words(&error);
        }
        tokio::task::yield_now().await;
    };
    assert!(words.contains("not trusted") && words.contains("xpired"), "{words}");
    settings.basic_auth = None;
    assert_eq!(Store::mysql(settings).expect_err("no name").reason(), "InvalidSettings");
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
async fn silence_and_absence_are_told_in_time() -> Result<()> {
    let mariadb = MariaDb::shared().await?;
    let account = account("silent", "silent");
    faults::silence_and_absence_are_told(mariadb.endpoint(), mariadb.settings(), Store::mysql, &account).await
}

#[tokio::test]
async fn an_unreachable_datastore_is_left_alone_for_a_while() -> Result<()> {
    let mariadb = MariaDb::shared().await?;
    let account = account("paused", "paused");
    faults::an_unreachable_one_is_left_alone(mariadb.endpoint(), mariadb.settings(), Store::mysql, &account)
        .await
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
