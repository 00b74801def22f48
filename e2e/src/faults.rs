//! What is wrong with a datastore, the same for every kind: how it is brought about, and how it is told.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use jiff::SignedDuration;
use kamaji_datastore::{
    account::Account,
    config::{Deadlines, Endpoint, Settings, Tls},
    store::Store,
};
use kamaji_pki::{Authority, Leaf, Pair};
use zeroize::Zeroizing;

use crate::{
    credentials::Shown,
    database::{BOTH, CERTIFIED, CLEAR, Change, Database, OPERATOR, Open, PASSWORD, change},
    etcd::{
        client_leaf, now,
        proxy::{Mode, Proxy},
    },
};

/// Short enough for a test of what never answers.
pub const SHORT: Deadlines =
    Deadlines { connect: Duration::from_secs(3), request: Duration::from_secs(3), pause: Duration::ZERO };

/// An error with its causes.
pub fn words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The same settings, with this client certificate.
pub fn showing(settings: Settings, pair: &Pair) -> Settings {
    let key = Zeroizing::new(pair.key().pem().as_bytes().to_vec());
    let client = Some((pair.certificate().pem().into(), key));
    let tls = settings.tls.map(|tls| Tls { client, ..tls });
    Settings { tls, ..settings }
}

/// All verbs fail with this reason; returns the words of the first.
///
/// # Panics
/// When one does not.
pub async fn assert_all_fail(store: &Store, account: &Account, reason: &str) -> String {
    let errors = [
        store.check().await.map(|_| ()).expect_err("check"),
        store.ensure(account).await.map(|_| ()).expect_err("ensure"),
        store.remove(account).await.expect_err("remove"),
        store.residue(account).await.map(|_| ()).expect_err("residue"),
    ];
    for error in &errors {
        assert_eq!(error.reason(), reason, "{}", words(error));
    }
    words(&errors[0])
}

/// A server that is silent or absent is told within its deadlines, and serves again at once when it is back.
///
/// # Panics
/// When it is not so.
pub async fn silence_and_absence_are_told(
    server: &Endpoint,
    settings: Settings,
    open: Open,
    account: &Account,
) -> Result<()> {
    let proxy = Proxy::start(server).await?;
    let settings = Settings { endpoints: vec![proxy.endpoint().clone()], deadlines: SHORT, ..settings };
    let store = open(settings.clone())?;
    store.check().await?;
    proxy.set(Mode::Swallow);
    assert_eq!(store.check().await.expect_err("silent").reason(), "Timeout");
    let words = assert_all_fail(&open(settings.clone())?, account, "Unreachable").await;
    assert!(words.contains("no answer within"), "{words}");
    proxy.set(Mode::Refuse);
    let words = assert_all_fail(&open(settings)?, account, "Unreachable").await;
    assert!(words.contains(&proxy.endpoint().to_string()), "{words}");
    proxy.set(Mode::Pass);
    store.check().await?;
    Ok(())
}

/// A server that could not be reached is not tried again for a while, except by `check`.
///
/// # Panics
/// When it is.
pub async fn an_unreachable_one_is_left_alone(
    server: &Endpoint,
    settings: Settings,
    open: Open,
    account: &Account,
) -> Result<()> {
    let proxy = Proxy::start(server).await?;
    proxy.set(Mode::Refuse);
    let deadlines = Deadlines { pause: Duration::from_hours(1), ..SHORT };
    let store = open(Settings { endpoints: vec![proxy.endpoint().clone()], deadlines, ..settings })?;
    assert_eq!(store.ensure(account).await.expect_err("refused").reason(), "Unreachable");
    let tried = proxy.connections();
    for _ in 0..20 {
        assert_eq!(store.ensure(account).await.expect_err("paused").reason(), "Unreachable");
    }
    assert_eq!(proxy.connections(), tried, "nobody asked");
    proxy.set(Mode::Pass);
    store.check().await?;
    store.ensure(account).await?;
    store.remove(account).await?;
    Ok(())
}

/// The tests of all that is below, on a shared server of this type and an account that nothing else uses.
#[macro_export]
macro_rules! test_logins {
    ($server:ty, $account:expr, [$($fault:ident),* $(,)?]) => {
        $(#[tokio::test]
        async fn $fault() -> anyhow::Result<()> {
            $crate::faults::$fault(<$server>::shared().await?, &$account).await
        })*
    };
}

