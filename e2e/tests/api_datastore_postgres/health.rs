//! What is wrong with a datastore is told apart, and never waited for without end.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use jiff::SignedDuration;
use kamaji_datastore::{
    config::{Deadlines, Endpoint, Settings, Tls},
    store::Store,
};
use kamaji_e2e::{
    etcd::{
        client_leaf, now,
        proxy::{Mode, Proxy},
    },
    postgres::{BOTH, CERTIFIED, CLEAR, OPERATOR, PASSWORD, Postgres, SUPERUSER, Shown, Statements, TRUSTED},
};
use kamaji_pki::{Authority, Leaf, Pair};
use zeroize::Zeroizing;

use super::{account, assert_complete, assert_gone, operator};

/// Short enough for a test of what never answers.
const SHORT: Deadlines =
    Deadlines { connect: Duration::from_secs(3), request: Duration::from_secs(3), pause: Duration::ZERO };

/// All verbs fail with this reason; returns the words of the first.
async fn assert_all_fail(settings: Settings, reason: &str) -> Result<String> {
    let store = Store::postgres(settings)?;
    let account = account("unhealthy", "unhealthy");
    let errors = [
        store.check().await.map(|_| ()).expect_err("check"),
        store.ensure(&account).await.map(|_| ()).expect_err("ensure"),
        store.remove(&account).await.expect_err("remove"),
        store.residue(&account).await.map(|_| ()).expect_err("residue"),
    ];
    for error in &errors {
        assert_eq!(error.reason(), reason, "{}", words(error));
    }
    Ok(words(&errors[0]))
}

/// An error with its causes.
fn words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn showing(settings: Settings, pair: &Pair) -> Settings {
    let key = Zeroizing::new(pair.key().pem().as_bytes().to_vec());
    let client = Some((pair.certificate().pem().into(), key));
    let tls = settings.tls.map(|tls| Tls { client, ..tls });
    Settings { tls, ..settings }
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
    let proxy = Proxy::start(postgres.endpoint()).await?;
    let endpoints = vec![proxy.endpoint().clone()];
    let settings = Settings { endpoints, deadlines: SHORT, ..postgres.settings() };
    let store = Store::postgres(settings.clone())?;
    store.check().await?;
    proxy.set(Mode::Swallow);
    assert_eq!(store.check().await.expect_err("silent").reason(), "Timeout");
    let words = assert_all_fail(settings.clone(), "Unreachable").await?;
    assert!(words.contains("no answer within"), "{words}");
    proxy.set(Mode::Refuse);
    let words = assert_all_fail(settings, "Unreachable").await?;
    assert!(words.contains(&proxy.endpoint().to_string()), "{words}");
    proxy.set(Mode::Pass);
    store.check().await?;
    Ok(())
}

#[tokio::test]
async fn an_unreachable_datastore_is_left_alone_for_a_while() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let proxy = Proxy::start(postgres.endpoint()).await?;
    proxy.set(Mode::Refuse);
    let deadlines = Deadlines { pause: Duration::from_hours(1), ..SHORT };
    let endpoints = vec![proxy.endpoint().clone()];
    let store = Store::postgres(Settings { endpoints, deadlines, ..postgres.settings() })?;
    let account = account("paused", "paused");
    assert_eq!(store.ensure(&account).await.expect_err("refused").reason(), "Unreachable");
    let tried = proxy.connections();
    for _ in 0..20 {
        assert_eq!(store.ensure(&account).await.expect_err("paused").reason(), "Unreachable");
    }
    assert_eq!(proxy.connections(), tried, "nobody asked");
    proxy.set(Mode::Pass);
    store.check().await?;
    store.ensure(&account).await?;
    store.remove(&account).await?;
    Ok(())
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
