//! What is wrong with a datastore is told apart, and never waited for without end.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use jiff::SignedDuration;
use kamaji_datastore::{
    config::{Endpoint, Settings},
    store::Store,
};
use kamaji_e2e::{
    credentials::Shown,
    etcd::{client_leaf, now, proxy::Proxy},
    faults::{self, showing, words},
    postgres::{BOTH, CERTIFIED, CLEAR, OPERATOR, PASSWORD, Postgres, SUPERUSER, Statements, TRUSTED},
};
use kamaji_pki::{Authority, Leaf};

use super::{account, assert_complete, assert_gone, operator};

/// All verbs fail with this reason; returns the words of the first.
async fn assert_all_fail(settings: Settings, reason: &str) -> Result<String> {
    let account = account("unhealthy", "unhealthy");
    Ok(faults::assert_all_fail(&Store::postgres(settings)?, &account, reason).await)
}

#[tokio::test]
async fn a_sound_datastore_says_what_it_is() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let health = operator(postgres)?.check().await?;
    assert_eq!(health.endpoint, postgres.endpoint().to_string());
    assert!(health.version.starts_with("15."), "{health:?}");
    assert!(health.used_bytes > 1_000_000 && health.quota_bytes.is_none(), "{health:?}");
    assert!(!operator(postgres)?.initialise().await?, "nothing has to be done");
    Ok(())
}

#[tokio::test]
async fn passwords_certificates_and_both_open_a_session() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let settings = |user: &str, password| -> Result<Settings> {
        Ok(showing(postgres.settings_as(user, password), &postgres.certificate_of(user)?))
    };
    Store::postgres(settings(BOTH, PASSWORD)?)?.check().await?;
    Store::postgres(settings(CERTIFIED, "")?)?.check().await?;
    let clear = Settings { tls: None, ..postgres.settings_as(CLEAR, PASSWORD) };
    Store::postgres(clear)?.check().await?;
    // Neither is left out silently: not the password, not the certificate, not TLS.
    for settings in [
        settings(BOTH, "wrong")?,
        settings(BOTH, "")?,
        postgres.settings_as(BOTH, PASSWORD),
        postgres.settings_as(CERTIFIED, ""),
        showing(postgres.settings_as(CERTIFIED, ""), &postgres.certificate_of(BOTH)?),
        Settings { tls: None, ..postgres.settings() },
        postgres.settings_as(OPERATOR, "wrong"),
        postgres.settings_as(OPERATOR, ""),
        postgres.settings_as("nobody-of-that-name", PASSWORD),
    ] {
        let words = assert_all_fail(settings, "Unauthenticated").await?;
        assert!(!words.contains(PASSWORD), "{words}");
    }
    Ok(())
}

#[tokio::test]
async fn client_certificates_that_the_server_does_not_accept_are_told_apart_from_a_dead_server() -> Result<()>
{
    let postgres = Postgres::shared().await?;
    let other = Authority::create("other", now(), SignedDuration::from_hours(1))?;
    let foreign = other.issue(&client_leaf(BOTH), now())?;
    let short = Leaf { valid_for: SignedDuration::from_hours(1), ..client_leaf(BOTH) };
    let expired = postgres.authority().issue(&short, now() - SignedDuration::from_hours(2))?;
    for pair in [foreign, expired] {
        let settings = showing(postgres.settings_as(BOTH, PASSWORD), &pair);
        assert_all_fail(settings, "Unauthenticated").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_not_the_one_we_trust_is_not_talked_to() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let other = Authority::create("other", now(), SignedDuration::from_hours(1))?;
    let mut settings = postgres.settings();
    settings.tls.as_mut().context("TLS is set")?.ca_pem = other.certificate().pem().into();
    assert_all_fail(settings, "ServerNotTrusted").await?;
    let proxy = Proxy::start_at(SocketAddr::from(([127, 0, 0, 2], 0)), postgres.endpoint()).await?;
    let settings = Settings { endpoints: vec![proxy.endpoint().clone()], ..postgres.settings() };
    assert_all_fail(settings, "ServerNotTrusted").await?;
    let expired = Postgres::start_with(Statements::Failed, Shown::Expired).await?;
    let mut settings = expired.settings();
    // It is not waited for: at first nobody listens yet.
    let words = loop {
        let error = Store::postgres(settings.clone())?.check().await.expect_err("expired");
        if error.reason() != "Unreachable" {
            break words(&error);
        }
        tokio::task::yield_now().await;
    };
    assert!(words.contains("not trusted") && words.contains("xpired"), "{words}");
    settings.basic_auth = None;
    assert_eq!(Store::postgres(settings).expect_err("no name").reason(), "InvalidSettings");
    Ok(())
}

#[tokio::test]
async fn a_server_that_asks_nobody_is_noticed() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let error = Store::postgres(postgres.settings_as(TRUSTED, PASSWORD))?.check().await.expect_err("trusted");
    assert_eq!(error.reason(), "AuthDisabled", "{error}");
    Ok(())
}

