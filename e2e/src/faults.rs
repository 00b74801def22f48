//! What is wrong with a datastore, the same for every kind: how it is brought about, and how it is told.

use std::time::Duration;

use anyhow::Result;
use kamaji_datastore::{
    account::Account,
    config::{Deadlines, Endpoint, Settings, Tls},
    error::Error,
    store::Store,
};
use kamaji_pki::Pair;
use zeroize::Zeroizing;

use crate::etcd::proxy::{Mode, Proxy};

/// Short enough for a test of what never answers.
pub const SHORT: Deadlines =
    Deadlines { connect: Duration::from_secs(3), request: Duration::from_secs(3), pause: Duration::ZERO };

/// How a store of one kind is made.
pub type Open = fn(Settings) -> Result<Store, Error>;

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
