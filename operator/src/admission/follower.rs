//! Every replica shows the certificate that the Secret holds, from the moment on that it holds it.

use std::sync::{Arc, PoisonError, RwLock};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::Options;
use super::certificate::of_secret;
use super::files::Files;
use crate::backoff::WatchPause;

/// The certificate that a new connection is shown.
#[derive(Debug)]
pub(super) enum Shown {
    /// That of the Secret, as it was seen last.
    Kept(RwLock<Option<Arc<CertifiedKey>>>),
    /// That of the files.
    Given(Files),
}

impl Shown {
    pub(super) fn of(options: &Options) -> Self {
        if options.is_given_a_certificate() {
            Self::Given(Files::new(&options.certificates))
        } else {
            Self::Kept(RwLock::default())
        }
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match self {
            Self::Kept(pair) => pair.read().unwrap_or_else(PoisonError::into_inner).clone(),
            Self::Given(files) => files.current(),
        }
    }
}

/// Follows the Secret for ever. One that is gone, or cannot be used, leaves the last certificate in place.
pub(super) async fn follow(client: Client, options: Options, shown: Arc<Shown>) {
    let Shown::Kept(pair) = shown.as_ref() else { return };
    let secrets = Api::<Secret>::namespaced(client, &options.namespace);
    let name = options.secret_name();
    let events = watcher::watch_object(secrets, &name).backoff(WatchPause::default());
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        let Ok(Some(secret)) = event else { continue };
        match of_secret(&secret) {
            Ok(newest) => {
                *pair.write().unwrap_or_else(PoisonError::into_inner) = Some(newest);
                tracing::info!(secret = name, "the webhooks show the certificate of this Secret");
            }
            Err(problem) => {
                tracing::warn!(secret = name, problem, "the webhooks' certificate cannot be used");
            }
        }
    }
}
