//! What is wrong with a datastore is told apart, and never waited for without end.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use etcd_client::{AlarmAction, AlarmType, MemberAddOptions, UserAddOptions};
use futures::future::join_all;
use jiff::SignedDuration;
use kamaji_datastore::{
    config::{BasicAuth, Deadlines, Settings, Tls},
    error::Error,
    store::Store,
};
use kamaji_e2e::etcd::{
    Authentication, Etcd, Options, client_leaf, now,
    proxy::{Mode, Proxy},
};
use kamaji_pki::{Authority, Leaf};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{account, assert_complete, assert_gone, operator};

/// Short enough for a test of what never answers.
const SHORT: Deadlines = Deadlines {
    connect: Duration::from_millis(500),
    request: Duration::from_millis(1500),
    pause: Duration::ZERO,
};

/// All verbs fail with this reason; returns the words of the first.
async fn assert_all_fail(settings: Settings, reason: &str) -> Result<String> {
    let store = Store::etcd(settings)?;
    let account = account("unhealthy", "unhealthy");
    let check = store.check().await.map(|_| ()).expect_err("check");
    let others = [
        check,
        store.ensure(&account).await.map(|_| ()).expect_err("ensure"),
        store.remove(&account).await.expect_err("remove"),
        store.residue(&account).await.map(|_| ()).expect_err("residue"),
    ];
    for error in &others {
        assert_eq!(error.reason(), reason, "{}", words(error));
    }
    Ok(words(&others[0]))
}

/// An error with its causes.
fn words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[tokio::test]
async fn a_sound_datastore_says_what_it_is() -> Result<()> {
    let etcd = Etcd::shared().await?;
    let health = operator(etcd)?.check().await?;
    assert_eq!(health.endpoint, etcd.endpoint().to_string());
    assert!(health.version.starts_with("3.6."), "{health:?}");
    assert!(
        health.used_bytes > 0 && health.quota_bytes.is_some_and(|quota| quota > health.used_bytes),
        "{health:?}"
    );
    Ok(())
}

#[tokio::test]
async fn authentication_that_is_off_is_noticed() -> Result<()> {
    let etcd =
        Etcd::start_with(Options { authentication: Authentication::Off, ..Options::default() }).await?;
    let words = assert_all_fail(etcd.settings(), "AuthDisabled").await?;
    assert!(words.contains(&etcd.endpoint().to_string()), "{words}");
    Ok(())
}

#[tokio::test]
async fn an_authority_that_did_not_sign_the_server_is_not_trusted() -> Result<()> {
    let etcd = Etcd::shared().await?;
    let other = Authority::create("other", now(), SignedDuration::from_hours(1))?;
    let mut settings = etcd.settings();
    settings.tls.as_mut().context("TLS is set")?.ca_pem = other.certificate().pem().into();
    assert_all_fail(settings, "ServerNotTrusted").await?;
    Ok(())
}

#[tokio::test]
async fn a_server_of_another_name_is_not_trusted() -> Result<()> {
    let etcd = Etcd::shared().await?;
    let proxy = Proxy::start_at(SocketAddr::from(([127, 0, 0, 2], 0)), etcd.endpoint()).await?;
    let settings = Settings { endpoints: vec![proxy.endpoint().clone()], ..etcd.settings() };
    assert_all_fail(settings, "ServerNotTrusted").await?;
    Ok(())
}

