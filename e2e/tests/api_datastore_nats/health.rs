//! What is wrong with a datastore is told apart, and never waited for without end.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use jiff::SignedDuration;
use kamaji_datastore::{
    config::{BasicAuth, Endpoint, Settings},
    store::Store,
};
use kamaji_e2e::{
    credentials::Shown,
    database::{self, Change},
    etcd::{
        client_leaf, now,
        proxy::{Mode, Proxy},
    },
    faults::{self, showing, words},
    nats::{Door, JetStream, Nats, OPERATOR, OWNER, Options, PASSWORD, PLAIN, READER, SMALL, SMALL_BYTES},
};
use kamaji_pki::{Authority, Leaf};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{account, assert_complete, assert_gone, operator, owner};

/// All verbs fail with this reason; returns the words of the first.
async fn assert_all_fail(settings: Settings, reason: &str) -> Result<String> {
    let store = Store::nats(settings)?;
    let account = account("unhealthy");
    let errors = [
        store.check().await.map(|_| ()).expect_err("check"),
        store.ensure(&account).await.map(|_| ()).expect_err("ensure"),
        store.remove(&account).await.expect_err("remove"),
        store.residue(&account).await.map(|_| ()).expect_err("residue"),
        store.prove_confined(&account, b"", b"").await.expect_err("confinement"),
    ];
    for error in &errors {
        assert_eq!(error.reason(), reason, "{}", words(error));
    }
    let words = words(&errors[0]);
    assert!(!words.contains(PASSWORD), "{words}");
    Ok(words)
}

async fn behind(door: Door) -> Result<Nats> {
    Nats::start_with(Options { door, ..Options::default() }).await
}

fn knowing(settings: Settings, username: &str, password: &str) -> Settings {
    let password = Zeroizing::new(password.to_owned());
    Settings { basic_auth: Some(BasicAuth { username: username.to_owned(), password }), ..settings }
}

#[tokio::test]
async fn a_sound_datastore_says_what_it_is_and_nothing_is_left_of_the_question() -> Result<()> {
    let nats = Nats::start().await?;
    let (store, hand) = (operator(&nats)?, owner(&nats).await?);
    let health = store.check().await?;
    assert_eq!(health.endpoint, nats.endpoint().to_string());
    assert!(health.version.starts_with("2."), "{health:?}");
    assert_eq!((health.used_bytes, health.quota_bytes), (0, None));
    assert!(!store.initialise().await?, "nothing has to be done");
    assert!(hand.streams().await?.is_empty());
    store.ensure(&account("measured")).await?;
    let before = hand.streams().await?;
    assert!(store.check().await?.used_bytes > 0);
    assert_eq!(hand.streams().await?, before);
    assert!(
        Store::nats(Settings::default()).is_err() && Store::nats(knowing(nats.settings(), "", "x")).is_err()
    );
    Ok(())
}

#[tokio::test]
async fn passwords_certificates_and_both_open_a_session_and_none_is_left_out_silently() -> Result<()> {
    let nats = Nats::start().await?;
    for settings in [
        knowing(nats.settings(), OPERATOR, "wrong"),
        knowing(nats.settings(), OPERATOR, ""),
        knowing(nats.settings(), "nobody-of-that-name", PASSWORD),
        Settings { basic_auth: None, ..nats.settings() },
    ] {
        assert_all_fail(settings, "Unauthenticated").await?;
    }
    let both = behind(Door::Both).await?;
    let certificate = both.certificate()?;
    Store::nats(showing(both.settings(), &certificate))?.check().await?;
    for settings in [
        both.settings(),
        knowing(showing(both.settings(), &certificate), OPERATOR, "wrong"),
        Settings { basic_auth: None, ..showing(both.settings(), &certificate) },
    ] {
        assert_all_fail(settings, "Unauthenticated").await?;
    }
    let certified = behind(Door::Certificate).await?;
    let settings = Settings { basic_auth: None, ..certified.settings() };
    let store = Store::nats(showing(settings.clone(), &certified.certificate()?))?;
    store.check().await?;
    store.ensure(&account("certified")).await?;
    assert_all_fail(settings, "Unauthenticated").await?;
    Ok(())
}

