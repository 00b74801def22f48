//! What is wrong with a datastore is told apart, and never waited for without end.

use anyhow::{Context, Result};
use kamaji_datastore::{
    config::{Endpoint, Settings},
    store::Store,
};
use kamaji_e2e::{
    faults::{self, words},
    postgres::{PASSWORD, Postgres, SUPERUSER, TRUSTED},
};

use super::{account, assert_complete, assert_gone, operator};

/// All verbs fail with this reason; returns the words of the first.
async fn assert_all_fail(settings: Settings, reason: &str) -> Result<String> {
    let account = account("unhealthy", "unhealthy");
    Ok(faults::assert_all_fail(&Store::postgres(settings)?, &account, reason).await)
}

kamaji_e2e::test_logins!(
    Postgres,
    account("unhealthy", "unhealthy"),
    [
        passwords_certificates_and_both_open_a_session,
        client_certificates_that_the_server_does_not_accept_are_told_apart_from_a_dead_server,
        a_server_that_is_not_the_one_we_trust_is_not_talked_to,
    ]
);
kamaji_e2e::test_logins!(Postgres, account("silent", "silent"), [silence_and_absence_are_told_in_time]);
kamaji_e2e::test_logins!(
    Postgres,
    account("paused", "paused"),
    [an_unreachable_datastore_is_left_alone_for_a_while]
);

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