#[tokio::test]
async fn missing_rights_are_named() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let root = postgres.superuser("postgres").await?;
    let make = |role: &str, rights: &str| format!("CREATE ROLE {role} LOGIN {rights} PASSWORD '{PASSWORD}'");
    for (role, rights) in [
        ("poor_a", "CREATEROLE"),
        ("poor_b", "CREATEDB"),
        ("poor_c", ""),
        ("poor_d", "CREATEDB CREATEROLE NOINHERIT"),
    ] {
        root.batch_execute(&make(role, rights)).await?;
        let error =
            Store::postgres(postgres.settings_as(role, PASSWORD))?.check().await.expect_err("lacks a right");
        assert_eq!(error.reason(), "Forbidden");
        assert!(words(&error).contains("CREATEROLE"), "{}", words(&error));
        root.batch_execute(&format!("DROP ROLE {role}")).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_read_only_server_is_named_and_passed_over() -> Result<()> {
    let (reader, writer) = tokio::try_join!(Postgres::start(), Postgres::start())?;
    let root = reader.superuser("postgres").await?;
    let standing = operator(&reader)?;
    standing.check().await?;
    root.batch_execute("ALTER SYSTEM SET default_transaction_read_only = on").await?;
    root.batch_execute("SELECT pg_reload_conf()").await?;
    let words = loop {
        // The setting reaches sessions when their server process next looks.
        if let Err(error) = standing.check().await {
            assert_eq!(error.reason(), "ReadOnly");
            break words(&error);
        }
        tokio::task::yield_now().await;
    };
    assert!(words.contains(&reader.endpoint().to_string()) && words.contains("primary"), "{words}");
    assert_all_fail(reader.settings(), "ReadOnly").await?;
    // Of several servers the one is used that takes writes, wherever it stands in the list.
    let mut settings = writer.settings();
    let both = String::from_utf8(settings.tls.as_ref().context("TLS is set")?.ca_pem.clone())?;
    let both = format!("{both}\n{}", reader.authority().certificate().pem());
    settings.tls.as_mut().context("TLS is set")?.ca_pem = both.into();
    let dead = Endpoint::parse("127.0.0.1:1")?;
    settings.endpoints = vec![dead, reader.endpoint().clone(), writer.endpoint().clone()];
    let store = Store::postgres(settings)?;
    assert_eq!(store.check().await?.endpoint, writer.endpoint().to_string());
    let account = account("written", "written");
    store.ensure(&account).await?;
    let root = writer.superuser("postgres").await?;
    assert_complete(&writer, &root, &account).await?;
    store.remove(&account).await?;
    assert_gone(&root, &account).await
}

#[tokio::test]
async fn silence_and_absence_are_told_in_time() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let account = account("silent", "silent");
    faults::silence_and_absence_are_told(postgres.endpoint(), postgres.settings(), Store::postgres, &account)
        .await
}

#[tokio::test]
async fn an_unreachable_datastore_is_left_alone_for_a_while() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let account = account("paused", "paused");
    faults::an_unreachable_one_is_left_alone(
        postgres.endpoint(),
        postgres.settings(),
        Store::postgres,
        &account,
    )
    .await
}

#[tokio::test]
async fn what_a_full_or_foreign_server_says_is_in_the_error() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let root = postgres.superuser("postgres").await?;
    let store = Store::postgres(postgres.settings_as(SUPERUSER, PASSWORD))?;
    let account = account("owning", "owning");
    store.ensure(&account).await?;
    // What the tenant's role was given elsewhere keeps the role: the error says so.
    root.batch_execute("CREATE DATABASE elsewhere OWNER owning").await?;
    let error = store.remove(&account).await.expect_err("it owns another database");
    assert!(words(&error).contains("owning"), "{}", words(&error));
    root.batch_execute("DROP DATABASE elsewhere").await?;
    store.remove(&account).await?;
    assert_gone(&root, &account).await
}