#[tokio::test]
async fn client_certificates_that_the_server_does_not_accept_are_told_apart_from_a_dead_server() -> Result<()>
{
    let nats = behind(Door::Both).await?;
    let other = Authority::create("other", now(), SignedDuration::from_hours(1))?;
    let foreign = other.issue(&client_leaf("kamaji"), now())?;
    let short = Leaf { valid_for: SignedDuration::from_hours(1), ..client_leaf("kamaji") };
    let expired = nats.authority().issue(&short, now() - SignedDuration::from_hours(2))?;
    for pair in [foreign, expired] {
        assert_all_fail(showing(nats.settings(), &pair), "Unauthenticated").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_not_the_one_we_trust_is_not_talked_to() -> Result<()> {
    let nats = Nats::start().await?;
    let other = Authority::create("other", now(), SignedDuration::from_hours(1))?;
    let mut settings = nats.settings();
    settings.tls.as_mut().context("TLS is set")?.ca_pem = other.certificate().pem().into();
    assert_all_fail(settings, "ServerNotTrusted").await?;
    let proxy = Proxy::start_at(SocketAddr::from(([127, 0, 0, 2], 0)), nats.endpoint()).await?;
    let settings = Settings { endpoints: vec![proxy.endpoint().clone()], ..nats.settings() };
    assert_all_fail(settings, "ServerNotTrusted").await?;
    let expired = Nats::start().await?;
    database::change(&expired, Change::Shows(Shown::Expired)).await?;
    let words = assert_all_fail(expired.settings(), "ServerNotTrusted").await?;
    assert!(words.contains("expired"), "{words}");
    Ok(())
}

#[tokio::test]
async fn clear_text_and_tls_are_never_taken_for_each_other() -> Result<()> {
    let (tls, clear) = tokio::try_join!(Nats::start(), behind(Door::Clear))?;
    let words = assert_all_fail(Settings { tls: None, ..tls.settings() }, "ServerNotTrusted").await?;
    assert!(words.contains("demands TLS"), "{words}");
    assert_all_fail(Settings { tls: tls.settings().tls, ..clear.settings() }, "ServerNotTrusted").await?;
    let store = Store::nats(clear.settings())?;
    store.check().await?;
    store.ensure(&account("clear")).await?;
    store.remove(&account("clear")).await?;
    Ok(())
}

#[tokio::test]
async fn a_server_that_asks_nobody_who_he_is_is_not_for_tenants() -> Result<()> {
    let nats = behind(Door::Open).await?;
    let error = operator(&nats)?.check().await.expect_err("everyone is let in");
    assert_eq!(error.reason(), "AuthDisabled");
    // Whoever says nothing gets to another account than this one's.
    Store::nats(nats.settings_as(kamaji_e2e::nats::NEIGHBOUR))?.check().await?;
    Ok(())
}

#[tokio::test]
async fn without_jetstream_that_is_what_is_said() -> Result<()> {
    let (off, on) = tokio::try_join!(
        Nats::start_with(Options { jet_stream: JetStream::Off, ..Options::default() }),
        Nats::start()
    )?;
    for settings in [off.settings(), off.settings_as(OWNER), on.settings_as(PLAIN)] {
        let words = assert_all_fail(settings, "JetStreamOff").await?;
        assert!(words.contains("JetStream"), "{words}");
    }
    Ok(())
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() -> Result<()> {
    let nats = Nats::start().await?;
    let store = Store::nats(nats.settings_as(READER))?;
    let error = store.check().await.expect_err("it may only look");
    assert_eq!(error.reason(), "Forbidden");
    assert!(words(&error).contains("STREAM.CREATE"), "{}", words(&error));
    let error = store.ensure(&account("narrow")).await.expect_err("it may only look");
    assert_eq!(error.reason(), "Forbidden", "{error}");
    assert!(owner(&nats).await?.streams().await?.is_empty());
    // The session is still good for what it may do.
    assert_eq!(store.usage(&account("narrow")).await?.bytes, None);
    Ok(())
}

#[tokio::test]
async fn silence_and_absence_are_told_in_time() -> Result<()> {
    let nats = Nats::start().await?;
    faults::silence_and_absence_are_told(nats.endpoint(), nats.settings(), Store::nats, &account("silent"))
        .await
}

#[tokio::test]
async fn an_unreachable_datastore_is_left_alone_for_a_while() -> Result<()> {
    let nats = Nats::start().await?;
    faults::an_unreachable_one_is_left_alone(
        nats.endpoint(),
        nats.settings(),
        Store::nats,
        &account("paused"),
    )
    .await
}

#[tokio::test]
async fn every_endpoint_is_used_and_a_lost_connection_is_made_anew() -> Result<()> {
    let nats = Nats::start().await?;
    let hand = owner(&nats).await?;
    let (one, other) = tokio::try_join!(Proxy::start(nats.endpoint()), Proxy::start(nats.endpoint()))?;
    let endpoints = vec![Endpoint::parse("127.0.0.1:1")?, one.endpoint().clone(), other.endpoint().clone()];
    let store = Store::nats(Settings { endpoints, ..nats.settings() })?;
    assert_eq!(store.check().await?.endpoint, one.endpoint().to_string());
    one.set(Mode::Refuse);
    let account = account("wandering");
    // The session was cut without a word to us, or is: either way the other server is asked.
    store.ensure(&account).await?;
    one.set(Mode::Pass);
    store.ensure(&account).await?;
    assert_complete(&hand, &account).await?;
    store.remove(&account).await?;
    assert_gone(&hand, &account).await
}

#[tokio::test]
async fn a_full_account_and_a_full_server_are_told_and_recover() -> Result<()> {
    let small = Options { jet_stream: JetStream::UpTo(SMALL_BYTES), ..Options::default() };
    let (of_account, of_server) = tokio::try_join!(Nats::start(), Nats::start_with(small))?;
    for (nats, user, eye) in [(&of_account, SMALL, SMALL), (&of_server, OPERATOR, OWNER)] {
        let (store, hand) = (Store::nats(nats.settings_as(user))?, nats.connect(eye).await?);
        let account = account("greedy");
        store.ensure(&account).await?;
        store.check().await?;
        let mut key = 0;
        while hand.put(&format!("$KV.greedy.{key}"), &"x".repeat(8000)).await.is_ok() {
            key += 1;
            assert!(key < 100, "it is never full");
        }
        // As long as one more small message finds room, there is room.
        while hand.put(&format!("$KV.greedy.s{key}"), "x").await.is_ok() {
            key += 1;
            assert!(key < 5000, "it is never full");
        }
        let error = store.check().await.expect_err("it is full");
        assert_eq!(error.reason(), "NoSpace", "{}", words(&error));
        hand.api("STREAM.PURGE.KV_greedy", &Value::Null).await?;
        store.check().await?;
        store.remove(&account).await?;
        assert_gone(&hand, &account).await?;
    }
    Ok(())
}
