//! `kamaji etcd-init`: makes a new etcd ready to be a DataStore.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use kamaji_datastore::config::{Endpoint, Settings, Tls};
use kamaji_datastore::store::Store;

use crate::cli::{Encoder, EtcdInitArgs};
use crate::error::chain;
use crate::logging;

/// From one try to the next.
const RETRY: Duration = Duration::from_secs(1);

/// Authentication is on and root may do everything. May be run again at any time.
pub(crate) async fn run(args: EtcdInitArgs) -> anyhow::Result<()> {
    logging::init("info", Encoder::Json)?;
    let read =
        |path: &std::path::Path| std::fs::read(path).with_context(|| format!("read {}", path.display()));
    let endpoints: Result<Vec<_>, _> = args
        .endpoints
        .iter()
        .map(|text| Endpoint::parse(text.trim_start_matches("https://").trim_end_matches('/')))
        .collect();
    let settings = Settings {
        endpoints: endpoints.context("--endpoints")?,
        tls: Some(Tls {
            ca_pem: read(&args.ca_file)?,
            client: Some((read(&args.cert_file)?, read(&args.key_file)?.into())),
        }),
        ..Settings::default()
    };
    let end = Instant::now() + args.timeout;
    loop {
        // A new store each time: an old one would keep its pause after a failure.
        match Store::etcd(settings.clone())?.initialise().await {
            Ok(true) => tracing::info!("turned authentication on"),
            Ok(false) => tracing::info!("authentication is on already"),
            Err(error) if Instant::now() < end && !error.needs_a_change() => {
                tracing::info!(error = chain(&error), "not yet");
                tokio::time::sleep(RETRY).await;
                continue;
            }
            Err(error) => return Err(error).context("make etcd ready"),
        }
        return Ok(());
    }
}