#[tokio::test]
async fn client_certificates_that_the_server_does_not_accept_are_told_apart_from_a_dead_server() -> Result<()>
{
    let etcd = Etcd::shared().await?;
    let other = Authority::create("other", now(), SignedDuration::from_hours(1))?;
    let foreign = other.issue(&client_leaf("root"), now())?;
    let yesterday = now() - SignedDuration::from_hours(2);
    let short = Leaf { valid_for: SignedDuration::from_hours(1), ..client_leaf("root") };
    let expired = Authority::from_pem(
        etcd.authority().certificate().pem().as_bytes(),
        etcd.authority().key().pem().as_bytes(),
    )?
    .issue(&short, yesterday)?;
    // The server's word may be lost with the connection now and then: it is asked often enough to see that.
    for _ in 0..10 {
        assert_all_fail(etcd.settings_with(&foreign), "Unauthenticated").await?;
        assert_all_fail(etcd.settings_with(&expired), "Unauthenticated").await?;
        let mut none = etcd.settings();
        none.tls.as_mut().context("TLS is set")?.client = None;
        assert_all_fail(none, "Unauthenticated").await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_identity_without_rights_is_forbidden_everything() -> Result<()> {
    let etcd = Etcd::start().await?;
    let words = assert_all_fail(etcd.settings_as("nobody-knows-me")?, "Forbidden").await?;
    assert!(words.contains("role root"), "{words}");
    let tenant = account("curious", "curious");
    let store = operator(&etcd)?;
    store.ensure(&tenant).await?;
    assert_all_fail(etcd.settings_as("curious")?, "Forbidden").await?;
    store.remove(&tenant).await?;
    Ok(())
}

#[tokio::test]
async fn a_password_serves_as_well_as_a_certificate() -> Result<()> {
    let etcd = Etcd::start().await?;
    let mut root = etcd.root().await?;
    root.user_add("operator", "right", None::<UserAddOptions>).await?;
    root.user_grant_role("operator", "root").await?;
    let with = |password: &str| -> Result<Settings> {
        let login =
            BasicAuth { username: "operator".to_owned(), password: Zeroizing::new(password.to_owned()) };
        Ok(Settings { basic_auth: Some(login), ..etcd.settings_as("nobody")? })
    };
    let store = Store::etcd(with("right")?)?;
    let account = account("by-password", "by-password");
    store.check().await?;
    store.ensure(&account).await?;
    assert_complete(&mut root, &account).await?;
    // Users and roles change under it, and so does the password: it logs in again, or says that it cannot.
    for n in 0..3 {
        root.role_add(format!("r{n}")).await?;
        store.check().await?;
    }
    store.remove(&account).await?;
    assert_gone(&mut root, &account).await?;
    let words = assert_all_fail(with("wrong")?, "Unauthenticated").await?;
    assert!(!words.contains("wrong"), "{words}");
    Ok(())
}

#[tokio::test]
async fn a_dead_endpoint_is_unreachable_at_once_and_reached_when_it_is_back() -> Result<()> {
    let etcd = Etcd::start().await?;
    let proxy = Proxy::start(etcd.endpoint()).await?;
    let settings = Settings { endpoints: vec![proxy.endpoint().clone()], ..etcd.settings() };
    let store = Store::etcd(settings.clone())?;
    let account = account("dead", "dead");
    store.ensure(&account).await?;
    proxy.set(Mode::Refuse);
    let words = assert_all_fail(settings, "Unreachable").await?;
    assert!(words.contains(&proxy.endpoint().to_string()), "{words}");
    proxy.set(Mode::Pass);
    store.check().await?;
    store.remove(&account).await?;
    Ok(())
}

#[tokio::test]
async fn an_endpoint_that_swallows_everything_fails_within_the_deadline() -> Result<()> {
    let etcd = Etcd::shared().await?;
    let proxy = Proxy::start(etcd.endpoint()).await?;
    proxy.set(Mode::Swallow);
    let settings =
        Settings { endpoints: vec![proxy.endpoint().clone()], deadlines: SHORT, ..etcd.settings() };
    let started = Instant::now();
    let words = assert_all_fail(settings.clone(), "Unreachable").await?;
    assert!(started.elapsed() < SHORT.connect * 8, "{:?} for four verbs", started.elapsed());
    assert!(words.contains("no answer within"), "{words}");

    // A connection that worked and then falls silent.
    proxy.set(Mode::Pass);
    let store = Store::etcd(settings)?;
    store.check().await?;
    proxy.set(Mode::Swallow);
    let error = store.audit().await.expect_err("nothing answers");
    assert!(matches!(error, Error::Unreachable { .. } | Error::Timeout { .. }), "{}", self::words(&error));
    Ok(())
}

#[tokio::test]
async fn many_tenants_of_a_silent_datastore_make_one_attempt() -> Result<()> {
    let etcd = Etcd::shared().await?;
    let proxy = Proxy::start(etcd.endpoint()).await?;
    proxy.set(Mode::Swallow);
    let deadlines = Deadlines { pause: Duration::from_hours(1), ..SHORT };
    let store =
        Store::etcd(Settings { endpoints: vec![proxy.endpoint().clone()], deadlines, ..etcd.settings() })?;
    let accounts: Vec<_> = (0..10).map(|n| account(&format!("silent-{n}"), "silent")).collect();
    for failed in join_all(accounts.iter().map(|account| store.ensure(account))).await {
        assert_eq!(failed.expect_err("nothing answers").reason(), "Unreachable");
    }
    assert_eq!(proxy.connections(), 1);
    // A check does not wait for the end of the pause, and ends it.
    proxy.set(Mode::Pass);
    assert_eq!(store.audit().await.expect_err("the pause lasts").reason(), "Unreachable");
    store.check().await?;
    store.audit().await?;
    assert_eq!(proxy.connections(), 2);
    Ok(())
}

#[tokio::test]
async fn another_member_serves_when_one_is_dead_or_silent() -> Result<()> {
    let etcd = Etcd::start().await?;
    let proxies = [
        Proxy::start(etcd.endpoint()).await?,
        Proxy::start(etcd.endpoint()).await?,
        Proxy::start(etcd.endpoint()).await?,
    ];
    let endpoints = proxies.iter().map(|proxy| proxy.endpoint().clone()).collect();
    let store = Store::etcd(Settings { endpoints, deadlines: SHORT, ..etcd.settings() })?;
    let account = account("failover", "failover");
    proxies[0].set(Mode::Refuse);
    proxies[1].set(Mode::Swallow);
    assert_eq!(store.check().await?.endpoint, proxies[2].endpoint().to_string());
    store.ensure(&account).await?;
    // The one in use falls silent between two verbs.
    proxies[0].set(Mode::Pass);
    proxies[2].set(Mode::Swallow);
    store.remove(&account).await?;
    assert_eq!(store.check().await?.endpoint, proxies[0].endpoint().to_string());
    Ok(())
}

#[tokio::test]
async fn a_full_datastore_is_told_apart_and_its_tenants_can_still_be_removed() -> Result<()> {
    let etcd = Etcd::start_with(Options { quota_bytes: 1 << 20, ..Options::default() }).await?;
    let (store, mut root) = (operator(&etcd)?, etcd.root().await?);
    let (old, new) = (account("full-old", "full-old"), account("full-new", "full-new"));
    store.ensure(&old).await?;
    let mut filling = 0..100;
    while root.put(format!("/full-old/{:?}", filling.next()), vec![0; 100_000], None).await.is_ok() {}
    assert_eq!(store.check().await.expect_err("full").reason(), "NoSpace");
    assert_eq!(store.ensure(&new).await.expect_err("full").reason(), "NoSpace");
    assert_gone(&mut root, &new).await?;
    assert!(!store.ensure(&old).await?.changed(), "who is complete needs no room");
    store.remove(&old).await?;
    assert_gone(&mut root, &old).await?;

    let revision = root.get("/", None).await?.header().map_or(0, etcd_client::ResponseHeader::revision);
    root.compact(revision, Some(etcd_client::CompactionOptions::new().with_physical())).await?;
    root.defragment().await?;
    let member = root.alarm(AlarmAction::Get, AlarmType::None, None).await?.alarms()[0].member_id();
    let mut of_member = etcd_client::AlarmOptions::new();
    of_member.with_member(member);
    root.alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(of_member)).await?;
    store.check().await?;
    store.ensure(&new).await?;
    assert_complete(&mut root, &new).await
}

#[tokio::test]
async fn a_missing_quorum_is_told_apart() -> Result<()> {
    let etcd = Etcd::start().await?;
    let (store, mut root) = (operator(&etcd)?, etcd.root().await?);
    store.check().await?;
    // A second member that will never come: one of two is no majority.
    root.member_add(["http://127.0.0.1:1"], None::<MemberAddOptions>).await?;
    let error = store.check().await.expect_err("no quorum");
    assert_eq!(error.reason(), "NoQuorum", "{}", words(&error));
    let fresh = operator(&etcd)?.ensure(&account("alone", "alone")).await.expect_err("no quorum");
    assert_eq!(fresh.reason(), "NoQuorum", "{}", words(&fresh));
    Ok(())
}

#[tokio::test]
async fn clear_text_is_never_fallen_back_to() -> Result<()> {
    let etcd = Etcd::shared().await?;
    let clear = Settings { tls: None, ..etcd.settings() };
    let error = Store::etcd(clear)?.check().await.expect_err("the server speaks TLS only");
    assert_eq!(error.reason(), "Unreachable", "{}", words(&error));
    Ok(())
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_before_anything_is_sent() -> Result<()> {
    let etcd = Etcd::shared().await?;
    let sound = etcd.settings();
    let tls = sound.tls.clone().context("TLS is set")?;
    let (certificate, _) = tls.client.clone().context("a client certificate is set")?;
    let stranger = etcd.certificate_of("stranger")?;
    let stranger_key = Zeroizing::new(stranger.key().pem().as_bytes().to_vec());
    let cases = [
        Settings { endpoints: Vec::new(), ..sound.clone() },
        Settings { tls: Some(Tls { ca_pem: b"no PEM".to_vec(), ..tls.clone() }), ..sound.clone() },
        Settings {
            tls: Some(Tls { client: Some((certificate, stranger_key)), ..tls.clone() }),
            ..sound.clone()
        },
        Settings { tls: Some(Tls { client: Some((Vec::new(), Zeroizing::default())), ..tls }), ..sound },
    ];
    for settings in cases {
        assert_eq!(Store::etcd(settings).expect_err("unusable").reason(), "InvalidSettings");
    }
    Ok(())
}