/// What is wrong with these settings is told with this reason; returns its words.
async fn told<D: Database>(settings: Settings, account: &Account, reason: &str) -> Result<String> {
    Ok(assert_all_fail(&D::OPEN(settings)?, account, reason).await)
}

/// Neither password, nor certificate, nor TLS is left out silently.
///
/// # Panics
/// When one is.
pub async fn passwords_certificates_and_both_open_a_session<D: Database>(
    server: &D,
    account: &Account,
) -> Result<()> {
    let settings = |user: &str, password| -> Result<Settings> {
        Ok(showing(server.settings_as(user, password), &server.certificate_of(user)?))
    };
    D::OPEN(settings(BOTH, PASSWORD)?)?.check().await?;
    D::OPEN(settings(CERTIFIED, "")?)?.check().await?;
    D::OPEN(Settings { tls: None, ..server.settings_as(CLEAR, PASSWORD) })?.check().await?;
    for settings in [
        settings(BOTH, "wrong")?,
        settings(BOTH, "")?,
        server.settings_as(BOTH, PASSWORD),
        server.settings_as(CERTIFIED, ""),
        showing(server.settings_as(CERTIFIED, ""), &server.certificate_of(BOTH)?),
        Settings { tls: None, ..server.settings() },
        server.settings_as(OPERATOR, "wrong"),
        server.settings_as(OPERATOR, ""),
        server.settings_as("nobody-of-that-name", PASSWORD),
    ] {
        let words = told::<D>(settings, account, "Unauthenticated").await?;
        assert!(!words.contains(PASSWORD), "{words}");
    }
    Ok(())
}

/// A client certificate of somebody else, or one that is over, is told apart from a dead server.
///
/// # Panics
/// When it is not.
pub async fn client_certificates_that_the_server_does_not_accept_are_told_apart_from_a_dead_server<
    D: Database,
>(
    server: &D,
    account: &Account,
) -> Result<()> {
    let foreign = other_authority()?.issue(&client_leaf(BOTH), now())?;
    let short = Leaf { valid_for: SignedDuration::from_hours(1), ..client_leaf(BOTH) };
    let expired = server.authority().issue(&short, now() - SignedDuration::from_hours(2))?;
    for pair in [foreign, expired] {
        told::<D>(showing(server.settings_as(BOTH, PASSWORD), &pair), account, "Unauthenticated").await?;
    }
    Ok(())
}

/// A server of another authority, at another address or with a certificate that is over is not talked to.
///
/// # Panics
/// When it is.
pub async fn a_server_that_is_not_the_one_we_trust_is_not_talked_to<D: Database>(
    server: &D,
    account: &Account,
) -> Result<()> {
    let mut settings = server.settings();
    settings.tls.as_mut().context("TLS is set")?.ca_pem = other_authority()?.certificate().pem().into();
    told::<D>(settings, account, "ServerNotTrusted").await?;
    let proxy = Proxy::start_at(SocketAddr::from(([127, 0, 0, 2], 0)), server.endpoint()).await?;
    let settings = Settings { endpoints: vec![proxy.endpoint().clone()], ..server.settings() };
    told::<D>(settings, account, "ServerNotTrusted").await?;
    // Others use the shared one meanwhile.
    let own = D::start().await?;
    change(&own, Change::Shows(Shown::Expired)).await?;
    let words = told::<D>(own.settings(), account, "ServerNotTrusted").await?;
    assert!(words.contains("not trusted") && words.contains("xpired"), "{words}");
    let nameless = Settings { basic_auth: None, ..own.settings() };
    assert_eq!(D::OPEN(nameless).expect_err("no name").reason(), "InvalidSettings");
    Ok(())
}

/// As [`silence_and_absence_are_told`] says.
pub async fn silence_and_absence_are_told_in_time<D: Database>(server: &D, account: &Account) -> Result<()> {
    silence_and_absence_are_told(server.endpoint(), server.settings(), D::OPEN, account).await
}

/// As [`an_unreachable_one_is_left_alone`] says.
pub async fn an_unreachable_datastore_is_left_alone_for_a_while<D: Database>(
    server: &D,
    account: &Account,
) -> Result<()> {
    an_unreachable_one_is_left_alone(server.endpoint(), server.settings(), D::OPEN, account).await
}

fn other_authority() -> Result<Authority> {
    Ok(Authority::create("other", now(), SignedDuration::from_hours(1))?)
}
